"""Before, after, difference and rate, from runs whose Dice is written down."""

import json

import pytest

from oncoseg.experiments.store import SCORES, read_run
from oncoseg.report.groups import make_groups
from oncoseg.report.html import render
from oncoseg.report.plan import read_plan
from oncoseg.report.transfer import transfer_rows, transfer_table
from oncoseg.score import Ledger

CASES = tuple(f"c{n}" for n in range(6))
FREE = {"prompt": "none", "jitter_mm": None, "ledger": Ledger(), "trained": True, "cases": CASES, "dataset": "msd"}


def with_dice(folder, values):
    """Rewrite the Dice of a written cell, case by case."""
    lines = [json.loads(line) for line in (folder / SCORES).read_text().splitlines()]
    dice = iter(values)
    for line in lines:
        if line["metric"] == "dice":
            line["value"] = next(dice)
            line["reason"] = None if line["value"] is not None else "both_empty"
    (folder / SCORES).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def written(tmp_path, write_cell, planned):
    """M-SAM's Lung100 -> MSD Lung with the printed means (81.62 -> 77.87, -4.59 %), cases .02 apart."""

    def write(model="m_sam", before=0.8162, after=0.7787, **fields):
        spread = [0.01 * n for n in (-5, -3, -1, 1, 3, 5)]
        if before is not None:
            with_dice(write_cell(tmp_path, planned(model, **{**FREE, **fields})), [before + s for s in spread])
        away = planned(model, source="lung100", **{**FREE, **fields})
        with_dice(write_cell(tmp_path, away), [after + 2 * s for s in spread])
        return make_groups(read_run(tmp_path))

    return write


def test_delta_and_rate_are_those_of_the_published_tables(written):
    (row,) = transfer_rows(written())
    assert (row["source"], row["target"], row["model"], row["prompt"]) == ("lung100", "msd", "m_sam", "none")
    assert row["before"] == pytest.approx(0.8162)
    assert row["after"] == pytest.approx(0.7787)
    assert row["delta"] == pytest.approx(-0.0375)
    assert round(row["rate_percent"], 2) == -4.59
    assert (row["cases"], row["patients"]) == (6, 6)
    assert row["delta_low"] < row["delta"] < row["delta_high"]


def test_the_difference_is_paired(written):
    """The cases' differences are half as wide as the scores after: -.0375 +- .05 at most."""
    (row,) = transfer_rows(written())
    assert row["delta_high"] - row["delta_low"] < row["after_high"] - row["after_low"]


def test_a_row_needs_the_model_that_was_trained_where_it_is_scored(written):
    groups = written(before=None)
    assert transfer_rows(groups) == []
    table = transfer_table(groups)
    assert table.numbers.rows == ()
    assert table.alone[0].startswith("m_sam, trained on lung100, scored on msd")


def test_another_training_is_not_the_same_model(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned("unet", configured={"options": {"base": 8}}, **FREE))
    write_cell(tmp_path, planned("unet", source="lung100", configured={"options": {"base": 16}}, **FREE))
    assert transfer_rows(make_groups(read_run(tmp_path))) == []


def test_other_prompts_are_not_compared(tmp_path, write_cell, planned):
    click = Ledger(prompt_source="oracle", clicks_positive=1, prompted_slices=1)
    write_cell(tmp_path, planned("m_sam", **FREE))
    write_cell(tmp_path, planned("m_sam", source="lung100", **{**FREE, "prompt": "centre click", "ledger": click}))
    assert transfer_rows(make_groups(read_run(tmp_path))) == []


def test_only_cases_that_both_have_a_dice_for_count(tmp_path, write_cell, planned):
    before, after = (write_cell(tmp_path, planned("unet", source=s, **FREE)) for s in ("", "lung100"))
    with_dice(before, [0.5, 0.5, 0.5, 0.5, 0.9, None])
    with_dice(after, [0.4, 0.4, 0.4, 0.4, None, 0.9])
    (row,) = transfer_rows(make_groups(read_run(tmp_path)))
    assert (row["cases"], row["before"], row["after"]) == (4, 0.5, 0.4)
    assert row["rate_percent"] == pytest.approx(-20)


def test_nothing_right_before_has_no_rate(tmp_path, write_cell, planned):
    before, after = (write_cell(tmp_path, planned("unet", source=s, **FREE)) for s in ("", "lung100"))
    with_dice(before, [0.0] * 6)
    with_dice(after, [0.1] * 6)
    (row,) = transfer_rows(make_groups(read_run(tmp_path)))
    assert row["rate_percent"] is None


def test_the_page_has_the_table_and_its_download(written, tmp_path):
    written()
    page = render(read_run(tmp_path), read_plan(tmp_path), title="transfer")
    assert 'id="transfer"' in page
    assert "lung100 → msd" in page
    assert "−4.59 %" in page
    assert 'download="transfer.csv"' in page
    assert "m_sam, trained on lung100" in page


def test_a_run_without_a_source_has_no_table(full_run):
    groups = make_groups(read_run(full_run))
    assert transfer_table(groups) is None
    assert 'id="transfer"' not in render(read_run(full_run), read_plan(full_run), title="x")
