"""Images cut round the reference: what the model sees, where its answer goes, and that the ledger says so."""

import numpy as np
import pytest

from oncoseg.case import TUMOUR, Case
from oncoseg.errors import ConfigError
from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.round_reference import Cube, part_round_reference
from oncoseg.experiments.rounds import Step
from oncoseg.experiments.specs import PromptSpec
from oncoseg.experiments.store import read_cell
from oncoseg.io.images import read_mask
from oncoseg.prompt import Box, Click, MaskPrompt, Scribble
from oncoseg.volume import Volume


def case(low=(10, 20, 30), high=(14, 26, 40), shape=(40, 60, 70)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    voxels = np.arange(mask.size, dtype=np.float32).reshape(shape)
    image = Volume.from_spacing(voxels, (2.0, 1.0, 1.0), (5.0, -7.0, 11.0))
    return Case("a", "p", image, {TUMOUR: image.with_voxels(mask)})


def test_the_cube_lies_round_the_middle_of_the_reference_in_the_same_place_of_the_patient():
    part = part_round_reference(case(), TUMOUR, Cube(voxels=16))
    # The middle is voxel (12, 23, 35); 8 voxels to each side.
    assert part.start == (4, 15, 27)
    assert part.case.image.shape == (16, 16, 16)
    np.testing.assert_array_equal(part.case.image.voxels, case().image.voxels[4:20, 15:31, 27:43])
    np.testing.assert_allclose(part.case.image.index_to_mm((0, 0, 0)), case().image.index_to_mm((4, 15, 27)))
    assert part.case.mask(TUMOUR).voxels.sum() == 4 * 6 * 10
    assert "16 voxels round the reference" in part.note


def test_a_side_in_mm_has_as_many_voxels_as_it_needs():
    assert part_round_reference(case(), TUMOUR, Cube(mm=15.0)).case.image.shape == (8, 15, 15)


def test_the_cube_ends_with_the_image_and_without_a_reference_lies_in_its_middle():
    assert part_round_reference(case(), TUMOUR, Cube(voxels=30)).case.image.shape == (27, 30, 30)
    empty = case(high=(10, 20, 30))
    assert part_round_reference(empty, TUMOUR, Cube(voxels=10)).start == (15, 25, 30)
    whole = part_round_reference(case(), TUMOUR, None)
    assert whole.case.image.same_grid(case().image)
    assert whole.note == ""


def test_answers_and_prompts_find_the_way_back():
    part = part_round_reference(case(), TUMOUR, Cube(voxels=16))
    restored = part.restored(part.case.mask(TUMOUR))
    assert restored.same_grid(case().image)
    np.testing.assert_array_equal(restored.voxels, case().mask(TUMOUR).voxels)
    given = [
        Click((6, 5, 3), lesion=1),
        Box((6, 5, 3), (10, 11, 13)),
        Scribble(((6, 5, 3), (7, 5, 3))),
        MaskPrompt(part.case.mask(TUMOUR)),
    ]
    click, box, scribble, mask = moved = part.prompts(given)
    assert click == Click((10, 20, 30), lesion=1)
    assert (box.start, box.stop) == ((10, 20, 30), (14, 26, 40))
    assert scribble.indices == ((10, 20, 30), (11, 20, 30))
    np.testing.assert_array_equal(mask.mask.voxels, case().mask(TUMOUR).voxels)
    assert part.shown(moved)[:3] == tuple(given[:3])
    np.testing.assert_array_equal(part.shown(moved)[3].mask.voxels, part.case.mask(TUMOUR).voxels)
    step = part.step(Step((given[0],), 1.0, np.packbits(part.case.mask(TUMOUR).voxels)))
    np.testing.assert_array_equal(step.mask(case().image).voxels, case().mask(TUMOUR).voxels)


def test_only_one_size_is_given_and_records_are_of_whole_images():
    assert PromptSpec().cube is None
    with pytest.raises(ConfigError, match="give one of them"):
        _ = PromptSpec(around_reference=128, around_reference_mm=10.0)
    with pytest.raises(ConfigError, match="leave around_reference away"):
        PromptSpec("replay", {"run": "x"}, around_reference=128)


CELLS = """
[[cells]]
dataset = "balls"
model = "toy_painter"
prompt = ["centre_click", {{ use = "centre_click", around_reference = 11 {more} }}]
"""


@pytest.mark.parametrize("more", ["", ', then = "edt_error", rounds = 2'])
def test_the_ledger_says_that_the_place_was_known(matrix_of, tmp_path, more):
    plain, cut = matrix_of(CELLS.format(more=more)).plan()
    assert "in 11 voxels round the reference" in cut.label
    levels = {}
    for cell in (plain, cut):
        folder = run_cell(cell, tmp_path / "run")
        for prediction in read_cell(folder).predictions:
            levels.setdefault(cell.label, set()).add((prediction.ledger.crop_centre_known, prediction.level))
            mask = read_mask(folder / prediction.mask)
            assert mask.voxels.any()
            image = cell.dataset.open().load(prediction.case).image
            assert mask.same_grid(image)
            for prompt in prediction.prompts:
                assert mask.voxels[tuple(prompt["index"])] or not prompt.get("positive", True)
            assert any("round the reference" in note for note in prediction.notes) == (cell is cut)
    assert levels == {plain.label: {(False, 2)}, cut.label: {(True, 3)}}


def test_models_without_prompts_are_shown_the_same_cube(matrix_of, tmp_path):
    text = '[[cells]]\ndataset = "balls"\nmodel = "toy_bright"\nprompt = { use = "none", around_reference = 9 }\n'
    (cell,) = matrix_of(text).plan()
    assert "none, in 9 voxels round the reference" in cell.label
    for prediction in read_cell(run_cell(cell, tmp_path / "run")).predictions:
        assert prediction.ledger.crop_centre_known
        assert prediction.level == 3
