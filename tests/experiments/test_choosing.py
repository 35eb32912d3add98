"""What is left open is chosen on training patients, and on nobody else."""

import json

import pytest

from oncoseg.errors import ConfigError, InputError
from oncoseg.experiments import choosing
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.choosing import CHOICE
from oncoseg.experiments.store import read_cell

SPLIT = "options = { cases = 6 }\nsplit = { test = 0.34 }"
OPEN = """
[[cells]]
dataset = "balls"
model = "toy_bright.boxed"
prompt = "box"
options = { mode = "good" }
choose = { level = [100.0, -400.0, -900.0], threshold = [0.5, 1.0] }
"""


def only(matrix):
    (cell,) = matrix.plan()
    return cell


def test_the_best_of_each_option_and_the_threshold_are_taken_and_told(matrix_of, tmp_path):
    result = read_cell(run_cell(only(matrix_of(OPEN, options=SPLIT)), tmp_path))
    assert {s.value for s in result.scores if s.metric == "dice"} == {1.0}
    [told] = [note for note in result.record.notes if "Chosen" in note]
    assert "4 training cases" in told
    assert "level = -400.0, threshold = 0.5" in told
    trials = json.loads((result.folder / CHOICE).read_text())
    assert [t["options"]["level"] for t in trials] == [100.0, -400.0, -900.0]
    assert trials[1]["dice"] == {"0.5": 1.0, "1.0": 0.0}


def test_cases_that_are_scored_are_not_looked_at(matrix_of, tmp_path, monkeypatch):
    cell, seen = only(matrix_of(OPEN, options=SPLIT)), []
    whole = choosing._dice
    monkeypatch.setattr(choosing, "_dice", lambda *given: seen.append(given[3]) or whole(*given))
    result = read_cell(run_cell(cell, tmp_path))
    assert seen
    assert not set(seen) & {p.case for p in result.predictions}


def test_what_was_tried_is_not_tried_again_after_a_kill(matrix_of, tmp_path, monkeypatch):
    cell, tried = only(matrix_of(OPEN, options=SPLIT)), []
    whole = choosing._mean_dice

    def dies(*given):
        if len(tried) == 2:
            raise KeyboardInterrupt
        tried.append(given)
        return whole(*given)

    monkeypatch.setattr(choosing, "_mean_dice", dies)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, tmp_path)
    monkeypatch.setattr(choosing, "_mean_dice", lambda *given: tried.append(given) or whole(*given))
    run_cell(cell, tmp_path)
    assert len(tried) == 3


def test_without_training_patients_the_cell_says_why_it_cannot_run(matrix_of, tmp_path):
    cell = only(matrix_of(OPEN))
    assert "none is left to choose on" in cell.skipped
    with pytest.raises(InputError, match="none is left to choose on"):
        run_cell(cell, tmp_path)


def test_a_single_value_is_no_choice(matrix_of):
    with pytest.raises(ConfigError, match=r"choose\.level"):
        matrix_of(OPEN.replace("[100.0, -400.0, -900.0]", "-400.0"))


def test_other_values_make_another_cell(matrix_of, tmp_path):
    first = run_cell(only(matrix_of(OPEN, options=SPLIT)), tmp_path)
    second = run_cell(only(matrix_of(OPEN.replace("100.0, ", ""), options=SPLIT)), tmp_path)
    assert first != second
