"""Losses by the formulas the papers use; each name says which, because the forms differ.

Everywhere: `probability` and `target` are (batch, classes, ...), target in {0, 1}; `logits` are what
comes before the sigmoid or softmax. Sums run in float32 whatever the precision of the input, so that
half precision neither overflows nor loses small lesions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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


def dice_per_class(logits: Tensor, classes: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """1 - (2 sum(py) + e) / (sum(p^2) + sum(y^2) + e) for every class over the batch, mean with the background.

    The form of TransUNet and Swin-Unet. One sigmoid channel counts as background and structure.
    """
    p, y = _with_background(logits, classes)
    summed = (0, *range(2, p.ndim))
    overlap = (p * y).sum(summed)
    size = p.square().sum(summed) + y.square().sum(summed)
    return (1 - (2 * overlap + epsilon) / (size + epsilon)).mean()


def dice_linear(logits: Tensor, classes: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 - (2 sum(py) + s) / (sum(p) + sum(y) + s) of all structures over the whole batch (UNet++, SAM-Med2D)."""
    p, y = _structures(logits, classes)
    return 1 - (2 * (p * y).sum() + smooth) / (p.sum() + y.sum() + smooth)


def focal(logits: Tensor, classes: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Mean of -a y (1 - p)^g log(p + 1e-12) - (1 - a)(1 - y) p^g log(1 - p + 1e-12) over all voxels.

    Lin et al. 2017, eq. 5, in the form of SAM-Med2D.
    """
    p, y = _structures(logits, classes)
    inside = alpha * y * (1 - p) ** gamma * torch.log(p + 1e-12)
    outside = (1 - alpha) * (1 - y) * p**gamma * torch.log(1 - p + 1e-12)
    return -(inside + outside).mean()


def mask_iou(logits: Tensor, classes: Tensor, quality: Tensor, *, per_sample: bool = False) -> Tensor:
    """Mean of (IoU - quality)^2, IoU being (sum(py) + e) / (sum(p) + sum(y) - sum(py) + e), e = 1e-7 (SAM-Med2D).

    Args:
        logits: (batch, 1, ...).
        classes: 0 or 1, (batch, ...).
        quality: the IoU that the network expects, (batch,).
        per_sample: an IoU for every sample; else one of the whole batch, as published.

    Raises:
        InputError: when the shapes do not fit.
    """
    p, y = _structures(logits, classes)
    if quality.shape != classes.shape[:1]:
        raise InputError(f"Expected IoU {tuple(quality.shape)} does not fit class map {tuple(classes.shape)}.")
    summed = tuple(range(1, p.ndim)) if per_sample else tuple(range(p.ndim))
    overlap = (p * y).sum(summed)
    union = p.sum(summed) + y.sum(summed) - overlap
    return ((overlap + 1e-7) / (union + 1e-7) - quality.float()).square().mean()


def tversky(logits: Tensor, classes: Tensor, *, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1e-5) -> Tensor:
    """1 - TP / (TP + alpha FP + beta FN) of every structure over the batch, then their mean (Salehi et al. 2017)."""
    p, y = _structures(logits, classes)
    summed = (0, *range(2, p.ndim))
    hit, false, missed = (p * y).sum(summed), (p * (1 - y)).sum(summed), ((1 - p) * y).sum(summed)
    return (1 - (hit + smooth) / (hit + alpha * false + beta * missed + smooth)).mean()


def _squared(logits: Tensor, classes: Tensor) -> Tensor:
    return dice_squared(*_structures(logits, classes))


def _nnunet(logits: Tensor, classes: Tensor) -> Tensor:
    return 1 + dice_nnunet(*_structures(logits, classes))


def _nnunet_batch(logits: Tensor, classes: Tensor) -> Tensor:
    return 1 + dice_nnunet(*_structures(logits, classes), over_batch=True)


def _entropy(logits: Tensor, classes: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return binary_cross_entropy(logits, _structures(logits, classes)[1])
    return cross_entropy(logits, classes)


def _binary(logits: Tensor, classes: Tensor) -> Tensor:
    if logits.shape[1] != 1:
        raise InputError(f"Loss 'bce' is for one sigmoid channel; the network has {logits.shape[1]} outputs.")
    return _entropy(logits, classes)


#: Losses by name: functions of logits (batch, outputs, ...) and a class map (batch, ...). One output is a sigmoid
#: of class 1, several are a softmax with the background first. All are 0 for a perfect prediction.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": _entropy,
    "bce": _binary,
    "dice_squared": _squared,
    "dice_transunet": dice_per_class,
    "dice_nnunet": _nnunet,
    "dice_nnunet_batch": _nnunet_batch,
    "dice": dice_linear,
    "tversky": tversky,
}


def weighted_loss(
    outputs: Tensor | Sequence[Tensor],
    classes: Tensor,
    losses: Mapping[str, float],
    *,
    depth_weights: Sequence[float] = (1.0,),
) -> Tensor:
    """Sum of weighted losses, over every depth of a network with deep supervision.

    Args:
        outputs: logits (batch, outputs, ...), or a list of them, finest first.
        classes: class map (batch, ...) at the size of the finest; coarser outputs see its nearest voxels.
        losses: weight by name in `LOSSES`.
        depth_weights: of the outputs, as many as there are; a depth of weight 0 is left out.

    Raises:
        InputError: when depths and weights differ in number, or a loss cannot be computed from such outputs.
    """
    depths = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if len(depths) != len(depth_weights):
        raise InputError(f"The network has {len(depths)} outputs to supervise, depth_weights has {len(depth_weights)}.")
    total = depths[0].new_zeros((), dtype=torch.float32)
    for logits, weight in zip(depths, depth_weights, strict=True):
        if weight:
            target = _at_size(classes, logits.shape[2:])
            total = total + weight * sum(
                share * LOSSES[name](logits, target) for name, share in losses.items() if share
            )
    return total


def class_probabilities(logits: Tensor) -> Tensor:
    """Probability of every class but the background, float32 (batch, classes, ...)."""
    return logits.float().sigmoid() if logits.shape[1] == 1 else torch.softmax(logits.float(), dim=1)[:, 1:]


def _at_size(classes: Tensor, size: Sequence[int]) -> Tensor:
    if classes.shape[1:] == tuple(size):
        return classes
    return F.interpolate(classes[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].to(classes.dtype)


def _structures(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of the classes without background, and the same of the class map in {0, 1}."""
    p, y = _with_background(logits, classes)
    return p[:, 1:], y[:, 1:]


def _with_background(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    if logits.shape[:1] + logits.shape[2:] != classes.shape:
        raise InputError(f"Class map {tuple(classes.shape)} does not fit logits {tuple(logits.shape)}.")
    if logits.shape[1] == 1:
        structure = logits.float().sigmoid()
        p = torch.cat([1 - structure, structure], dim=1)
    else:
        p = torch.softmax(logits.float(), dim=1)
    numbers = torch.arange(p.shape[1], device=p.device).view(1, -1, *[1] * (p.ndim - 2))
    return p, (classes[:, None] == numbers).float()


def _pair(values: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if values.shape != target.shape:
        raise InputError(f"Prediction {tuple(values.shape)} and target {tuple(target.shape)} differ in shape.")
    return values.float(), target.float()
