"""What several readers agree on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.errors import InputError
from oncoseg.volume import Volume


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
    if not masks:
        raise InputError("A consensus needs at least one mask.")
    if not 0 < share <= 1:
        raise InputError(f"The share of readers must be above 0 and at most 1; got {share}.")
    votes = np.zeros(masks[0].shape, dtype=np.uint16)
    for number, mask in enumerate(masks, start=1):
        masks[0].require_same_grid(mask, f"mask 1 and mask {number} of the consensus")
        votes += mask.voxels.astype(bool, copy=False)
    return masks[0].with_voxels(votes >= share * len(masks) - 1e-9)
