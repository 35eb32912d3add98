import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oncoseg.errors import InputError
from oncoseg.io.contours import Shaping, encloses, filled, outlines, signed_area


def winding(polygon, point):
    """Turns of a polygon round a point: the second way to fill, which shares no code with the first."""
    around = np.asarray(polygon) - point
    after = np.roll(around, -1, axis=0)
    cross = around[:, 0] * after[:, 1] - around[:, 1] * after[:, 0]
    return round(float(np.arctan2(cross, (around * after).sum(axis=1)).sum() / (2 * np.pi)))


def disc(shape, centre, radius):
    row, column = np.ogrid[: shape[0], : shape[1]]
    return (row - centre[0]) ** 2 + (column - centre[1]) ** 2 <= radius**2


def test_a_single_pixel_is_a_diamond_of_four_points():
    plane = np.zeros((5, 5), bool)
    plane[2, 3] = True
    (ring,) = outlines(plane)
    assert sorted(map(tuple, ring)) == [(1.5, 3.0), (2.0, 2.5), (2.0, 3.5), (2.5, 3.0)]
    assert abs(signed_area(ring)) == pytest.approx(0.5)


def test_an_empty_slice_has_no_outline():
    assert outlines(np.zeros((4, 4), bool)) == []


def test_pixels_that_touch_at_a_corner_stay_apart():
    assert len(outlines(np.eye(4, dtype=bool))) == 4


def test_a_hole_is_part_of_its_outline_by_a_keyhole():
    ring = disc((20, 20), (9, 9), 8) & ~disc((20, 20), (9, 9), 3)
    (polygon,) = outlines(ring)
    # Two vertices occur twice: the ends of the bridge.
    assert len(polygon) - len(np.unique(polygon, axis=0)) == 2
    np.testing.assert_array_equal(filled([polygon], ring.shape), ring)


def test_an_island_in_a_hole_is_an_outline_of_its_own():
    plane = disc((40, 40), (20, 20), 18) & ~disc((40, 40), (20, 20), 10) | disc((40, 40), (20, 20), 4)
    plane[20, 20] = False
    large, small = outlines(plane)
    assert abs(signed_area(large)) > abs(signed_area(small))
    np.testing.assert_array_equal(filled([large, small], plane.shape), plane)


def test_several_holes_join_one_outline():
    plane = disc((40, 60), (20, 30), 19)
    for column in (20, 30, 40):
        plane &= ~disc(plane.shape, (20, column), 3)
    (polygon,) = outlines(plane)
    np.testing.assert_array_equal(filled([polygon], plane.shape), plane)


def test_the_border_of_the_image_is_outlined_too():
    plane = np.ones((3, 4), bool)
    (polygon,) = outlines(plane)
    np.testing.assert_array_equal(filled([polygon], plane.shape), plane)
    assert polygon.min() == -0.5


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_every_mask_comes_back_by_even_odd_filling_and_by_winding(plane):
    polygons = outlines(plane)
    np.testing.assert_array_equal(filled(polygons, plane.shape), plane)
    turns = np.array(
        [[sum(winding(p, (r, c)) != 0 for p in polygons) for c in range(plane.shape[1])] for r in range(len(plane))]
    )
    np.testing.assert_array_equal(turns % 2 == 1, plane)


def test_noise_comes_back_whole():
    plane = np.random.default_rng(1).random((128, 128)) < 0.5
    np.testing.assert_array_equal(filled(outlines(plane), plane.shape), plane)


def test_a_polygon_encloses_by_the_even_odd_rule():
    (polygon,) = outlines(disc((20, 20), (9, 9), 8) & ~disc((20, 20), (9, 9), 3))
    assert encloses(polygon, np.array([9.0, 3.0]))
    assert not encloses(polygon, np.array([9.0, 9.0]))
    assert not encloses(polygon, np.array([9.0, 19.0]))


def test_thinning_leaves_out_points_and_moves_the_outline_no_further_than_asked():
    plane = disc((60, 60), (30, 30), 25)
    (fine,), (coarse,) = outlines(plane), outlines(plane, spacing=(0.5, 0.5), shaping=Shaping(thin_mm=0.4))
    assert len(coarse) < len(fine) / 4
    away = np.linalg.norm(fine[:, None] - coarse[None], axis=-1)
    assert away.min(axis=0).max() < 1e-9  # what is left are points of the outline
    lost = filled([coarse], plane.shape) ^ plane
    assert lost.sum() < 0.06 * plane.sum()


def test_smoothing_keeps_the_size_and_shortens_the_way_round():
    plane = disc((60, 60), (30, 30), 25)
    (stairs,), (smooth,) = outlines(plane), outlines(plane, shaping=Shaping(smooth_mm=2.0))
    round_ = [np.linalg.norm(np.diff(r, axis=0, append=r[:1]), axis=1).sum() for r in (stairs, smooth)]
    assert round_[1] < round_[0]
    assert abs(signed_area(smooth)) == pytest.approx(abs(signed_area(stairs)), rel=0.02)


def test_shaping_never_loses_a_single_pixel():
    plane = np.zeros((5, 5), bool)
    plane[2, 2] = True
    for shaping in (Shaping(smooth_mm=5.0), Shaping(thin_mm=50.0), Shaping(smooth_mm=3.0, thin_mm=3.0)):
        np.testing.assert_array_equal(filled(outlines(plane, shaping=shaping), plane.shape), plane)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_lengths_that_are_none_are_refused(wrong):
    with pytest.raises(InputError, match="thin_mm"):
        Shaping(thin_mm=wrong)
