"""Resampling: the same patient on another grid, where a grid is what its affine says - voxel centres in mm.

Grids whose axes are parallel (any spacing, order or direction of axes) go through one small matrix an axis,
applied block by block with BLAS; all others through `scipy.ndimage`. Both compute the interpolating
B-spline of scipy with its `mode="mirror"` (Unser 1999, Splines: a perfect fit).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.errors import InputError
from oncoseg.preprocess.axis import Axis, interpolation, multiply_axis, nearest
from oncoseg.volume import Volume

Order = Literal[0, 1, 3]

#: Axes count as parallel, and positions as inside, up to this share of a voxel.
_TOLERANCE = 1e-3

#: A grid with more voxels is a mistyped spacing: 16 GiB as float32.
MAX_VOXELS = 1 << 32


def resample(
    volume: Volume, *, spacing: Sequence[float], order: Order = 3, antialias: bool = False, clip: bool = False
) -> Volume:
    """The volume at another spacing; axes, orientation and centre of the field of view stay.

    The new grid has `ceil(n * old / new)` voxels an axis, placed round the same centre: it covers the whole
    old field of view, no new voxel centre lies outside of it, and so the way back (`resample_like` onto the old
    volume) never extrapolates.

    Args:
        volume: image, labels, probability or mask.
        spacing: new voxel size in mm, array order (slice, row, column).
        order: 3 cubic B-spline, 1 linear, 0 nearest voxel.
        antialias: blur each axis that gets coarser beforehand (Gaussian, sigma = (new / old - 1) / 2 voxels).
        clip: limit the result to the range of the input; cubic splines overshoot at edges.

    Returns:
        float32 voxels; with order 0 those of the input's type. A bool mask stays one: voxels whose
        interpolated value exceeds 0.5 (order 0: the nearest voxel's).

    Raises:
        InputError: for a spacing that is not three positive numbers, an unknown order, or NaN voxels.
    """
    return resample_like(volume, grid_at(volume, spacing), order=order, antialias=antialias, clip=clip)


def resample_like(
    volume: Volume,
    grid: Volume,
    *,
    order: Order = 3,
    fill: float = 0.0,
    antialias: bool = False,
    clip: bool = False,
) -> Volume:
    """The volume on the grid of another one; values of `grid` do not matter.

    Args:
        volume: image, labels, probability or mask.
        grid: gives shape and affine of the result, exactly.
        order: 3 cubic B-spline, 1 linear, 0 nearest voxel.
        fill: value where `grid` leaves the field of view of `volume` (its voxels, not only their centres);
            give -1024 for CT.
        antialias: blur axes that get coarser beforehand; only between grids with parallel axes.
        clip: limit the result to the range of the input.

    Returns:
        As `resample`.

    Raises:
        InputError: as `resample`; or `antialias` between oblique grids.
    """
    if order not in (0, 1, 3):
        raise InputError(f"Interpolation order {order} is not offered. Choose 3 (cubic), 1 (linear) or 0 (nearest).")
    volume.require_finite("The volume to resample")
    if np.array_equal(volume.affine, grid.affine) and volume.shape == grid.shape:
        return grid.with_voxels(_as_result(volume.voxels, order))
    mask = volume.voxels.dtype == bool
    relation = _relation(volume, grid)
    if relation is None:
        if antialias:
            raise InputError("antialias needs parallel axes; blur the volume first, or resample without it.")
        voxels = _oblique(volume, grid, order=order, fill=fill)
    else:
        voxels = _separable(volume.voxels, relation, order=order, fill=fill, antialias=antialias)
    if mask and order:
        return grid.with_voxels(voxels > 0.5)
    if clip:
        low, high = volume.voxels.min(), volume.voxels.max()
        np.clip(voxels, min(low, fill), max(high, fill), out=voxels)
    return grid.with_voxels(voxels)


def restore_probability(probability: Volume, grid: Volume) -> Volume:
    """A probability made on a resampled or cropped grid, back on the scanner's grid.

    Returns:
        float32 in [0, 1] with exactly the shape and affine of `grid`, linear in between, 0 outside the field
        of view of `probability`.
    """
    restored = resample_like(probability, grid, order=1, fill=0.0)
    return restored.with_voxels(np.clip(restored.voxels, 0.0, 1.0))


def grid_at(volume: Volume, spacing: Sequence[float]) -> Volume:
    """The grid `resample` uses: an empty volume (one value, no memory) at another spacing.

    Raises:
        InputError: for a spacing that is not three positive numbers, or makes more than `MAX_VOXELS`.
    """
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise InputError(f"Spacing must be three positive numbers in mm; got {tuple(spacing)}.")
    old_shape = np.array(volume.shape)
    step = np.asarray(spacing, dtype=np.float64) / volume.spacing
    step[np.abs(step - 1) < 1e-6] = 1.0
    counts = np.maximum(1, np.ceil(old_shape / step - _TOLERANCE))
    if math.prod(counts.tolist()) > MAX_VOXELS:
        raise InputError(
            f"Spacing {tuple(spacing)} mm makes {' x '.join(f'{n:.4g}' for n in counts)} voxels, more than "
            f"{MAX_VOXELS:.1g}. Choose a larger spacing."
        )
    shape = counts.astype(int)
    affine = volume.affine.copy()
    affine[:3, :3] *= step
    first = (old_shape - 1) / 2 - (shape - 1) / 2 * step
    affine[:3, 3] = volume.index_to_mm(first)
    return Volume(np.broadcast_to(np.float32(0), tuple(shape)), affine)


def grid_of_shape(volume: Volume, shape: Sequence[int]) -> Volume:
    """An empty volume (one value, no memory) of so many voxels over the same field of view.

    Raises:
        InputError: for a shape that is not three positive numbers.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"Shape must be three positive whole numbers; got {tuple(shape)}.")
    step = np.array(volume.shape) / np.asarray(shape)
    affine = volume.affine.copy()
    affine[:3, :3] *= step
    affine[:3, 3] = volume.index_to_mm((step - 1) / 2)
    return Volume(np.broadcast_to(np.float32(0), tuple(shape)), affine)


class _Relation(NamedTuple):
    """How a grid's axes run through a volume with parallel ones: one entry an axis of the volume."""

    axes: tuple[Axis, ...]
    source_of: tuple[int, ...]  # axis of the volume that each axis of the grid runs along


def _relation(volume: Volume, grid: Volume) -> _Relation | None:
    """The relation of two grids with parallel axes, None for oblique ones."""
    turn = np.linalg.solve(volume.affine[:3, :3], grid.affine[:3, :3])
    start = volume.mm_to_index(grid.affine[:3, 3])
    main = np.argmax(np.abs(turn), axis=0)
    if len(set(main)) < 3:
        return None
    rest = turn.copy()
    rest[main, range(3)] = 0.0
    if (np.abs(rest) * (np.array(grid.shape) - 1)).sum(axis=1).max() > _TOLERANCE:
        return None
    axes: list[Axis] = []
    for axis in range(3):
        along = int(np.flatnonzero(main == axis)[0])
        axes.append(Axis(volume.shape[axis], grid.shape[along], float(start[axis]), float(turn[axis, along])))
    return _Relation(tuple(axes), tuple(int(a) for a in main))


def _separable(
    voxels: NDArray[Any], relation: _Relation, *, order: Order, fill: float, antialias: bool
) -> NDArray[Any]:
    axes = relation.axes
    if order == 0:
        result = voxels[np.ix_(*(nearest(a) for a in axes))]
    else:
        matrices = [interpolation(a, order, antialias=antialias) for a in axes]
        result = multiply_axis(voxels, matrices)
    outside = [~a.inside(_TOLERANCE) for a in axes]
    for axis, beyond in enumerate(outside):
        if beyond.any():
            index: list[Any] = [slice(None)] * 3
            index[axis] = beyond
            result[tuple(index)] = fill
    return np.ascontiguousarray(result.transpose(relation.source_of))


def _oblique(volume: Volume, grid: Volume, *, order: Order, fill: float) -> NDArray[Any]:
    to_index = np.linalg.solve(volume.affine, grid.affine)
    voxels = volume.voxels
    source = voxels if order == 0 and voxels.dtype != bool else voxels.astype(np.float32)
    result = np.empty(grid.shape, source.dtype)
    ndimage.affine_transform(source, to_index, order=order, mode="mirror", output=result, output_shape=grid.shape)
    rows, columns = np.meshgrid(*map(np.arange, grid.shape[1:]), indexing="ij")
    last = np.array(volume.shape) - 1
    for k in range(grid.shape[0]):
        index = np.stack([np.full_like(rows, k), rows, columns], axis=-1) @ to_index[:3, :3].T + to_index[:3, 3]
        beyond = ((index < -0.5 - _TOLERANCE) | (index > last + 0.5 + _TOLERANCE)).any(axis=-1)
        result[k][beyond] = fill
    return result.astype(bool) if voxels.dtype == bool and order == 0 else result


def _as_result(voxels: NDArray[Any], order: Order) -> NDArray[Any]:
    return voxels if order == 0 or voxels.dtype == bool else voxels.astype(np.float32, copy=False)
