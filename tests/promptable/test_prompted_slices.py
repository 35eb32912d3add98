"""Predictions and sessions of networks that are prompted on slices, with a network that fills what it is asked."""

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.prompt import Box, Click, MaskPrompt, Scribble
from oncoseg.promptable.options import PromptedOptions
from oncoseg.volume import Volume

BOX = Box((1, 20, 24), (4, 40, 44))


def found_in(probability):
    return probability.voxels > 0.5


@pytest.mark.parametrize(
    "options", [{}, {"crop": "prompt", "crop_px": 32}, {"crop": "prompt", "crop_mm": 20.0}], ids=str
)
def test_box_and_mask_meet_at_the_same_voxels(echo, image, options):
    found = found_in(echo(**options).predict(image, [BOX]))
    wrong = found.copy()
    wrong[1:4, 19:41, 23:45] = False
    assert not wrong.any()
    assert found[1:4, 21:39, 25:43].all()


def test_a_3d_box_is_the_union_of_its_slices(echo, image):
    slices = [Box((k, 20, 24), (k + 1, 40, 44)) for k in (1, 2, 3)]
    np.testing.assert_array_equal(echo().predict(image, [BOX]).voxels, echo().predict(image, slices).voxels)


def test_a_tapered_box_is_smaller_at_its_ends(echo, image):
    found = found_in(echo(taper="ellipsoid").predict(image, [BOX])).sum(axis=(1, 2))
    assert found[1] < found[2] > found[3]


def test_where_objects_overlap_the_larger_probability_counts(echo, image):
    model, other = echo(), Box((2, 30, 30), (3, 50, 60))
    both = model.predict(image, [BOX, other]).voxels
    alone = [model.predict(image, [box]).voxels for box in (BOX, other)]
    np.testing.assert_array_equal(both, np.maximum(*alone))


@pytest.mark.parametrize("prompts", [[BOX], [Click((2, 30, 30)), Click((4, 10, 10)), Click((4, 50, 50), False)]])
def test_a_batch_changes_nothing(echo, image, prompts):
    one, many = (echo(batch=size).predict(image, prompts).voxels for size in (1, 3))
    np.testing.assert_array_equal(one, many)


def test_clicks_find_a_disc_and_negative_ones_cut_it(echo, image):
    found = found_in(echo().predict(image, [Click((2, 30, 30)), Click((2, 30, 34), positive=False)]))
    assert found[2, 30, 27]
    assert not found[2, 30, 34]
    assert not np.delete(found, 2, axis=0).any()


def test_a_scribble_is_followed(echo, image):
    found = found_in(echo().predict(image, [Scribble(tuple((2, 30, column) for column in range(10, 40)))]))
    assert found[2, 30, 10:40].all()


def test_a_rough_mask_is_a_prompt(echo, image):
    rough = np.zeros(image.shape, bool)
    rough[2, 16:32, 16:32] = True
    found = found_in(echo().predict(image, [MaskPrompt(image.with_voxels(rough))]))
    np.testing.assert_array_equal(found[2, 18:30, 18:30], True)
    assert abs(int(found.sum()) - int(rough.sum())) <= 0.15 * rough.sum()


@pytest.mark.parametrize(
    ("masks", "several"), [("single", [False] * 3), ("best", [True] * 3), ("auto", [True, False, False])]
)
def test_one_mask_or_the_best_of_three(echo, image, masks, several):
    model = echo(masks=masks)
    for prompts in ([Click((2, 30, 30))], [Click((2, 30, 30)), Click((2, 40, 30))], [Box((2, 20, 20), (3, 40, 40))]):
        assert found_in(model.predict(image, prompts))[2, 30, 30]
    assert model.network.multimask == several


def test_each_slice_is_embedded_once_in_a_session(echo, image):
    model = echo()
    session = model.session(image)
    for click in (Click((2, 30, 30)), Click((2, 10, 10)), Click((3, 30, 30)), Click((2, 50, 50), positive=False)):
        session.add(click)
    session.undo()
    session.reset()
    session.add(Click((3, 5, 5)))
    assert len(model.network.shown) == 2


def test_only_what_a_prompt_concerns_is_asked_again(echo, image):
    model = echo()
    session = model.session(image)
    session.add(BOX)
    asked = len(model.network.asked)
    session.add(Box((5, 1, 1), (6, 9, 9)))
    assert len(model.network.asked) == asked + 1


def test_a_new_click_is_asked_beside_the_earlier_mask(echo, image):
    model = echo()
    session = model.session(image)
    session.add(Click((2, 30, 30)))
    session.add(Click((2, 40, 30)))
    assert model.network.asked[0].masks is None
    assert model.network.asked[1].masks.shape == (1, 1, 64, 64)
    assert model.network.asked[1].points.shape == (1, 2, 2)


def test_without_feeding_a_session_is_what_predict_gives(echo, image):
    clicks = [Click((2, 30, 30)), Click((2, 40, 30)), Click((3, 10, 10))]
    session = echo(feed=False).session(image)
    for click in clicks:
        last = session.add(click)
    np.testing.assert_array_equal(last.voxels, echo().predict(image, clicks).voxels)


def test_a_negative_click_on_a_slice_that_was_not_prompted_does_nothing_there(echo, image):
    found = echo().predict(image, [BOX, Click((6, 30, 30), positive=False)])
    np.testing.assert_array_equal(found.voxels, echo().predict(image, [BOX]).voxels)


def tube(growing=False):
    """A bright tube through slices 2 to 8 of 12 that wanders by a pixel a slice."""
    voxels = np.full((12, 64, 64), -1000, np.int16)
    for index in range(2, 9):
        half = 40 if growing and index == 7 else 5
        row = 24 + index
        voxels[index, max(0, row - half) : row + half, max(0, 30 - half) : 30 + half] = 500
    return Volume.from_spacing(voxels, (3.0, 0.5, 0.5))


def test_one_slice_is_followed_both_ways_until_nothing_is_left(echo, bright):
    volume = tube()
    model = echo(network=bright(), spread="propagate")
    found = found_in(model.predict(volume, [Box((5, 24, 25), (6, 34, 35))]))
    np.testing.assert_array_equal(found.any(axis=(1, 2)), (volume.voxels > 0).any(axis=(1, 2)))
    assert not (found & (volume.voxels < 0)).any()


def test_following_ends_where_a_mask_leaks(echo, bright):
    model = echo(network=bright(), spread="propagate")
    found = found_in(model.predict(tube(growing=True), [Box((5, 24, 25), (6, 34, 35))]))
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [2, 3, 4, 5, 6]


def test_following_goes_no_further_than_it_may(echo, bright):
    model = echo(network=bright(), spread="propagate", reach_mm=3.0)
    found = found_in(model.predict(tube(), [Box((5, 24, 25), (6, 34, 35))]))
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [4, 5, 6]


def test_between_two_prompted_slices_each_is_followed_to_the_middle(echo, bright):
    model = echo(network=bright(), spread="propagate")
    boxes = [Box((k, 19 + k, 25), (k + 1, 29 + k, 35), lesion=0) for k in (3, 8)]
    found = found_in(model.predict(tube(), boxes))
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == list(range(2, 9))


def test_a_session_keeps_what_was_followed_for_other_objects(echo, bright):
    model = echo(network=bright(), spread="propagate")
    session = model.session(tube())
    first = session.add(Box((5, 24, 25), (6, 34, 35)))
    shown = len(model.network.shown)
    both = session.add(Box((11, 1, 1), (12, 5, 5)))
    np.testing.assert_array_equal(both.voxels[:9], first.voxels[:9])
    assert len(model.network.shown) <= shown + 2


@pytest.mark.parametrize(
    ("window", "low", "high"), [("soft", -160, 240), ("lung", -910, 590), ((-75.0, 175.0), -75, 175)]
)
def test_hu_beyond_the_window_look_alike(echo, image, window, low, high):
    model = echo(window=window)
    for voxels in (image.voxels, np.clip(image.voxels, low, high)):
        model.predict(image.with_voxels(voxels), [BOX])
    torch.testing.assert_close(model.network.shown[0], model.network.shown[3])
    assert model.network.shown[0].max() > 0.8


def test_percentile_window_ignores_zeros_and_outliers(echo):
    voxels = np.zeros((2, 64, 64), np.float32)
    voxels[:, 16:48, 16:48] = np.linspace(100, 200, 1024).reshape(32, 32)
    voxels[0, 20, 20] = 1e6
    grey = echo(window="percentile").grey(Volume.from_spacing(voxels, (1.0, 1.0, 1.0)))
    assert grey(np.array([100.0, 200.0])).tolist() == pytest.approx([0, 1], abs=0.02)


def test_an_image_of_nothing_has_a_window(echo):
    empty = Volume.from_spacing(np.zeros((2, 8, 8), np.float32), (1.0, 1.0, 1.0))
    assert not echo(window="percentile").grey(empty)(empty.voxels).any()


def test_a_prompt_is_needed(echo, image):
    with pytest.raises(InputError, match="needs a prompt"):
        echo().predict(image)


@pytest.mark.parametrize(
    "options", [{"crop_px": 0}, {"crop_mm": -1.0}, {"batch": 0}, {"window": (5.0, 5.0)}, {"reach_mm": -1.0}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        PromptedOptions(**options)


def test_images_embedded_another_way_are_told(echo, image):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = echo(compute="onnxruntime")
    found = model.predict(image, [BOX])
    assert model.told == ["Images are embedded by onnxruntime float32, not compared with float32."]
    np.testing.assert_array_equal(found.voxels > 0.5, echo().predict(image, [BOX]).voxels > 0.5)


def test_the_fastest_way_must_keep_the_masks(echo, image):
    model = echo(compute="fastest")
    found = model.predict(image, [BOX])
    assert "times as fast as float32" in model.told[0]
    np.testing.assert_array_equal(found.voxels > 0.5, echo().predict(image, [BOX]).voxels > 0.5)
