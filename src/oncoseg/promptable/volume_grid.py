"""Volumes as networks prompted in 3D want to see them: in canonical orientation, cubic voxels, in cubes; and back."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oncoseg.inference.slices import axial_view
from oncoseg.preprocess.lungs import lungs
from oncoseg.preprocess.resample import grid_at, resample_like, restore_probability
from oncoseg.prompt import Box, Index, tight_box
from oncoseg.promptable.volume_options import VolumeOptions
from oncoseg.volume import Volume

#: First voxel of a cube on the working grid; it may lie outside of the image.
Start = tuple[int, int, int]


def canonical(image: Volume) -> Volume:
    """The same voxels with axes that run to the patient's right, front and head, as nearly as the stored axes allow.

    That is the order of nibabel's and torchio's canonical orientation (RAS+), which released weights know. A view on
    the stored voxels; nothing is resampled.
    """
    view = axial_view(image).volume
    _, rows, columns = view.shape
    affine = np.eye(4)
    affine[:3, :3] = view.affine[:3, [2, 1, 0]] * (-1, -1, 1)
    affine[:3, 3] = view.index_to_mm((0, rows - 1, columns - 1))
    return Volume(view.voxels.transpose(2, 1, 0)[::-1, ::-1], affine)


def working_grid(volume: Volume, spacing_mm: float) -> Volume:
    """The grid that cubes are cut from, over the field of view of a volume; its values do not matter."""
    return grid_at(volume, (spacing_mm,) * 3) if spacing_mm else volume


def clamped(voxels: NDArray[np.float32], clamp: tuple[float, float] | Literal["none"]) -> NDArray[np.float32]:
    """Values within the limits; `none` changes nothing."""
    return voxels if isinstance(clamp, str) else np.clip(voxels, *clamp)


def standardised(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Voxels minus the mean of those above 0, over their standard deviation (SAM-Med3D, `utils/data_loader.py`).

    Where no voxel is above 0 all count, and where they do not vary they are not divided.
    """
    counted = voxels[voxels > 0]
    if counted.size < 2:
        counted = voxels.ravel()
    mean, deviation = counted.mean(dtype=np.float64), counted.std(dtype=np.float64, ddof=1)
    result: NDArray[np.float32] = (voxels - mean) / (deviation if deviation > 1e-6 else 1.0)
    return result.astype(np.float32, copy=False)


class WorkingGrid:
    """One image on the grid that cubes are cut from. Only the cubes that are looked at are resampled.

    Args:
        image: as stored.
        options: spacing, limits and side of the cubes.
    """

    def __init__(self, image: Volume, options: VolumeOptions) -> None:
        self.image, self.side = image, options.image_size
        self._options = options
        self._volume = canonical(image)
        self.grid = working_grid(self._volume, options.spacing_mm)

    def voxel(self, index: Index) -> Index:
        """The voxel of the working grid that is nearest to one of the image."""
        place = self.grid.mm_to_index(self.image.index_to_mm(index))
        # Halves go the same way however the image is stored, whose affine differs in the last digits.
        return _triple(np.clip(np.rint(np.round(place, 6)), 0, np.array(self.grid.shape) - 1))

    def round(self, centre: Index) -> Start:
        """The cube whose middle is a voxel; along axes that it holds whole, the image's own middle.

        So a click beside the middle of an image that fits into a cube does not push a part of it out.
        """
        fits = np.array(self.grid.shape) <= self.side
        return _triple(np.where(fits, self.middle, centre) - self.side // 2)

    @property
    def middle(self) -> Index:
        """The voxel in the middle of the image."""
        return _triple(np.array(self.grid.shape) // 2)

    def middle_of_lung(self, voxel: Index) -> Index | None:
        """The middle of the box round the lung that is nearest to a voxel; None without lungs."""

        def gap(box: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
            low, high = box
            return float(np.linalg.norm(np.maximum(0, np.maximum(low - voxel, voxel - high))))

        if not self._lungs:
            return None
        return _middle(min(self._lungs, key=gap))

    @property
    def middles_of_lungs(self) -> list[Index]:
        """The middle of the box round each lung; empty without lungs."""
        return [_middle(box) for box in self._lungs]

    def covering(self) -> list[Start]:
        """As few cubes as cover the image, evenly spaced along each axis, those nearest to its middle first."""
        axes = []
        for size in self.grid.shape:
            count = -(-size // self.side)
            last = size - self.side
            axes.append([last // 2] if count == 1 else np.rint(np.linspace(0, last, count)).astype(int).tolist())
        cubes = [_triple(np.array(start)) for start in product(*axes)]
        middle = np.array(self.round(self.middle))
        return sorted(cubes, key=lambda start: float(np.linalg.norm(start - middle)))

    def holds(self, start: Start, voxel: Index) -> bool:
        """Whether a voxel lies in a cube."""
        return all(first <= v < first + self.side for first, v in zip(start, voxel, strict=True))

    def cube(self, start: Start) -> Volume:
        """An empty cube (one value, no memory) in its place of the patient."""
        affine = self.grid.affine.copy()
        affine[:3, 3] = self.grid.index_to_mm(start)
        return Volume(np.broadcast_to(np.float32(0), (self.side,) * 3), affine)

    def shown(self, start: Start) -> NDArray[np.float32]:
        """A cube as the network sees it: linear between voxels, 0 outside of the image, then standardised."""
        cut = resample_like(self._volume, self.cube(start), order=1, fill=0.0)
        return standardised(clamped(cut.voxels, self._options.clamp))

    def paint(self, target: NDArray[np.float32], start: Start, probability: NDArray[np.float32]) -> None:
        """Put the probability of a cube into an array on the grid of the image, where it is larger."""
        cube = self.cube(start)
        ends = np.stack(np.meshgrid(*[(-0.5, self.side - 0.5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        places = self.image.mm_to_index(cube.index_to_mm(ends))
        low = np.clip(np.floor(places.min(axis=0)).astype(int), 0, self.image.shape)
        high = np.clip(np.ceil(places.max(axis=0)).astype(int) + 1, 0, self.image.shape)
        if (low >= high).any():
            return
        part = self.image.crop(low.tolist(), high.tolist())
        inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        restored = restore_probability(cube.with_voxels(probability), part).voxels
        np.maximum(target[inside], restored, out=target[inside])

    @cached_property
    def _lungs(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """First and last voxel of the boxes round the lungs, on the working grid."""
        found = lungs(self.image)
        boxes = (tight_box(mask) for mask in (found.right, found.left))
        return [self._ends(box) for box in boxes if box is not None]

    def _ends(self, box: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        corners = np.stack(np.meshgrid(*zip(box.start, np.array(box.stop) - 1, strict=True), indexing="ij"), axis=-1)
        places = self.grid.mm_to_index(self.image.index_to_mm(corners.reshape(-1, 3)))
        return places.min(axis=0), places.max(axis=0)


def _middle(box: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Index:
    low, high = box
    return _triple(np.rint(np.round((low + high) / 2, 6)))


def _triple(values: NDArray[np.generic]) -> Index:
    first, second, third = (int(v) for v in values)
    return first, second, third
