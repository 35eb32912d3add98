"""What several readers agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.volume import Volume

Floats = NDArray[np.float64]


def consensus(masks: Sequence[Volume], share: float = 0.5) -> Volume:
    """The voxels that at least `share` of the readers marked.

    With the default a voxel counts when 2 of 4, 2 of 3 or 1 of 2 readers marked it.

    Args:
        masks: bool volumes on one grid, at least one.
        share: above 0 (with 1 / number of masks: the union) up to 1 (the intersection).

    Returns:
        A bool volume on the grid of the first mask; empty when the readers agree on no voxel.

    Raises:
        InputError: without masks, or when `share` is not in (0, 1].
        GridMismatchError: when a mask lies on another grid than the first.

    Example:
        >>> readers = [Volume.from_spacing(np.full((1, 1, 2), [n < 2, True]), (1, 1, 1)) for n in range(4)]
        >>> consensus(readers).voxels.tolist()
        [[[True, True]]]
    """
    if not 0 < share <= 1:
        raise InputError(f"The share of readers must be above 0 and at most 1; got {share}.")
    votes = _votes(masks)
    return masks[0].with_voxels(votes >= share * len(masks) - 1e-9)


def soft_reference(masks: Sequence[Volume]) -> Volume:
    """The share of readers that marked each voxel, float32 in [0, 1].

    Args:
        masks: bool volumes on one grid, at least one.

    Raises:
        InputError: without masks.
        GridMismatchError: when a mask lies on another grid than the first.
    """
    votes = _votes(masks)
    return masks[0].with_voxels((votes / np.float32(len(masks))).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Staple:
    """What STAPLE finds out about a structure and its readers.

    Attributes:
        probability: that a voxel belongs to the structure, float32 in [0, 1].
        mask: where that is at least one half, bool.
        sensitivity, specificity: of each reader, in the order given.
    """

    probability: Volume
    mask: Volume
    sensitivity: tuple[float, ...]
    specificity: tuple[float, ...]


#: Performance that every reader begins with, and the change of the last step.
_BEGIN, _SETTLED, _STEPS = 0.99999, 1e-10, 10_000


def staple(masks: Sequence[Volume]) -> Staple:
    """Simultaneous truth and performance level estimation (Warfield, Zou and Wells, IEEE TMI 23:903, 2004).

    Expectation maximisation with one prior for all voxels, the mean share of marked ones. Voxels with the same votes
    are equal to it, so it works on the at most 2^readers patterns of votes.

    Args:
        masks: bool volumes on one grid, one a reader, 2 to 16.

    Raises:
        InputError: for another number of masks.
        GridMismatchError: when a mask lies on another grid than the first.
    """
    if not 2 <= len(masks) <= 16:
        raise InputError(f"STAPLE takes the masks of 2 to 16 readers; got {len(masks)}.")
    code = np.zeros(masks[0].shape, dtype=np.uint16)
    for number, mask in enumerate(masks):
        masks[0].require_same_grid(mask, f"mask 1 and mask {number + 1} of the consensus")
        code |= mask.voxels.astype(np.uint16) << np.uint16(number)
    voxels = np.bincount(code.reshape(-1), minlength=1 << len(masks)).astype(np.float64)
    marked = (np.arange(voxels.size)[:, None] >> np.arange(len(masks)) & 1).astype(bool)
    truth, sensitivity, specificity = _maximise(voxels, marked)
    probability = truth.astype(np.float32)[code]
    volume = masks[0].with_voxels(probability)
    return Staple(volume, volume.with_voxels(probability >= 0.5), tuple(sensitivity), tuple(specificity))


def _maximise(voxels: Floats, marked: NDArray[np.bool_]) -> tuple[Floats, list[float], list[float]]:
    """Probability of each pattern of votes, and the readers' sensitivities and specificities.

    Args:
        voxels: number of voxels with each pattern, shape (patterns,).
        marked: who marked in it, shape (patterns, readers).
    """
    prior = float(voxels @ marked.mean(axis=1) / voxels.sum())
    p = q = np.full(marked.shape[1], _BEGIN)
    truth = np.zeros(voxels.size)
    for _ in range(_STEPS):
        inside = prior * np.where(marked, p, 1 - p).prod(axis=1)
        outside = (1 - prior) * np.where(marked, 1 - q, q).prod(axis=1)
        truth = inside / np.maximum(inside + outside, np.finfo(float).tiny)
        in_truth, off_truth = voxels * truth, voxels * (1 - truth)
        new_p = in_truth @ marked / max(in_truth.sum(), np.finfo(float).tiny)
        new_q = off_truth @ ~marked / max(off_truth.sum(), np.finfo(float).tiny)
        moved = max(np.abs(new_p - p).max(), np.abs(new_q - q).max())
        p, q = new_p, new_q
        if moved < _SETTLED:
            break
    return truth, p.tolist(), q.tolist()


def _votes(masks: Sequence[Volume]) -> NDArray[np.uint16]:
    if not masks:
        raise InputError("A consensus needs at least one mask.")
    votes = np.zeros(masks[0].shape, dtype=np.uint16)
    for number, mask in enumerate(masks, start=1):
        masks[0].require_same_grid(mask, f"mask 1 and mask {number} of the consensus")
        votes += mask.voxels.astype(bool, copy=False)
    return votes
