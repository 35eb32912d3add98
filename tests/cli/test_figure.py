"""`oncoseg figure` from a run that really ran."""

import pytest

from oncoseg.experiments.local import run_matrix
from oncoseg.experiments.matrix import load_matrix

MATRIX = """
name = "small"
metrics = ["dice", "iou"]
cost = false
[dataset.p]
use = "phantom"
options = { cases = 3, shape = [10, 40, 40], spacing = [10.0, 8.0, 8.0], tumours = [1, 1] }
[[cells]]
dataset = "p"
model = ["filled_box", "ellipsoid"]
prompt = "box"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    (folder / "m.toml").write_text(MATRIX)
    run_matrix(load_matrix(folder / "m.toml"), folder / "run")
    return folder / "run"


def test_figures_are_listed_with_what_may_be_chosen(oncoseg):
    result = oncoseg("figure")
    assert result.code == 0
    assert "box-violin  dataset=" in result.out
    assert "over=patients" in result.out


def test_a_figure_is_written_four_times_into_the_run(oncoseg, run):
    result = oncoseg("figure", "panel", run, "--set", 'case=["best"]')
    assert result.code == 0, result.err
    written = sorted(p.name for p in (run / "figures").iterdir())
    assert written == ["panel.csv", "panel.png", "panel.svg", "panel.txt"]
    assert "the case of highest Dice" in result.err
    assert "Insets lie round the reference" in result.err, "the run keeps whole slices"


def test_the_suffix_chooses_one_file(oncoseg, run, tmp_path):
    assert oncoseg("figure", "box-violin", run, "--out", tmp_path / "v1.2.svg").code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["v1.2.svg"]


def test_what_cannot_be_drawn_is_told(oncoseg, run):
    missing = oncoseg("figure", "panel")
    assert missing.code == 2
    assert "oncoseg figure panel RUN" in missing.err
    impossible = oncoseg("figure", "fractions", run)
    assert impossible.code == 2
    assert "fraction = [0.0" in impossible.err
    unknown = oncoseg("figure", "panels", run)
    assert "Did you mean: panel" in unknown.err
