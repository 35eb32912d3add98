"""The reference reaches prompts and scores through one door each, and automatic cells not at all."""

import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.errors import InputError
from oncoseg.experiments.doors import PromptDoor, SealedReference, ledger
from oncoseg.experiments.specs import PromptSpec
from oncoseg.volume import Volume


@pytest.fixture
def case():
    voxels = np.zeros((4, 8, 8), bool)
    voxels[1:3, 2:5, 3:6] = True
    image = Volume.from_spacing(np.zeros(voxels.shape, np.float32), (2.0, 1.0, 1.0))
    return Case("one", "patient", image, {"tumour": image.with_voxels(voxels)})


def _door(use, seed=0, **options):
    return PromptDoor(PromptSpec(use, options).build(), seed)


def test_no_prompt_means_that_nothing_reaches_the_model(case):
    door = _door("none")
    assert door.sealed
    assert ledger(door, door.prompts(case, "tumour"), case.image).level == 0


def test_a_box_from_the_reference_is_counted(case):
    door = _door("box", jitter_mm=2.0)
    counted = ledger(door, door.prompts(case, "tumour"), case.image)
    assert (counted.boxes, counted.prompt_source, counted.jitter_mm, counted.level) == (1, "jittered", 2.0, 2)


def test_silence_on_an_empty_reference_is_counted(case):
    empty = Case("none", "patient", case.image, {"tumour": case.image.with_voxels(np.zeros(case.image.shape, bool))})
    door = _door("box")
    counted = ledger(door, door.prompts(empty, "tumour"), case.image)
    assert (counted.silent_slices, counted.level) == (4, 3)


def test_an_image_cut_out_round_the_tumour_is_counted(case):
    counted = ledger(_door("none"), [], case.image, cropped=True)
    assert (counted.crop_centre_known, counted.level) == (True, 3)


def test_an_automatic_simulator_that_peeks_is_refused(case):
    with pytest.raises(InputError, match="must not look at the reference"):
        _door("toy_peek").prompts(case, "tumour")


def test_an_automatic_simulator_may_know_the_grid(case):
    prompt = _door("whole_image").prompts(case, "tumour")[0]
    assert prompt.stop == case.image.shape
    assert _door("whole_image").sealed
    assert SealedReference(case.image).spacing == case.image.spacing


def test_a_source_that_hides_the_reference_is_refused(case):
    class Liar:
        info = PromptSpec("box").info

        def __call__(self, reference, rng, shown=None):
            from oncoseg.prompt import tight_box

            return [tight_box(reference, source="automatic")]

    with pytest.raises(InputError, match="source 'automatic'"):
        PromptDoor(Liar(), 0).prompts(case, "tumour")


def test_prompts_depend_on_seed_case_and_draw_only(case):
    door = _door("box", jitter_mm=5.0)
    first = door.prompts(case, "tumour", 1)
    door.prompts(case, "tumour", 2)
    assert door.prompts(case, "tumour", 1) == first
    assert door.prompts(case, "tumour", 2) != first
    assert _door("box", seed=1, jitter_mm=5.0).prompts(case, "tumour", 1) != first


def test_a_click_on_every_slice_tells_where_the_tumour_ends(case):
    def told(use, **options):
        door = _door(use, **options)
        return ledger(door, door.prompts(case, "tumour"), case.image).z_extent_known

    assert told("centre_click", per="slice")
    assert told("box", per="slice")
    assert told("key_slice", missing=0.0)
    assert not told("centre_click")
    assert not told("key_slice")
    assert not told("random_click", clicks=5)


def test_an_automatic_simulator_that_finds_nothing_says_so(case):
    with pytest.raises(InputError, match="lung_box found nothing to point at on the image of one"):
        _door("lung_box").prompts(case, "tumour")


def test_nobody_corrects_without_being_asked_to(case):
    with pytest.raises(InputError, match="Nobody corrects"):
        _door("box").correct(case, "tumour", case.mask(), first=[], draw=1, number=1)
