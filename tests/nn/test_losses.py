"""Losses against hand-made numbers and the limits every one must keep."""

import math

import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.nn.losses import (
    binary_cross_entropy,
    cross_entropy,
    dice_and_cross_entropy,
    dice_nnunet,
    dice_squared,
    foreground,
)

TARGET = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
HALF = torch.full((1, 1, 2, 2), 0.5)


def test_dice_squared_of_a_known_case():
    # sum(py) = 1, sum(p^2) = 1, sum(y^2) = 2
    assert dice_squared(HALF, TARGET, epsilon=0.0).item() == pytest.approx(1 - 2 / 3)


def test_dice_of_nnunet_of_a_known_case():
    # sum(py) = 1, sum(p) = 2, sum(y) = 2
    assert dice_nnunet(HALF, TARGET, smooth=0.0).item() == pytest.approx(-0.5)


def test_dice_of_nnunet_over_the_batch_sums_before_it_divides():
    p = torch.cat([TARGET, torch.ones_like(TARGET)])
    y = torch.cat([TARGET, torch.zeros_like(TARGET)])
    assert dice_nnunet(p, y).item() == pytest.approx(-0.5, abs=1e-4)
    assert dice_nnunet(p, y, over_batch=True).item() == pytest.approx(-4 / 8, abs=1e-4)
    wide = torch.cat([TARGET, torch.ones_like(TARGET)[..., :1].expand_as(TARGET) * 0.5])
    assert dice_nnunet(wide, y, over_batch=True).item() == pytest.approx(-4 / 6, abs=1e-4)
    assert dice_nnunet(wide, y).item() == pytest.approx(-0.5, abs=1e-4)


def test_dice_squared_weighs_every_sample_alike():
    small = torch.zeros(2, 1, 8, 8)
    small[0, 0, 0, 0] = 1
    small[1] = 1
    missed_small = small.clone()
    missed_small[0] = 0
    assert dice_squared(missed_small, small).item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("empty", [True, False])
def test_a_perfect_prediction_costs_nothing(empty):
    target = torch.zeros_like(TARGET) if empty else TARGET
    assert dice_squared(target, target).item() <= 1e-4
    assert dice_nnunet(target, target).item() + 1 <= 1e-4
    assert dice_and_cross_entropy((target - 0.5) * 100, target).item() <= 1e-4


def test_cross_entropies_of_even_odds_are_log_two():
    assert binary_cross_entropy(torch.zeros(1, 1, 2, 2), TARGET).item() == pytest.approx(math.log(2))
    assert cross_entropy(torch.zeros(1, 2, 2, 2), TARGET[:, 0]).item() == pytest.approx(math.log(2))


def test_positive_weight_doubles_the_cost_of_missed_tumour():
    even = torch.zeros(1, 1, 2, 2)
    assert binary_cross_entropy(even, TARGET, positive_weight=2.0).item() == pytest.approx(1.5 * math.log(2))


def test_two_channels_and_one_agree_where_softmax_is_a_sigmoid():
    one = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    target = (one > 0.3).float()
    torch.testing.assert_close(foreground(one), foreground(two))
    torch.testing.assert_close(dice_and_cross_entropy(one, target), dice_and_cross_entropy(two, target))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [0.0, 1.0, 6e4])
def test_gradients_stay_finite_over_the_range_of_half_precision(channels, size):
    logits = (torch.linspace(-size, size, channels * 1024).reshape(1, channels, 32, 32)).half().requires_grad_()
    target = torch.zeros(1, 1, 32, 32)
    for tumour in (0.0, 1.0):
        target[:] = tumour
        loss = dice_and_cross_entropy(logits, target)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="differ in shape"):
        dice_squared(HALF, TARGET[0])
    with pytest.raises(InputError, match="does not fit logits"):
        cross_entropy(torch.zeros(1, 2, 2, 2), TARGET)
    with pytest.raises(InputError, match="1 or 2 output channels"):
        foreground(torch.zeros(1, 3, 2, 2))
