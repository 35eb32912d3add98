"""Volumes as a 2D model wants to see them: axial slices, the patient's front up and right side left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from oncoseg.prompt import Box, Click, Index, MaskPrompt, Prompt, Scribble
from oncoseg.volume import Volume

T = TypeVar("T", bound=np.generic)

#: LPS component (x, y, z = 0, 1, 2) that the axes slice, row, column of an axial volume run along.
_AXIAL = (2, 1, 0)


@dataclass(frozen=True, eq=False)
class AxialView:
    """A volume turned to the axial display order, and the way back.

    Attributes:
        volume: slices run to the head, rows to the back, columns to the patient's left, as nearly
            as an order of the stored axes allows; a view on the stored voxels, nothing is resampled.
        axes: which stored axis became slice, row and column.
        flipped: whether it runs the other way.
    """

    volume: Volume
    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def box(self, box: Box) -> Box:
        """A box on the stored grid as the same voxels of `volume`."""
        start, stop = [], []
        for axis, flip, size in zip(self.axes, self.flipped, self.volume.shape, strict=True):
            a, b = box.start[axis], box.stop[axis]
            start.append(size - b if flip else a)
            stop.append(size - a if flip else b)
        return replace(box, start=_index(start), stop=_index(stop))

    def index(self, index: Index) -> Index:
        """A voxel on the stored grid as the same voxel of `volume`."""
        ends = zip(self.axes, self.flipped, self.volume.shape, strict=True)
        return _index([size - 1 - index[axis] if flip else index[axis] for axis, flip, size in ends])

    def prompt(self, prompt: Prompt) -> Prompt:
        """A prompt on the stored grid as the same voxels of `volume`."""
        match prompt:
            case Box():
                return self.box(prompt)
            case Click():
                return replace(prompt, index=self.index(prompt.index))
            case Scribble():
                return replace(prompt, indices=tuple(self.index(i) for i in prompt.indices))
            case MaskPrompt():
                return replace(prompt, mask=Volume(self.turned(prompt.mask.voxels), self.volume.affine))

    def turned(self, voxels: NDArray[T]) -> NDArray[T]:
        """An array in the stored order as a view in the order of `volume`; writing to it writes to the array."""
        return voxels.transpose(self.axes)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def restore(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """An array on the grid of `volume` in the stored order."""
        turned = voxels[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]
        return np.ascontiguousarray(turned.transpose(np.argsort(self.axes)))


def axial_view(image: Volume) -> AxialView:
    """Turn a volume so that its slices are axial and look like every other patient's.

    2D networks were trained on axial slices in display orientation. Files store slices in either
    direction, rows and columns mirrored, or other axes first; each stored axis is given to the
    patient axis it is nearest to. A slab acquired along another direction is cut along the axial
    plane all the same, where its voxels may be long.
    """
    directions = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    _, axes = linear_sum_assignment(-np.abs(directions[list(_AXIAL)]))
    flipped = [bool(directions[component, axis] < 0) for component, axis in zip(_AXIAL, axes, strict=True)]
    voxels = image.voxels.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    affine = np.eye(4)
    affine[:3, :3] = image.affine[:3, axes] * np.where(flipped, -1, 1)
    first = np.zeros(3)
    first[axes] = np.where(flipped, np.array(image.shape)[axes] - 1, 0)
    affine[:3, 3] = image.index_to_mm(first)
    return AxialView(Volume(voxels, affine), _index(axes), (flipped[0], flipped[1], flipped[2]))


def _index(values: Any) -> Index:
    slices, rows, columns = (int(v) for v in values)
    return slices, rows, columns
