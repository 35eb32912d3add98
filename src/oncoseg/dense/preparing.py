"""A case as a network sees it: axial, on the network's grid, grey values normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from oncoseg.case import TUMOUR, Case
from oncoseg.dense.options import DenseOptions
from oncoseg.inference.slices import axial_view
from oncoseg.preprocess.resample import Order, resample_like
from oncoseg.preprocess.window import window
from oncoseg.volume import Volume

T = TypeVar("T")
_ORDERS: dict[str, Order] = {"nearest": 0, "linear": 1, "cubic": 3}

_seen: WeakKeyDictionary[Case, dict[str, Any]] = WeakKeyDictionary()


def grey_on(image: Volume, grid: Volume, options: DenseOptions) -> Volume:
    """The image on a grid, windowed and normalised, float32."""
    order = _ORDERS[options.interpolation]
    moved = image if image.same_grid(grid) else resample_like(image, grid, order=order, antialias=order > 0, clip=True)
    return grid.with_voxels(normalised(moved.voxels, options))


def normalised(voxels: NDArray[Any], options: DenseOptions) -> NDArray[np.float32]:
    """HU as the network wants them: window to [0, 1], grey levels, z-score; an even image becomes 0 by z-score."""
    grey = window(voxels, *options.window)
    inside = grey[grey > 0] if options.normalise == "zscore_nonzero" else grey
    if options.levels:
        grey = np.floor(grey * options.levels)
    if options.normalise == "none":
        return grey
    mean, deviation = (float(inside.mean()), float(inside.std())) if inside.size else (0.0, 0.0)
    return (grey - np.float32(mean)) / np.float32(max(deviation, 1e-8))


def axial(case: Case) -> Case:
    """The case turned to the axial display order; nothing is resampled."""
    masks = {name: axial_view(mask).volume for name, mask in case.masks.items()}
    return Case(case.name, case.patient, axial_view(case.image).volume, masks, case.facts, case.notes)


def prepared(case: Case, grid: Volume, options: DenseOptions) -> Case:
    """An axial case on the grid of the network, with the masks that the options name.

    Raises:
        UnknownNameError: when the case lacks one of them.
    """
    masks = {name: case.mask(name) for name in options.classes}
    moved = {name: mask_on(mask, grid) for name, mask in masks.items()}
    return Case(case.name, case.patient, grey_on(case.image, grid, options), moved, case.facts, case.notes)


def class_map(case: Case, options: DenseOptions) -> NDArray[np.uint8]:
    """Class of every voxel, 0 being the background; where masks overlap the later class counts."""
    classes = np.zeros(case.image.shape, np.uint8)
    for number, name in enumerate(options.classes, start=1):
        classes[case.mask(name).voxels] = number
    return classes


def tumour_voxels(case: Case) -> NDArray[np.intp]:
    """Indices (n, 3) of the tumour's voxels; found once for every case that is kept."""
    return kept(case, "tumour", lambda: np.argwhere(case.mask(TUMOUR).voxels))


def labelled_slices(case: Case, options: DenseOptions) -> NDArray[np.intp]:
    """Slices that hold any class; found once for every case that is kept."""

    def find() -> NDArray[np.intp]:
        held = [case.mask(name).voxels.any(axis=(1, 2)) for name in options.classes]
        return np.flatnonzero(np.any(held, axis=0))

    return kept(case, "slices", find)


def lowest(case: Case) -> float:
    """Lowest grey value of a case, which lies round it where patches leave the image; found once."""
    return float(kept(case, "lowest", lambda: case.image.voxels.min()))


def patch_corner(
    shape: Sequence[int], patch: Sequence[int], target: NDArray[np.intp] | None, share: NDArray[np.float64]
) -> list[int]:
    """Where a patch begins: anywhere in the image, but round a target where there is one.

    Args:
        shape: of the image.
        patch: its size, axis by axis.
        target: index of a voxel that the patch must hold; None for any place.
        share: in [0, 1) for each axis, where among the places that are left.

    Returns:
        Index of the first voxel; negative along an axis on which the image is smaller than the patch, in whose
        middle it then lies.
    """
    place = []
    for axis, (size, wanted) in enumerate(zip(shape, patch, strict=True)):
        low, high = 0, size - wanted
        if target is not None:
            low, high = max(low, int(target[axis]) - wanted + 1), min(high, int(target[axis]))
        place.append(low + int(share[axis] * (high - low + 1)) if size > wanted else (size - wanted) // 2)
    return place


def kept(case: Case, what: str, find: Callable[[], T]) -> T:
    """What was found about a case, as long as the case lives."""
    known = _seen.setdefault(case, {})
    if what not in known:
        known[what] = find()
    found: T = known[what]
    return found


def mask_on(mask: Volume, grid: Volume) -> Volume:
    """A mask on a grid, nearest voxels."""
    return mask if mask.same_grid(grid) else resample_like(mask, grid, order=0)
