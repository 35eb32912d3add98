from itertools import permutations, product

import numpy as np
import pytest

from oncoseg.evaluation.marching import CORNERS, contour_lengths, triangle_areas
from oncoseg.evaluation.surfaces import surface_elements

UNIT = triangle_areas(np.eye(3))


def pattern(corners):
    return sum(1 << CORNERS.index(corner) for corner in corners)


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        ([(0, 0, 0)], np.sqrt(3) / 8),
        ([(0, 0, 0), (0, 0, 1)], np.sqrt(2) / 2),
        ([(0, 0, 0), (0, 1, 1)], np.sqrt(3) / 4),
        ([(0, 0, 0), (1, 1, 1)], np.sqrt(3) / 4),
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)], 1),
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)], 3 * np.sqrt(3) / 4),
        ([(0, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)], np.sqrt(2)),
        ([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)], np.sqrt(3) / 2),
    ],
)
def test_areas_known_by_hand(corners, area):
    assert UNIT[pattern(corners)] == pytest.approx(area)


def test_a_pattern_and_its_complement_have_the_same_surface():
    np.testing.assert_allclose(UNIT, UNIT[::-1])


def test_turning_and_mirroring_a_pattern_changes_no_area():
    spacing = np.array([3.0, 1.0, 0.8])
    areas = triangle_areas(np.diag(spacing))
    for order, flips in product(permutations(range(3)), product((0, 1), repeat=3)):
        moved = triangle_areas(np.diag(spacing[list(order)]))
        for code in range(256):
            corners = [corner for bit, corner in enumerate(CORNERS) if code >> bit & 1]
            turned = pattern(
                tuple(corner[axis] ^ flip for axis, flip in zip(order, flips, strict=True)) for corner in corners
            )
            assert moved[turned] == pytest.approx(areas[code])


def test_contour_of_pixels_in_mm():
    lengths = contour_lengths(np.diag([3.0, 4.0]))
    assert lengths[0b0001] == pytest.approx(2.5)
    assert lengths[0b0011] == pytest.approx(4)
    assert lengths[0b0101] == pytest.approx(3)
    assert lengths[0b1001] == pytest.approx(5)


def test_a_sheared_slab_has_the_area_of_its_parallelogram():
    axes = np.array([[3.0, 0, 0], [1.5, 2, 0], [0, 0, 1]])
    flat = triangle_areas(axes)[pattern([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)])]
    assert flat == pytest.approx(2)


def test_a_large_box_has_the_surface_of_its_faces_less_its_edges():
    mask = np.zeros((22, 22, 22), dtype=bool)
    mask[1:-1, 1:-1, 1:-1] = True
    area = surface_elements(mask, np.eye(3)).areas.sum()
    assert area == pytest.approx(6 * 19**2 + 12 * 19 * np.sqrt(2) / 2 + 8 * np.sqrt(3) / 8)
