"""What is shown to a network and what comes back lie on the same pixels."""

import pytest
import torch

from oncoseg.promptable.frame import DEVIATION, MEAN, Frame

FRAMES = {
    "corner": Frame(64, fit="corner"),
    "squash": Frame(64, fit="squash"),
    "squash nearest": Frame(64, fit="squash", interpolation="nearest"),
    "squash cubic": Frame(64, fit="squash", interpolation="bicubic", antialias=True),
    "centre": Frame(64, fit="centre"),
}


@pytest.fixture(params=FRAMES.values(), ids=FRAMES.keys())
def frame(request):
    return request.param


@pytest.mark.parametrize("shape", [(64, 64), (40, 60), (100, 80), (128, 128)], ids=str)
def test_a_rectangle_lands_where_its_corners_say(frame, shape):
    grey = torch.zeros(shape)
    top, left, bottom, right = 8, 12, 30, 36
    grey[top:bottom, left:right] = 1
    shown = frame.show(grey)
    assert shown.shape == (3, 64, 64)
    rows, columns = (torch.nonzero((shown[0] > 0.5).any(dim=axis)).flatten() for axis in (1, 0))
    x0, y0, x1, y1 = frame.corners(shape, (top, left, bottom, right))
    assert abs(float(columns[0]) - x0) <= 1
    assert abs(float(columns[-1]) - x1) <= 1
    assert abs(float(rows[0]) - y0) <= 1
    assert abs(float(rows[-1]) - y1) <= 1


@pytest.mark.parametrize("shape", [(64, 64), (40, 60), (100, 80)], ids=str)
def test_a_mask_comes_back_to_the_pixels_it_was_shown_from(frame, shape):
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[8:30, 12:36] = True
    back = frame.back(frame.show_mask(mask).float() * 16 - 8, shape) > 0.5
    wrong = back != mask
    assert wrong.sum() <= 0.12 * mask.sum()
    assert not wrong[10:28, 14:34].any()


def test_a_pixel_is_a_point_in_its_own_middle(frame):
    grey = torch.zeros(40, 60)
    grey[10:13, 20:23] = 1
    x, y = frame.point((40, 60), (11, 21))
    shown = frame.show(grey)[0]
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    assert float((row * shown).sum() / shown.sum()) == pytest.approx(y, abs=0.6)
    assert float((column * shown).sum() / shown.sum()) == pytest.approx(x, abs=0.6)


def test_smaller_logits_are_enlarged_first():
    logits = torch.full((16, 16), -8.0)
    logits[:8] = 8.0
    found = Frame(64).back(logits, (64, 32))
    assert found.shape == (64, 32)
    assert (found[:28] > 0.5).all()
    assert (found[36:] < 0.5).all()


def test_the_longest_side_fills_the_corner_and_the_rest_is_zero():
    shown = Frame(64, fit="corner", stretch=True).show(torch.arange(32.0 * 64).reshape(32, 64) / 2048)
    assert not shown[:, 32:].any()
    assert (shown.min(), shown.max()) == (0, 1)


def test_a_constant_slice_is_zero_not_nan():
    assert not Frame(64, stretch=True).show(torch.full((40, 40), 0.7)).any()


def test_colours_are_those_of_natural_images_and_padding_stays_zero():
    shown = Frame(64, fit="centre", colours=True).show(torch.full((32, 32), 0.5))
    expected = (0.5 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    torch.testing.assert_close(shown[:, 32, 32], expected)
    assert not shown[:, :16].any()


def test_eight_bit_pictures_have_whole_grey_values():
    shown = Frame(64, whole=True).show(torch.full((64, 64), 0.4999))
    assert float(shown[0, 0, 0]) == pytest.approx(127 / 255)
