"""SAM 2's loss against numbers known by hand and against the released code."""

import math

import pytest
import torch

from oncoseg.nn.losses_sam2 import dice_loss, focal_loss, sam2_loss


def test_focal_and_dice_by_hand():
    # p = 1/2 everywhere: entropy ln 2, (1 - p)^2 = 1/4, weights 1/4 inside and 3/4 outside.
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    expected = math.log(2) / 4 * (0.25 + 3 * 0.75) / 4
    assert focal_loss(logits, target).item() == pytest.approx(expected, rel=1e-6)
    # 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    assert dice_loss(logits, target).item() == pytest.approx(0.5)


def test_a_perfect_answer_costs_nothing():
    target = torch.zeros(1, 8, 8)
    target[0, 2:5, 3:6] = 1
    logits = (target[:, None] * 2 - 1) * 50
    assert sam2_loss(logits, torch.ones(1, 1), torch.full((1, 1), 50.0), target).item() == pytest.approx(0, abs=1e-6)


def test_only_the_best_mask_is_descended_but_the_expected_iou_of_all():
    target = torch.zeros(1, 8, 8)
    target[0, 2:5, 3:6] = 1
    good, bad = (target[:, None] * 2 - 1) * 50, (target[:, None] * -2 + 1) * 50
    logits = torch.cat([bad, good], dim=1)
    found = sam2_loss(logits, torch.tensor([[0.4, 1.0]]), torch.full((1, 1), 50.0), target)
    assert found.item() == pytest.approx(0.4 / 2, rel=1e-5)  # the bad mask has IoU 0


def test_where_the_object_is_not_presence_alone_counts():
    logits = torch.full((1, 1, 8, 8), 9.0)
    found = sam2_loss(logits, torch.ones(1, 1), torch.zeros(1, 1), torch.zeros(1, 8, 8))
    assert found.item() == pytest.approx(math.log(2), rel=1e-6)


# Values of MultiStepMultiMasksAndIous of facebookresearch/sam2 with the weights 20, 1, 1, 1 on the same numbers.
@pytest.mark.parametrize(("seed", "masks", "expected"), [(0, 1, 15.396228), (1, 3, 14.322945)])
def test_equals_the_released_code(seed, masks, expected):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, masks, 24, 24, generator=generator) * 4
    quality = torch.rand(4, masks, generator=generator)
    presence = torch.randn(4, 1, generator=generator)
    target = torch.rand(4, 24, 24, generator=generator) > 0.7
    target[1] = False
    assert sam2_loss(logits, quality, presence, target).item() == pytest.approx(expected, rel=1e-5)
