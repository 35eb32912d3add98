"""One command from a model to curves over worse prompts."""

import json
import re

import pytest

SMALL = ("--data", "cases=2", "--data", "shape=[16,48,48]", "--data", "spacing=[10.0,8.0,8.0]")


def test_the_plan_holds_every_level_of_every_axis(oncoseg, tmp_path):
    result = oncoseg(
        "degrade", "region_growing", "--dataset", "phantom", *SMALL, "--alone", "--out", tmp_path / "run", "--dry-run"
    )
    assert result.code == 0, result.err
    # jitter in mm 5, in px 4, range in slices 4 and mm 5, missing and wrong slices 5 each; the exact box and the
    # unshifted range are shared by two axes.
    assert "26 cells, 26 to run" in result.err + result.out
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_ends_in_curves_and_goes_on_where_it_was_stopped(oncoseg, tmp_path):
    command = [
        "degrade", "region_growing", "--dataset", "phantom", *SMALL, "--axis", "jitter_mm=0,20",
        "--axis", "missing_slices=0,1", "--repeats", "2", "--out", tmp_path / "run",
    ]  # fmt: skip
    result = oncoseg(*command)
    assert result.code == 0, result.err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "how exact must the box be?" in page
    assert "share of the other slices without a box" in page
    assert "kept (area / undegraded)" in page
    assert "degradation.csv" in page
    cells = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("*/scores.jsonl")}
    assert len(cells) == 12  # three models, two axes of two levels
    next(iter(cells)).unlink()
    assert oncoseg(*command).code == 0
    again = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("*/scores.jsonl")}
    assert len([p for p in cells if again[p] == cells[p]]) == 11
    plan = json.loads((tmp_path / "run" / "matrix.json").read_text())
    assert {cell["status"] for cell in plan["cells"]} == {"finished"}
    assert not re.search(str(tmp_path), page)


def test_data_sets_of_a_matrix_file(oncoseg, tmp_path):
    (tmp_path / "m.toml").write_text(
        'name = "m"\n[dataset.one]\nuse = "phantom"\noptions = { cases = 2 }\n[dataset.two]\nuse = "phantom"\n'
    )
    command = ["degrade", "ellipsoid", "--dataset", tmp_path / "m.toml", "--axis", "jitter_px", "--alone", "--dry-run"]
    result = oncoseg(*command, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "8 cells" in result.err + result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unet", "--dataset", "phantom"], "unet takes no prompt"),
        (["filled_box", "--dataset", "phantm"], "Did you mean: phantom"),
        (["filled_box", "--dataset", "phantom", "--axis", "off_centre"], "takes box, so off_centre cannot be tried"),
        (["filled_box", "--dataset", "phantom", "--axis", "jitter"], "jitter_mm"),
        (["filled_bx", "--dataset", "phantom"], "Did you mean: filled_box"),
        (["filled_box", "--dataset", "phantom", "--data", "cases_=2", "--dry-run"], "unknown key 'cases_'"),
    ],
)
def test_wrong_requests_are_refused_with_the_way_out(oncoseg, tmp_path, arguments, message):
    result = oncoseg("degrade", *arguments, "--out", tmp_path / "run")
    assert result.code in (2, 4)
    assert message in result.err
    assert "Traceback" not in result.err
