"""Losses against hand-made numbers and the limits every one must keep."""

import math

import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.nn.losses import (
    LOSSES,
    binary_cross_entropy,
    class_probabilities,
    cross_entropy,
    dice_nnunet,
    dice_squared,
    focal,
    mask_iou,
    weighted_loss,
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


def test_cross_entropies_of_even_odds_are_log_two():
    assert binary_cross_entropy(torch.zeros(1, 1, 2, 2), TARGET).item() == pytest.approx(math.log(2))
    assert cross_entropy(torch.zeros(1, 2, 2, 2), TARGET[:, 0]).item() == pytest.approx(math.log(2))


def test_positive_weight_doubles_the_cost_of_missed_tumour():
    even = torch.zeros(1, 1, 2, 2)
    assert binary_cross_entropy(even, TARGET, positive_weight=2.0).item() == pytest.approx(1.5 * math.log(2))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("empty", [True, False])
def test_every_loss_by_name_is_nothing_for_a_perfect_prediction_and_something_for_its_opposite(name, outputs, empty):
    if name == "bce" and outputs > 1:
        pytest.skip("for a sigmoid")
    classes = torch.zeros(2, 8, 8, dtype=torch.uint8)
    if not empty:
        classes[:, 2:6] = torch.arange(1, 9).clamp(max=max(1, outputs - 1)).to(torch.uint8)
    one_hot = (classes[:, None] == torch.arange(max(2, outputs)).view(1, -1, 1, 1)).float()
    logits = (one_hot[:, -1:] if outputs == 1 else one_hot) * 200 - 100
    assert LOSSES[name](logits, classes).item() <= 1e-3
    assert LOSSES[name](-logits, classes).item() > 0.2


@pytest.mark.parametrize("name", ["cross_entropy", "dice_squared", "dice_nnunet", "dice", "tversky", "dice_transunet"])
def test_two_channels_and_one_agree_where_softmax_is_a_sigmoid(name):
    one = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    classes = (one[:, 0] > 0.3).to(torch.uint8)
    torch.testing.assert_close(class_probabilities(one), class_probabilities(two))
    torch.testing.assert_close(LOSSES[name](one, classes), LOSSES[name](two, classes))


def test_losses_by_name_of_known_cases():
    # p = 1/2 everywhere, two of four pixels true: TP = FP = FN = 1.
    logits, classes = torch.zeros(1, 1, 2, 2), TARGET[:, 0].to(torch.uint8)
    assert LOSSES["tversky"](logits, classes).item() == pytest.approx(1 - 1 / (1 + 0.3 + 0.7), abs=1e-4)
    assert LOSSES["dice"](logits, classes).item() == pytest.approx(1 - (2 + 1) / (2 + 2 + 1))
    assert LOSSES["dice_transunet"](logits, classes).item() == pytest.approx(1 - 2 / 3, abs=1e-4)
    assert LOSSES["dice_nnunet"](logits, classes).item() == pytest.approx(0.5, abs=1e-4)


def test_focal_without_focus_is_half_of_cross_entropy():
    torch.manual_seed(0)
    logits, classes = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 4, 4))
    half = 0.5 * binary_cross_entropy(logits, classes[:, None])
    torch.testing.assert_close(focal(logits, classes, alpha=0.5, gamma=0.0), half)


def test_focal_of_a_known_case():
    """Two pixels inside at p = 1/2 and two outside at p = 1/4: (2/4 log 2 / 4 + 2 * 3/4 log(4/3) / 16) / 4."""
    logits = torch.tensor([[[[0.0, 0.0], [-math.log(3), -math.log(3)]]]])
    expected = (2 * 0.25 * 0.25 * math.log(2) + 2 * 0.75 * 0.0625 * math.log(4 / 3)) / 4
    assert focal(logits, TARGET[:, 0]).item() == pytest.approx(expected)


def test_expected_iou_is_compared_with_that_of_the_batch_or_of_every_sample():
    """p = 1/2 everywhere: overlap 1 and union 3 in the sample with two pixels, 0 and 2 in the empty one."""
    logits = torch.zeros(2, 1, 2, 2)
    classes = torch.stack([TARGET[0, 0], torch.zeros(2, 2)])
    expected = torch.tensor([0.5, 0.0])
    together = ((1 / 5 - 0.5) ** 2 + (1 / 5) ** 2) / 2
    assert mask_iou(logits, classes, expected).item() == pytest.approx(together)
    assert mask_iou(logits, classes, expected, per_sample=True).item() == pytest.approx((1 / 3 - 0.5) ** 2 / 2)
    with pytest.raises(InputError, match="Expected IoU"):
        mask_iou(logits, classes, expected[:, None])


def test_weights_of_losses_and_depths_multiply():
    fine = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    coarse = fine[..., ::2, ::2]
    classes = torch.zeros(1, 8, 8, dtype=torch.uint8)
    classes[:, :4] = 1
    alone = weighted_loss(fine, classes, {"dice": 2.0, "cross_entropy": 0.5})
    assert alone.item() == pytest.approx(
        2 * LOSSES["dice"](fine, classes).item() + 0.5 * cross_entropy(fine, classes).item()
    )
    both = weighted_loss([fine, coarse], classes, {"dice": 1.0}, depth_weights=(1.0, 0.25))
    expected = LOSSES["dice"](fine, classes) + 0.25 * LOSSES["dice"](coarse, classes[:, ::2, ::2])
    torch.testing.assert_close(both, expected)
    with pytest.raises(InputError, match="2 outputs to supervise, depth_weights has 1"):
        weighted_loss([fine, coarse], classes, {"dice": 1.0})


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [0.0, 1.0, 6e4])
def test_gradients_stay_finite_over_the_range_of_half_precision(name, channels, size):
    if name == "bce" and channels > 1:
        pytest.skip("for a sigmoid")
    logits = (torch.linspace(-size, size, channels * 1024).reshape(1, channels, 32, 32)).half().requires_grad_()
    for tumour in (0, 1):
        loss = LOSSES[name](logits, torch.full((1, 32, 32), tumour, dtype=torch.uint8))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="differ in shape"):
        dice_squared(HALF, TARGET[0])
    with pytest.raises(InputError, match="does not fit logits"):
        cross_entropy(torch.zeros(1, 2, 2, 2), TARGET)
    with pytest.raises(InputError, match="does not fit logits"):
        LOSSES["dice"](torch.zeros(1, 2, 2, 2), TARGET)
    with pytest.raises(InputError, match="one sigmoid channel"):
        LOSSES["bce"](torch.zeros(1, 3, 2, 2), TARGET[:, 0])
