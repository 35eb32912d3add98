"""Shapes drawn in voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def inscribed(shape: Sequence[int]) -> NDArray[np.bool_]:
    """The ellipsoid that touches every face of a box of `shape` voxels, as a mask of that shape.

    A voxel belongs to it when its centre does. Along an axis of one voxel the centre is the middle,
    so a box of one slice holds an ellipse; one voxel alone is True.
    """
    squared = np.zeros(tuple(shape))
    for axis, size in enumerate(shape):
        offset = (np.arange(size) + 0.5) / (size / 2) - 1
        squared += np.expand_dims(offset**2, tuple(a for a in range(len(shape)) if a != axis))
    inside: NDArray[np.bool_] = squared <= 1
    return inside
