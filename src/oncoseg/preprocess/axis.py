"""One axis at a time: interpolation as a small banded matrix, applied with BLAS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Smaller weights are dropped: 1e-9 of 4000 HU is far below float32, and denormal numbers are slow to multiply.
_NEGLIGIBLE = 1e-9
#: Output positions computed by one matrix product.
_BLOCK = 32
#: Multiply-adds of one product. Below OpenBLAS's threshold for threads: waking a second thread for a product of
#: microseconds costs milliseconds on a busy machine, and the products stay in the processor's cache.
_PRODUCT = 1 << 18
#: Voxels of one piece when the slice axis is interpolated.
_PIECE = 1 << 15


@dataclass(frozen=True)
class Axis:
    """New voxel centres along one axis, in the index of the old ones.

    Attributes:
        old, new: number of voxels.
        start: position of the first new voxel.
        step: distance of new voxels; negative when the axis is turned round.
    """

    old: int
    new: int
    start: float
    step: float

    @property
    def positions(self) -> NDArray[np.float64]:
        """Position of every new voxel; whole numbers where they are meant to be."""
        positions = self.start + self.step * np.arange(self.new)
        whole = np.rint(positions)
        return np.where(np.abs(positions - whole) < 1e-7, whole, positions)

    def inside(self, tolerance: float) -> NDArray[np.bool_]:
        """Which new voxels have their centre inside the old field of view."""
        positions = self.positions
        return (positions >= -0.5 - tolerance) & (positions <= self.old - 0.5 + tolerance)


def nearest(axis: Axis) -> NDArray[np.intp]:
    """Index of the old voxel nearest to each new one; halves go up, the ends repeat."""
    return np.clip(np.floor(axis.positions + 0.5), 0, axis.old - 1).astype(np.intp)


def interpolation(axis: Axis, order: int, *, antialias: bool = False) -> NDArray[np.float64] | None:
    """Matrix (new, old) that interpolates one axis; None when nothing changes.

    Args:
        axis: old and new voxels.
        order: 3 cubic B-spline through the values, 1 linear; both mirror at the outermost centres.
        antialias: blur with a Gaussian of sigma (step - 1) / 2 old voxels first when the step exceeds 1.
    """
    positions = axis.positions
    if axis.old == axis.new and np.array_equal(positions, np.arange(axis.old)):
        return None
    base = np.floor(positions).astype(int)
    rest = positions - base
    if order == 3:
        offsets = np.arange(-1, 3)
        weights = [(1 - rest) ** 3 / 6, 2 / 3 - rest**2 * (2 - rest) / 2]
        weights += [2 / 3 - (1 - rest) ** 2 * (1 + rest) / 2, rest**3 / 6]
    else:
        offsets = np.arange(2)
        weights = [1 - rest, rest]
    matrix = np.zeros((axis.new, axis.old))
    rows = np.arange(axis.new)
    for offset, weight in zip(offsets, weights, strict=True):
        np.add.at(matrix, (rows, _mirror(base + offset, axis.old)), weight)
    if order == 3 and axis.old > 1:
        matrix = matrix @ ndimage.spline_filter1d(np.eye(axis.old), order=3, axis=0, mode="mirror")
    if antialias and abs(axis.step) > 1:
        matrix = matrix @ gaussian(axis.old, (abs(axis.step) - 1) / 2)
    return matrix


def gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    """Matrix (size, size) that blurs one axis with a Gaussian of `sigma` voxels, mirrored at the ends."""
    return np.asarray(ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="mirror"))


def multiply_axis(voxels: NDArray[Any], matrices: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float32]:
    """Apply one (new, old) matrix an axis to a 3D array; None leaves an axis alone.

    Returns:
        A new float32 array. Rows and columns are done slice by slice, so that a slice stays in cache.
    """
    slices, rows, columns = voxels.shape
    by_slice, by_row, by_column = matrices
    # Fewer slices first, when they get fewer; more slices last, when they get more.
    shrink = by_slice is not None and by_slice.shape[0] < slices
    if shrink and by_slice is not None:
        voxels = _along_slices(voxels, by_slice)
    row_bands, column_bands = _bands(by_row), _bands(by_column)
    shape = (len(voxels), rows if by_row is None else len(by_row), columns if by_column is None else len(by_column))
    result = np.empty(shape, np.float32)
    between = np.empty((rows, shape[2]), np.float32)
    for source, target in zip(voxels, result, strict=True):
        plane = source.astype(np.float32, copy=False)
        if column_bands:
            part = between if row_bands else target
            _multiply_right(plane, part, column_bands)
            plane = part
        if row_bands:
            _multiply_left(plane, target, row_bands)
        elif not column_bands:
            target[...] = plane
    return result if shrink or by_slice is None else _along_slices(result, by_slice)


_Band = tuple[int, int, int, NDArray[np.float32]]


def _bands(matrix: NDArray[np.float64] | None) -> list[_Band]:
    """The matrix as dense blocks: (first row, last row, first column, weights)."""
    if matrix is None:
        return []
    kept = np.where(np.abs(matrix) > _NEGLIGIBLE, matrix, 0.0).astype(np.float32)
    bands: list[_Band] = []
    for start in range(0, len(kept), _BLOCK):
        block = kept[start : start + _BLOCK]
        used = np.flatnonzero(block.any(axis=0))
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
        bands.append((start, start + len(block), first, np.ascontiguousarray(block[:, first:last])))
    return bands


def _multiply_left(source: NDArray[np.float32], target: NDArray[np.float32], bands: list[_Band]) -> None:
    """Write matrix @ source to target, in products small enough for one thread."""
    for start, stop, first, weights in bands:
        inputs = source[first : first + weights.shape[1]]
        width = max(8, _PRODUCT // weights.size)
        for left in range(0, inputs.shape[1], width):
            np.matmul(weights, inputs[:, left : left + width], out=target[start:stop, left : left + width])


def _multiply_right(source: NDArray[np.float32], target: NDArray[np.float32], bands: list[_Band]) -> None:
    """Write source @ matrix.T to target, in products small enough for one thread."""
    for start, stop, first, weights in bands:
        inputs = source[:, first : first + weights.shape[1]]
        turned = np.ascontiguousarray(weights.T)
        height = max(8, _PRODUCT // weights.size)
        for top in range(0, len(inputs), height):
            np.matmul(inputs[top : top + height], turned, out=target[top : top + height, start:stop])


def _along_slices(voxels: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    flat = voxels.reshape(len(voxels), -1)
    result = np.empty((len(matrix), flat.shape[1]), np.float32)
    bands = _bands(matrix)
    for left in range(0, flat.shape[1], _PIECE):
        piece = flat[:, left : left + _PIECE].astype(np.float32, copy=False)
        _multiply_left(piece, result[:, left : left + _PIECE], bands)
    return result.reshape(len(matrix), *voxels.shape[1:])


def _mirror(index: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    """Fold any index into [0, size) by mirroring at the outermost centres: d c b | a b c d | c b a."""
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    folded = np.abs(index) % period
    return np.asarray(np.minimum(folded, period - folded))
