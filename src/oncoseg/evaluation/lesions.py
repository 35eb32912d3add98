"""Lesions: connected components of both masks and which of them belong together."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

#: A predicted lesion finds a reference lesion when their IoU reaches this.
MATCH_IOU = 0.5


@dataclass(frozen=True)
class LesionMatch:
    """How the lesions of two masks pair up.

    Attributes:
        references, predictions: number of lesions in each mask.
        ious: IoU of every matched pair, falling; their number is the true positives.
    """

    references: int
    predictions: int
    ious: tuple[float, ...]

    @property
    def found(self) -> int:
        """Matched pairs (true positives)."""
        return len(self.ious)


def match_lesions(reference: Mask, prediction: Mask) -> LesionMatch:
    """Pair lesions one to one, greedily by falling IoU; a pair counts from `MATCH_IOU`, inclusive.

    Lesions are 26-connected components (2D: 8-connected). Ties go to the lower labels, in C order.

    Args:
        reference: bool array with 2 or 3 axes.
        prediction: bool array of the same shape.
    """
    first, n_first = _label(reference)
    second, n_second = _label(prediction)
    both = reference & prediction
    pairs, overlap = np.unique(np.stack([first[both], second[both]], axis=1), axis=0, return_counts=True)
    union = np.bincount(first.ravel())[pairs[:, 0]] + np.bincount(second.ravel())[pairs[:, 1]] - overlap
    ious = overlap / union
    matched: list[float] = []
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    for row in np.lexsort((pairs[:, 1], pairs[:, 0], -ious)):
        a, b = int(pairs[row, 0]), int(pairs[row, 1])
        if ious[row] >= MATCH_IOU and a not in taken_first and b not in taken_second:
            matched.append(float(ious[row]))
            taken_first.add(a)
            taken_second.add(b)
    return LesionMatch(n_first, n_second, tuple(matched))


def _label(mask: Mask) -> tuple[NDArray[np.int64], int]:
    connectivity = 26 if mask.ndim == 3 else 8
    labels, count = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=connectivity, return_N=True)
    return labels.astype(np.int64), int(count)
