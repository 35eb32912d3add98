"""Windows of HU: what a model or a person looks at, as numbers from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError


def window(voxels: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Clip to [low, high] and scale to [0, 1].

    Args:
        voxels: array of any shape, HU for CT.
        low: value that becomes 0.
        high: value that becomes 1.

    Returns:
        A new float32 array of the same shape; empty for an empty one.

    Raises:
        InputError: unless low < high and both are finite.

    Example:
        >>> window(np.array([-2000, -160, 40, 240]), -160, 240).tolist()
        [0.0, 0.0, 0.5, 1.0]
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(f"A window goes from a lower to a higher value; got {low} to {high}.")
    scaled: NDArray[np.float32] = np.clip(voxels, low, high).astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    return scaled


def window_level(voxels: NDArray[Any], width: float, level: float) -> NDArray[np.float32]:
    """`window` in a radiologist's terms: `width` HU round `level`, e.g. 1500 and -600 for the lung.

    Raises:
        InputError: unless the width is positive.
    """
    return window(voxels, level - width / 2, level + width / 2)
