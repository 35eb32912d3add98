"""Boundary IoU and added path length against answers by hand."""

import numpy as np
import pytest

from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.scoring import metric
from oncoseg.evaluation.surfaces import near_points, nearest_mm


def squares(reference, prediction, spacing=(1.0, 1.0), size=30):
    masks = np.zeros((2, size, size), dtype=bool)
    for mask, (first, stop) in zip(masks, (reference, prediction), strict=True):
        mask[first:stop, first:stop] = True
    return MaskPair.from_arrays(*masks, spacing)


def test_a_band_of_width_0_is_the_border():
    # Rings of 10 x 10 and 8 x 8 pixels: 36 and 28 pixels, none in common.
    assert metric("boundary_iou@0")(squares((5, 15), (6, 14))).value == 0
    # Two pixels wide they share the inner square's ring.
    assert metric("boundary_iou@1")(squares((5, 15), (6, 14))).value == pytest.approx(28 / (36 + 28 + 20))


def test_a_band_as_wide_as_the_mask_gives_the_iou():
    pair = squares((5, 15), (7, 17))
    assert metric("boundary_iou@20")(pair).value == pytest.approx(metric("iou")(pair).value)


def test_the_width_is_in_millimetres():
    coarse = squares((5, 15), (6, 14), spacing=(2.0, 2.0))
    assert metric("boundary_iou@1.9")(coarse).value == 0
    assert metric("boundary_iou@2")(coarse).value == pytest.approx(28 / 84)


def test_the_added_path_is_the_outline_that_the_prediction_does_not_run_along():
    # The right half is one pixel too far out: of a ring of 36 pixels the left column of 10 and 8 + 8 pixels of the rows
    # above and below are right, 10 of the right column are to be drawn; corners belong to columns.
    pair = squares((5, 15), (5, 15))
    pair.prediction[5:15, 15] = True
    again = MaskPair.from_arrays(pair.reference, pair.prediction, (0.5, 0.5))
    assert metric("added_path_length@0")(again).value == pytest.approx(8 * 0.5)
    assert metric("added_path_length@0.5")(again).value == 0


def test_a_miss_costs_the_whole_outline_on_every_slice():
    reference = np.zeros((6, 30, 30), dtype=bool)
    reference[1:4, 5:15, 5:15] = True
    pair = MaskPair.from_arrays(reference, np.zeros_like(reference), (3.0, 0.8, 0.8))
    assert metric("added_path_length@0")(pair).value == pytest.approx(3 * 36 * 0.8)
    assert metric("added_path_length@2")(pair).value == pytest.approx(3 * 36 * 0.8)


def test_a_contour_of_another_slice_saves_no_path():
    masks = np.zeros((2, 6, 30, 30), dtype=bool)
    masks[0, 2, 5:15, 5:15] = masks[1, 3, 5:15, 5:15] = True
    pair = MaskPair.from_arrays(*masks, (0.1, 1.0, 1.0))
    assert metric("added_path_length@5")(pair).value == pytest.approx(36)


@pytest.mark.parametrize("axes", [np.diag([3.0, 1.0, 0.8]), np.array([[3.0, 0, 0], [0.5, 1.0, 0], [0, 0.2, 0.8]])])
@pytest.mark.parametrize("writes", [0, 10**9])
def test_voxels_near_points_are_those_within_the_distance(axes, writes, monkeypatch):
    monkeypatch.setattr("oncoseg.evaluation.surfaces._MANY_WRITES", writes)
    points = np.argwhere(np.random.default_rng(1).random((7, 9, 11)) < 0.02)
    everywhere = np.argwhere(np.ones((7, 9, 11), dtype=bool))
    want = nearest_mm(everywhere, points, axes=axes).reshape(7, 9, 11) <= 2.5
    np.testing.assert_array_equal(near_points(points, (7, 9, 11), radius_mm=2.5, axes=axes), want)
