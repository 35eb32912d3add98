"""The loss of SAM 2 (Ravi et al. 2024, arXiv 2408.00714, appendix D.2; training/loss_fns.py of the released code)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Weights of focal loss, Dice, expected IoU and presence.
FOCAL, DICE, QUALITY, PRESENCE = 20.0, 1.0, 1.0, 1.0


def sam2_loss(logits: Tensor, quality: Tensor, presence: Tensor, target: Tensor) -> Tensor:
    """20 focal + Dice of the best mask, + |expected - true IoU| of all masks, + cross-entropy of presence.

    Best is the mask with the smallest 20 focal + Dice. Where the target is empty only presence counts.

    Args:
        logits: (n, m, rows, columns) of m masks of each object.
        quality: (n, m), the IoU that is expected of each.
        presence: (n, 1), above 0 where the object is seen.
        target: (n, rows, columns) of 0 and 1.

    Returns:
        A scalar, the mean over objects.
    """
    y = target[:, None].float().expand_as(logits)
    x, there = logits.float(), target.flatten(1).any(dim=1)
    focal, dice = focal_loss(x, y), dice_loss(x, y)
    best = (FOCAL * focal + DICE * dice).argmin(dim=1, keepdim=True)
    on_mask = (FOCAL * focal + DICE * dice).gather(1, best)[:, 0]
    on_quality = (quality.float() - _iou(x, y)).abs().mean(dim=1)
    on_presence = F.binary_cross_entropy_with_logits(presence[:, 0].float(), there.float(), reduction="none")
    return ((on_mask + QUALITY * on_quality) * there + PRESENCE * on_presence).mean()


def focal_loss(logits: Tensor, target: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss (n, m) of masks (n, m, rows, columns), mean over pixels."""
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = p * target + (1 - p) * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * entropy * (1 - right) ** gamma).flatten(2).mean(dim=2)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - (2 sum(py) + 1) / (sum(p) + sum(y) + 1) for each of the masks (n, m, rows, columns)."""
    p, y = logits.sigmoid().flatten(2), target.flatten(2)
    return 1 - (2 * (p * y).sum(dim=2) + 1) / (p.sum(dim=2) + y.sum(dim=2) + 1)


def _iou(logits: Tensor, target: Tensor) -> Tensor:
    found, wanted = logits.flatten(2) > 0, target.flatten(2) > 0
    either = torch.count_nonzero(found | wanted, dim=2).clamp(min=1)
    return torch.count_nonzero(found & wanted, dim=2) / either
