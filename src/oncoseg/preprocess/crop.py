"""Crops of a chosen size that may reach beyond the volume, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.errors import InputError
from oncoseg.prompt import Box
from oncoseg.volume import Volume


def crop_or_pad(volume: Volume, start: Sequence[int], stop: Sequence[int], *, fill: float = 0.0) -> Volume:
    """The half-open box [start, stop) in its place of the patient, padded where it leaves the volume.

    Args:
        volume: image, mask or probability.
        start: first voxel (slice, row, column); may be negative.
        stop: one beyond the last voxel; may be beyond the volume.
        fill: value of voxels outside; give -1024 for CT.

    Returns:
        A copy of shape stop - start and the volume's type; all `fill` when the box misses the volume.

    Raises:
        InputError: when the box is empty.
    """
    first, last = np.asarray(start, dtype=int), np.asarray(stop, dtype=int)
    if (first >= last).any():
        raise InputError(f"Crop {tuple(start)} to {tuple(stop)} is empty: every stop must exceed its start.")
    voxels = np.full(tuple(last - first), fill, volume.voxels.dtype)
    low, high = np.clip(first, 0, volume.shape), np.clip(last, 0, volume.shape)
    if (low < high).all():
        inner = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
        voxels[inner] = volume.voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    affine = volume.affine.copy()
    affine[:3, 3] = volume.index_to_mm(first)
    return Volume(voxels, affine)


def crop_round(volume: Volume, centre: Sequence[int], size: Sequence[int], *, fill: float = 0.0) -> Volume:
    """A crop of `size` voxels whose voxel size // 2 is `centre`; padded with `fill`."""
    start = np.asarray(centre, dtype=int) - np.asarray(size, dtype=int) // 2
    return crop_or_pad(volume, start.tolist(), (start + np.asarray(size, dtype=int)).tolist(), fill=fill)


def crop_box(volume: Volume, box: Box, *, margin_mm: float = 0.0, fill: float | None = None) -> Volume:
    """A box and a margin round it.

    Args:
        volume: image, mask or probability.
        box: half-open voxel box.
        margin_mm: added on every side, rounded up to whole voxels.
        fill: value outside the volume; None cuts the crop off there instead.

    Raises:
        InputError: when the box lies outside the volume altogether and `fill` is None.
    """
    margin = np.ceil(margin_mm / np.asarray(volume.spacing) - 1e-9).astype(int)
    start, stop = np.asarray(box.start) - margin, np.asarray(box.stop) + margin
    if fill is None:
        start, stop = np.maximum(start, 0), np.minimum(stop, volume.shape)
        if (start >= stop).any():
            box.require_inside(volume)
    return crop_or_pad(volume, start.tolist(), stop.tolist(), fill=fill or 0.0)


def paste(crop: Volume, grid: Volume, *, fill: float = 0.0) -> Volume:
    """The crop back on the grid it was taken from; voxels beyond the grid are dropped, others are `fill`.

    Raises:
        InputError: when the crop's voxels do not coincide with voxels of the grid.
    """
    start = grid.mm_to_index(crop.affine[:3, 3])
    first = np.rint(start).astype(int)
    moved = grid.affine.copy()
    moved[:3, 3] = grid.index_to_mm(first)
    if not Volume(crop.voxels, moved).same_grid(crop):
        raise InputError(
            "The crop does not lie on the voxels of the grid (other spacing, axes or a shift of part of a voxel). "
            "Use resample_like to bring it there."
        )
    voxels = np.full(grid.shape, fill, crop.voxels.dtype)
    low, high = np.clip(first, 0, grid.shape), np.clip(first + crop.shape, 0, grid.shape)
    if (low < high).all():
        inner = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
        voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = crop.voxels[inner]
    return grid.with_voxels(voxels)
