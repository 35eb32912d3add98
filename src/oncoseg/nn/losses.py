"""Losses by the formulas the papers use; each name says which, because the forms differ.

Everywhere: `probability` and `target` are (batch, classes, ...), target in {0, 1}; `logits` are what
comes before the sigmoid or softmax. Sums run in float32 whatever the precision of the input, so that
half precision neither overflows nor loses small lesions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.errors import InputError


def dice_squared(probability: Tensor, target: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """1 - (2 sum(py) + e) / (sum(p^2) + sum(y^2) + e) for every sample and class, then their mean.

    The form of MedSAM, SAM-Med3D and M-SAM (Milletari et al. 2016, eq. 3). Zero for empty target
    and empty prediction.

    Returns:
        A scalar in [0, 1].

    Raises:
        InputError: when the shapes differ.
    """
    p, y = _pair(probability, target)
    space = tuple(range(2, p.ndim))
    overlap = (p * y).sum(space)
    size = p.square().sum(space) + y.square().sum(space)
    return (1 - (2 * overlap + epsilon) / (size + epsilon)).mean()


def dice_nnunet(
    probability: Tensor, target: Tensor, *, over_batch: bool = False, smooth: float = 1e-5, smallest: float = 1e-8
) -> Tensor:
    """-(2 sum(py) + s) / max(sum(p) + sum(y) + s, smallest), mean over foreground classes (Isensee et al. 2021).

    Args:
        probability: foreground classes only; leave the background channel away.
        target: same shape.
        over_batch: sum over the samples of the batch first (`batch_dice`), else every sample for itself.
        smooth: s.
        smallest: lower limit of the denominator.

    Returns:
        A scalar in [-1, 0]; -1 is perfect, and is also the value of empty target with empty prediction.

    Raises:
        InputError: when the shapes differ.
    """
    p, y = _pair(probability, target)
    summed = ((0,) if over_batch else ()) + tuple(range(2, p.ndim))
    overlap = (p * y).sum(summed)
    size = p.sum(summed) + y.sum(summed)
    return -((2 * overlap + smooth) / (size + smooth).clamp_min(smallest)).mean()


def binary_cross_entropy(logits: Tensor, target: Tensor, *, positive_weight: float = 1.0) -> Tensor:
    """Mean of -w y log(sigmoid) - (1 - y) log(1 - sigmoid), w being `positive_weight`; stable for any logit.

    Raises:
        InputError: when the shapes differ.
    """
    x, y = _pair(logits, target)
    return F.binary_cross_entropy_with_logits(x, y, pos_weight=x.new_tensor(positive_weight))


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean of -log softmax at the true class.

    Args:
        logits: (batch, classes, ...).
        classes: whole numbers (batch, ...), 0 being the background.

    Raises:
        InputError: when `classes` has not the shape of `logits` without its class axis.
    """
    if logits.shape[:1] + logits.shape[2:] != classes.shape:
        raise InputError(f"Class map {tuple(classes.shape)} does not fit logits {tuple(logits.shape)}.")
    return F.cross_entropy(logits.float(), classes.long())


def dice_and_cross_entropy(logits: Tensor, target: Tensor, *, dice: float = 1.0, entropy: float = 1.0) -> Tensor:
    """`dice` x Dice-sq + `entropy` x cross-entropy of one structure against the background.

    Args:
        logits: (batch, 1, ...) before a sigmoid, or (batch, 2, ...) before a softmax whose second class
            is the structure; Dice counts the structure only.
        target: (batch, 1, ...) in {0, 1}.
        dice: weight of Dice-sq.
        entropy: weight of the cross-entropy.

    Returns:
        A scalar, at least 0.

    Raises:
        InputError: for another number of channels.
    """
    if logits.shape[1] == 1:
        return dice * dice_squared(foreground(logits), target) + entropy * binary_cross_entropy(logits, target)
    return dice * dice_squared(foreground(logits), target) + entropy * cross_entropy(logits, target[:, 0])


def foreground(logits: Tensor) -> Tensor:
    """Probability of the structure, float32 (batch, 1, ...), from one sigmoid or two softmax channels.

    Raises:
        InputError: for another number of channels.
    """
    match logits.shape[1]:
        case 1:
            return logits.float().sigmoid()
        case 2:
            return torch.softmax(logits.float(), dim=1)[:, 1:]
    raise InputError(f"One structure needs 1 or 2 output channels; the network has {logits.shape[1]}.")


def _pair(values: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if values.shape != target.shape:
        raise InputError(f"Prediction {tuple(values.shape)} and target {tuple(target.shape)} differ in shape.")
    return values.float(), target.float()
