"""Windows by hand."""

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.preprocess.fixed_window import Window, following, inside, union_window


def mask(*boxes, shape=(4, 512, 512)):
    voxels = np.zeros(shape, bool)
    for index, rows, columns in boxes:
        voxels[index, slice(*rows), slice(*columns)] = True
    return voxels


def test_the_window_is_a_square_about_the_union_of_all_boxes():
    first = mask((0, (200, 260), (210, 230)), (2, (220, 300), (190, 220)))
    second = mask((1, (240, 250), (400, 440)))
    found = union_window([("a", first), ("b", second)])
    # Rows 200 to 300, columns 190 to 440: 250 columns, so the least side of 256 about (250, 315).
    assert found.window == Window(122, 187, 378, 443)
    assert found.shape == (512, 512)


def test_a_union_wider_than_the_least_side_sets_the_side():
    found = union_window([("a", mask((0, (100, 110), (50, 60)), (3, (300, 320), (390, 392))))])
    assert found.window == Window(39, 50, 381, 392)  # 342 pixels, as the published window of NSCLC-Radiomics
    assert found.window.bottom - found.window.top == 342


def test_the_window_is_moved_into_the_slice_and_cut_where_the_slice_is_smaller():
    assert union_window([("a", mask((0, (0, 4), (500, 512))))]).window == Window(0, 256, 256, 512)
    small = mask((0, (10, 12), (10, 12)), shape=(2, 40, 64))
    assert union_window([("a", small)]).window == Window(0, 0, 40, 64)


def test_a_margin_widens_the_union():
    found = union_window([("a", mask((0, (250, 260), (250, 260))))], smallest=8, margin=3)
    assert found.window == Window(247, 247, 263, 263)


def test_slices_of_different_size_and_no_tumour_at_all_are_refused():
    with pytest.raises(InputError, match=r"b 40 x 64"):
        union_window([("a", mask((0, (1, 2), (1, 2)))), ("b", mask(shape=(2, 40, 64)))])
    with pytest.raises(InputError, match="No training case"):
        union_window([("a", mask())])


def test_cases_without_tumour_change_nothing():
    held = ("a", mask((0, (250, 260), (250, 260))))
    assert union_window([held, ("b", mask())]) == union_window([held])


def test_a_window_follows_what_leaves_it_as_little_as_it_takes():
    window = Window(100, 100, 200, 200)
    assert following(window, (120, 120), (150, 160), (512, 512)) == window
    assert following(window, (90, 120), (150, 210), (512, 512)) == Window(90, 110, 190, 210)
    # A prompt of the whole slice is larger than the window and leaves it where it is.
    assert following(window, (0, 0), (512, 512), (512, 512)) == window
    assert following(window, (0, 205), (512, 210), (512, 512)) == Window(100, 110, 200, 210)


def test_windows_lie_inside_slices_and_say_where():
    assert inside(Window(-5, 400, 95, 600), (512, 512)) == Window(0, 312, 100, 512)
    held = Window(1, 2, 3, 5).mask((2, 4, 6))
    assert held.sum() == 2 * 2 * 3
    assert held[:, 1:3, 2:5].all()
