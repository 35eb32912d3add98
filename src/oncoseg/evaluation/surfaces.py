"""Borders, surface elements and nearest distances of masks on any grid, orthogonal or sheared."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncoseg.evaluation.marching import contour_lengths, triangle_areas

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Points = NDArray[np.int64]

#: Relative slack of "within a distance": 3 voxels of 0.8 mm are within 2.4 mm although 3 * 0.8 > 2.4 in floats.
ROUNDING = 1e-9


class Surface(NamedTuple):
    """Elements of a surface: grid positions (n, axes), half a voxel before their centre, and areas (n)."""

    points: Points
    areas: Floats


def border_points(mask: Mask) -> Points:
    """Foreground voxels with a face neighbour in the background.

    Args:
        mask: bool array whose outermost layer is background.

    Returns:
        Indices, shape (n, axes), in C order.
    """
    inside = mask.copy()
    for axis in range(mask.ndim):
        ahead = [slice(None)] * mask.ndim
        behind = [slice(None)] * mask.ndim
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        inside[tuple(behind)] &= mask[tuple(ahead)]
        inside[tuple(ahead)] &= mask[tuple(behind)]
    return np.argwhere(mask & ~inside)


def surface_elements(mask: Mask, axes: Floats) -> Surface:
    """One element for each 2x2x2 (2D: 2x2) neighbourhood that holds both classes.

    Args:
        mask: bool array with 2 or 3 axes whose outermost layer is background.
        axes: square matrix whose columns are the steps of the array axes in mm.

    Returns:
        Positions on the grid shifted by half a voxel, and areas in mm^2 (2D: lengths in mm).
    """
    corners = list(product((0, 1), repeat=mask.ndim))
    small = mask.view(np.uint8)
    code = np.zeros(tuple(n - 1 for n in mask.shape), dtype=np.uint8)
    for bit, corner in enumerate(corners):
        code |= small[tuple(slice(c, n - 1 + c) for c, n in zip(corner, mask.shape, strict=True))] << np.uint8(bit)
    full = (1 << len(corners)) - 1
    points = np.argwhere((code != 0) & (code != full))
    table = _table(mask.ndim, axes.tobytes())
    return Surface(points, table[code[tuple(points.T)]])


@lru_cache(maxsize=64)
def _table(dimensions: int, axes: bytes) -> Floats:
    matrix = np.frombuffer(axes, dtype=np.float64).reshape(dimensions, dimensions)
    return contour_lengths(matrix) if dimensions == 2 else triangle_areas(matrix)


def nearest_mm(points: Points, others: Points, *, axes: Floats) -> Floats:
    """Distance in mm from each of `points` to the nearest of `others`.

    Args:
        points: grid positions (n, axes), n > 0.
        others: grid positions (m, axes), m > 0.
        axes: square matrix whose columns are the steps of the array axes in mm.

    Returns:
        Float64 array (n); the length of an exact difference of indices, so that a distance of k voxels is
        k times the spacing to the last bit.
    """
    low, high = np.minimum(points.min(axis=0), others.min(axis=0)), np.maximum(points.max(axis=0), others.max(axis=0))
    shape = tuple(int(n) for n in high - low + 1)
    occupied = np.zeros(shape, dtype=bool)
    occupied[tuple((others - low).T)] = True
    distances = np.zeros(len(points))
    # A voxel that both surfaces share is at distance 0; good predictions share most.
    apart = np.flatnonzero(~occupied[tuple((points - low).T)])
    if apart.size:
        far = points[apart]
        orthogonal = not np.any(axes - np.diag(np.diag(axes)))
        dense = len(apart) + len(others) > occupied.size // DENSE
        steps = (
            _by_transform(far - low, occupied, np.diag(axes)) if orthogonal and dense else _by_tree(far, others, axes)
        )
        distances[apart] = np.sqrt(((steps @ axes.T) ** 2).sum(axis=1))
    return distances


#: Surfaces that fill more than 1 / DENSE of their box are measured by a distance transform, whose time
#: does not depend on their size; thinner ones are found faster in a tree. Both are exact.
DENSE = 2


def _by_tree(points: Points, others: Points, axes: Floats) -> Points:
    # scipy takes most of this package's import time; counts alone do not need it.
    from scipy.spatial import cKDTree

    tree = cKDTree(others @ axes.T, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(points @ axes.T)
    steps: Points = points - others[nearest]
    return steps


def _by_transform(points: Points, occupied: Mask, spacing: Floats) -> Points:
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~occupied, sampling=spacing, return_distances=False, return_indices=True)
    steps: Points = points - nearest[(slice(None), *points.T)].T
    return steps


#: Above this many writes a distance transform is quicker than a ball round every point.
_MANY_WRITES = 50_000_000


def near_points(points: Points, shape: tuple[int, ...], *, radius_mm: float, axes: Floats) -> Mask:
    """Which voxels lie within a distance of the nearest of some points.

    Args:
        points: indices (n, axes) inside the array.
        shape: of the array.
        radius_mm: a distance equal to it counts as near.
        axes: square matrix whose columns are the steps of the array axes in mm.

    Returns:
        Bool array of `shape`; all False without points.
    """
    # The distance of the voxel planes along an axis says how far a ball reaches along it.
    reach = [int(radius_mm * (1 + ROUNDING) * np.linalg.norm(row)) for row in np.linalg.inv(axes)]
    offsets = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1)
    offsets = offsets.reshape(-1, len(axes))
    offsets = offsets[((offsets @ axes.T) ** 2).sum(axis=1) <= (radius_mm * (1 + ROUNDING)) ** 2]
    if len(offsets) * len(points) > _MANY_WRITES and not np.any(axes - np.diag(np.diag(axes))):
        return _near_by_transform(points, shape, radius_mm=radius_mm, axes=axes)
    padded = tuple(n + 2 * r for n, r in zip(shape, reach, strict=True))
    near = np.zeros(padded, dtype=bool)
    flat, places = near.reshape(-1), np.ravel_multi_index(tuple((points + reach).T), padded)
    strides = np.array([int(np.prod(padded[axis + 1 :])) for axis in range(len(shape))])
    for step in (offsets @ strides).tolist():
        flat[places + step] = True
    return near[tuple(slice(r, r + n) for r, n in zip(reach, shape, strict=True))]


def _near_by_transform(points: Points, shape: tuple[int, ...], *, radius_mm: float, axes: Floats) -> Mask:
    from scipy.ndimage import distance_transform_edt

    away = np.ones(shape, dtype=bool)
    away[tuple(points.T)] = False
    near: Mask = distance_transform_edt(away, sampling=np.diag(axes)) <= radius_mm * (1 + ROUNDING)
    return near


def outline(mask: Mask) -> Mask:
    """Voxels with one of four neighbours of their slice in the background.

    Args:
        mask: bool array with 2 or 3 axes whose outermost layer is background.
    """
    inside = mask.copy()
    for axis in (-2, -1):
        inside &= np.roll(mask, 1, axis=axis) & np.roll(mask, -1, axis=axis)
    return mask & ~inside


def near_in_slices(mask: Mask, *, radius_mm: float, axes: Floats) -> Mask:
    """Voxels within a distance of a mask's voxel of the same slice.

    Args:
        mask: bool array with 2 or 3 axes, the last two of a slice.
        radius_mm: a distance equal to it counts as near.
        axes: steps within a slice in mm, as columns of a square matrix.
    """
    if radius_mm == 0:
        return mask
    slices = mask.reshape(-1, *mask.shape[-2:])
    near = [near_points(np.argwhere(one), one.shape, radius_mm=radius_mm, axes=axes) for one in slices]
    return np.stack(near).reshape(mask.shape)
