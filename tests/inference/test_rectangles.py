import pytest

from oncoseg.inference.rectangles import Crop, Rectangle, crop_round, rectangles
from oncoseg.prompt import Box


def test_a_3d_box_is_the_same_rectangle_on_each_slice():
    found = list(rectangles(Box((2, 10, 20), (5, 16, 30))))
    assert found == [Rectangle(k, 10, 20, 16, 30) for k in (2, 3, 4)]


def test_a_tapered_box_is_widest_in_the_middle_and_never_empty():
    found = list(rectangles(Box((2, 10, 20), (5, 16, 30)), "ellipsoid"))
    assert found[1] == Rectangle(3, 10, 20, 16, 30)
    assert found[0].longest == found[2].longest == pytest.approx(10 * (1 - (2 / 3) ** 2) ** 0.5)


def test_tapering_leaves_a_box_of_one_slice_as_it_is():
    assert list(rectangles(Box((2, 10, 20), (3, 16, 30)), "ellipsoid")) == [Rectangle(2, 10, 20, 16, 30)]


@pytest.mark.parametrize(
    ("rectangle", "crop"),
    [
        (Rectangle(0, 40, 40, 60, 60), Crop(34, 34, 66, 66)),
        (Rectangle(0, 0, 90, 10, 100), Crop(0, 68, 32, 100)),
    ],
    ids=["round the box", "moved inside"],
)
def test_the_crop_lies_round_the_box_and_inside_the_slice(rectangle, crop):
    assert crop_round(rectangle, 100, 100, 32) == crop


def test_a_small_slice_is_shown_whole():
    assert crop_round(Rectangle(0, 4, 4, 8, 8), 20, 50, 192) == Crop(0, 0, 20, 50)
