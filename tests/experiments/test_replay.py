"""Prompts of one run given to another model, exactly."""

import json

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.doors import PromptDoor
from oncoseg.experiments.specs import PromptSpec
from oncoseg.experiments.store import PREDICTIONS, read_cell
from oncoseg.io.images import write_volume
from oncoseg.registry import load


def cells(prompt, model="toy_painter"):
    return f'[[cells]]\ndataset = "balls"\nmodel = "{model}"\nprompt = {prompt}\n'


@pytest.fixture
def ran(matrix_of, tmp_path):
    def run(prompt, model="toy_painter", options=""):
        (cell,) = matrix_of(cells(prompt, model), options=options).plan()
        assert cell.skipped is None
        return read_cell(run_cell(cell, tmp_path / "run"))

    return run


def replayed(ran, first, model="toy_painter.session", more="", options=""):
    return ran(f'{{ use = "replay", file = "{first.folder / PREDICTIONS}"{more} }}', model, options)


@pytest.mark.parametrize(
    "prompt",
    [
        '{ use = "box", jitter_mm = 3.0 }',
        '{ use = "box", jitter_px = 2, per = "slice" }',
        '{ use = "random_click", clicks = 3 }',
        '{ use = "scribble" }',
        '{ use = "rough_mask" }',
        '{ use = "whole_image" }',
        '{ use = "centre_click", then = "edt_error", rounds = 3 }',
    ],
)
def test_another_model_gets_exactly_what_the_first_got(ran, prompt):
    first = ran(prompt)
    again = replayed(ran, first)
    for one, other in zip(first.predictions, again.predictions, strict=True):
        assert other.ledger == one.ledger
        assert [{**p, "file": ""} for p in other.prompts] == [{**p, "file": ""} for p in one.prompts]
        assert other.volume_prediction_mm3 == one.volume_prediction_mm3


def test_masks_are_given_again_voxel_by_voxel(ran):
    first = ran('{ use = "rough_mask" }')
    again = replayed(ran, first)
    dice = [[s.value for s in r.scores if s.metric == "dice"] for r in (first, again)]
    assert dice[0] == dice[1]


def test_draws_are_given_again_draw_by_draw(ran):
    first = ran('{ use = "random_click", repeats = 2 }')
    again = replayed(ran, first, more=", repeats = 2")
    assert [p.prompts for p in again.predictions] == [p.prompts for p in first.predictions]
    assert [p.case for p in again.predictions] == [p.case for p in first.predictions]


def test_silence_is_given_again(ran):
    options = 'options = { empty = ["ball-1"] }'
    first = ran('"box"', options=options)
    again = replayed(ran, first, options=options)
    assert [p.ledger for p in again.predictions] == [p.ledger for p in first.predictions]
    assert again.predictions[1].ledger.silent_slices == 10
    assert again.predictions[1].volume_prediction_mm3 == 0


def test_what_was_recorded_decides_the_cell_and_not_where_it_lies(ran, tmp_path):
    first = ran('"box"')
    one = replayed(ran, first)
    copy = tmp_path / "elsewhere" / PREDICTIONS
    copy.parent.mkdir()
    copy.write_bytes((first.folder / PREDICTIONS).read_bytes())
    other = ran(f'{{ use = "replay", file = "{copy}" }}', "toy_painter.session")
    assert other.record.key == one.record.key
    assert str(tmp_path) not in (one.folder / "cell.json").read_text()
    copy.write_text((first.folder / PREDICTIONS).read_text().replace("oracle", "jittered"))
    assert ran(f'{{ use = "replay", file = "{copy}" }}', "toy_painter.session").record.key != one.record.key


@pytest.fixture
def case():
    dataset = load("datasets", "toy_balls").build()
    return dataset.load("ball-0")


def _door(file):
    return PromptDoor(PromptSpec("replay", {"file": file}).build(), 0)


def test_a_folder_of_prompt_files_is_a_record(case, tmp_path):
    mask = case.mask()
    write_volume(tmp_path / "rough.nii.gz", mask)
    items = [{"type": "mask", "file": "rough.nii.gz"}, {"type": "click", "index": [5, 5, 5]}]
    (tmp_path / "ball-0.json").write_text(json.dumps(items))
    rough, click = _door(tmp_path).prompts(case, "tumour")
    assert np.array_equal(rough.mask.voxels, mask.voxels)
    assert (rough.source, click.index) == ("user", (5, 5, 5))
    assert _door(tmp_path).sealed


def test_a_case_that_was_not_recorded_is_named(case, ran, tmp_path):
    first = ran('"box"', options='options = { broken = ["ball-1"] }')
    file = first.folder / PREDICTIONS
    with pytest.raises(InputError, match="holds no prompts for ball-0~7"):
        _door(file).prompts(case, "tumour", 7)
    other = load("datasets", "toy_balls").build().load("ball-1")
    with pytest.raises(InputError, match="failed there"):
        _door(file).prompts(other, "tumour")
    with pytest.raises(InputError, match=r"ball-0\.json does not exist"):
        _door(tmp_path / "run").prompts(case, "tumour")
    with pytest.raises(InputError, match="does not exist"):
        _door(tmp_path / "nowhere.jsonl").prompts(case, "tumour")
