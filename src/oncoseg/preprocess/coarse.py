"""A coarse grid along the patient's axes, and morphology in millimetres on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.preprocess.resample import resample_like
from oncoseg.volume import Volume

Mask = NDArray[np.bool_]

#: Edge of a coarse voxel in mm; slivers of lung beside the diaphragm are about twice as thick.
GRID_MM = 2.5
#: Volume of a coarse voxel in mL, area of one in an axial slice in cm^2.
VOXEL_ML = GRID_MM**3 / 1000
PIXEL_CM2 = GRID_MM**2 / 100


def coarse_copy(image: Volume, fill: float) -> Volume:
    """The image at `GRID_MM`, float32: slices to the head, rows to the back, columns to the patient's left.

    Args:
        image: in any stored order of axes, also oblique.
        fill: value where the upright grid leaves the image.
    """
    reach = image.index_to_mm(corners(image))
    low, high = reach.min(axis=0), reach.max(axis=0)
    counts = np.ceil((high - low) / GRID_MM - 1e-6).astype(int) + 1
    first = (low + high) / 2 - (counts - 1) / 2 * GRID_MM
    grid = Volume.from_spacing(np.broadcast_to(np.float32(0), tuple(counts[::-1])), (GRID_MM,) * 3, tuple(first))
    return resample_like(image, grid, order=1, fill=fill)


def corners(volume: Volume) -> NDArray[np.intp]:
    """Voxel indices of the eight corners, (8, 3)."""
    return np.stack(np.meshgrid(*[(0, n - 1) for n in volume.shape], indexing="ij"), axis=-1).reshape(-1, 3)


def dilated(mask: Mask, radius_mm: float) -> Mask:
    """Every voxel within `radius_mm` of the mask; an empty one stays empty."""
    if not mask.any():
        return mask.copy()
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=GRID_MM) <= radius_mm)


def eroded(mask: Mask, radius_mm: float) -> Mask:
    """Voxels of the mask farther than `radius_mm` from all others; the border of the array does not count."""
    padded = np.pad(mask, 1, mode="edge")
    return np.asarray(ndimage.distance_transform_edt(padded, sampling=GRID_MM)[1:-1, 1:-1, 1:-1] > radius_mm)


def closed(mask: Mask, radius_mm: float) -> Mask:
    """Closing with a ball: gaps narrower than twice `radius_mm` belong to the result."""
    if not mask.any():
        return mask.copy()
    margin = int(radius_mm / GRID_MM) + 2
    window = bounding_box(mask)
    grown = dilated(np.pad(mask[window], margin), radius_mm)
    shrunk = ndimage.distance_transform_edt(grown, sampling=GRID_MM) > radius_mm
    result = mask.copy()
    result[window] |= shrunk[margin:-margin, margin:-margin, margin:-margin]
    return result


def opened_cube(mask: Mask, half_width: int) -> Mask:
    """Opening with a cube of `2 * half_width + 1` voxels; much faster than a ball."""
    return dilated_cube(~dilated_cube(~mask, half_width), half_width)


def dilated_cube(mask: Mask, half_width: int) -> Mask:
    """Dilation with a cube of `2 * half_width + 1` voxels."""
    result = mask
    for axis in range(3):
        wide = result.copy()
        for step in range(1, half_width + 1):
            if step < mask.shape[axis]:
                onto, source = [slice(None)] * 3, [slice(None)] * 3
                onto[axis], source[axis] = slice(step, None), slice(None, -step)
                wide[tuple(onto)] |= result[tuple(source)]
                wide[tuple(source)] |= result[tuple(onto)]
        result = wide
    return result


def without_small_holes(mask: Mask, area_cm2: float) -> Mask:
    """Holes filled: those closed in 3D, and per axial slice those of at most `area_cm2`."""
    window = bounding_box(mask)
    part = ndimage.binary_fill_holes(mask[window])
    for plane in part:
        holes = filled_plane(plane) & ~plane
        labels, count = ndimage.label(holes)
        if count:
            small = np.bincount(labels.ravel()) * PIXEL_CM2 <= area_cm2
            small[0] = False
            plane |= small[labels]
    result = mask.copy()
    result[window] |= part
    return result


def filled_plane(plane: Mask) -> Mask:
    """One slice with every hole filled that does not reach its border."""
    labels, count = ndimage.label(~plane)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    outside[0] = False
    return np.asarray(~outside[labels])


def bounding_box(mask: NDArray[Any], margin: int = 0) -> tuple[slice, slice, slice]:
    """Smallest window with the whole mask, `margin` voxels larger on each side; everything for an empty mask."""
    found = []
    for axis, size in enumerate(mask.shape):
        there = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = (there[0], there[-1]) if there.size else (0, size - 1)
        found.append(slice(max(0, int(first) - margin), min(size, int(last) + 1 + margin)))
    return found[0], found[1], found[2]
