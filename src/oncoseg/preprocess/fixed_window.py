"""One crop window for a whole data set, found on its training cases.

GTV-MFIT of Yi et al., Quant Imaging Med Surg 2026;16(1):59 (doi 10.21037/qims-2025-370). The paper gives windows and no
rule; both of its windows are squares, one of 256 pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError


class Window(NamedTuple):
    """A half-open part of every slice, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    def mask(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """The window in a volume of (slices, rows, columns)."""
        inside = np.zeros(tuple(shape), bool)
        inside[:, self.top : self.bottom, self.left : self.right] = True
        return inside


class Found(NamedTuple):
    """A window and the (rows, columns) of the slices it was found on."""

    window: Window
    shape: tuple[int, int]


def union_window(masks: Iterable[tuple[str, NDArray[np.bool_]]], *, smallest: int = 256, margin: int = 0) -> Found:
    """The square round the tight boxes of all slices of all cases.

    Args:
        masks: name and axial mask (slices, rows, columns) of each training case; all of one in-plane shape.
        smallest: least side in pixels.
        margin: pixels added on every side of the union before it becomes a square.

    Returns:
        A square of side max(rows, columns of the union, `smallest`) about the middle of the union, moved to lie inside
        the slice; where the slice is smaller than the square, the slice ends it.

    Raises:
        InputError: when slices differ in shape from case to case, or no mask holds anything.
    """
    shape: tuple[int, int] | None = None
    first, low, high = "", np.full(2, np.iinfo(np.int64).max), np.full(2, -1)
    for name, mask in masks:
        rows, columns = mask.shape[1:]
        if shape is None:
            first, shape = name, (rows, columns)
        if shape != (rows, columns):
            raise InputError(
                f"Slices of {first} have {shape[0]} x {shape[1]} pixels, those of {name} {rows} x {columns}: a window "
                "in pixels does not fit both. Resample the data, or take the window of each patient's lungs."
            )
        for axis, line in enumerate((mask.any(axis=(0, 2)), mask.any(axis=(0, 1)))):
            held = np.flatnonzero(line)
            if held.size:
                low[axis], high[axis] = min(low[axis], held[0]), max(high[axis], held[-1] + 1)
    if shape is None or high[0] < 0:
        raise InputError("No training case holds tumour, so there is no window round it. Give one, or another split.")
    first_corner, last_corner = ([int(edge) for edge in side] for side in (low - margin, high + margin))
    return Found(square(first_corner, last_corner, shape, smallest=smallest), shape)


def square(low: Sequence[int], high: Sequence[int], shape: Sequence[int], *, smallest: int) -> Window:
    """The square about the middle of [low, high), (row, column), of at least `smallest` pixels, inside a slice."""
    longest = max(b - a for a, b in zip(low, high, strict=True))
    side = max(longest, smallest)
    starts = [(a + b - side) // 2 for a, b in zip(low, high, strict=True)]
    return inside(Window(starts[0], starts[1], starts[0] + side, starts[1] + side), shape)


def inside(window: Window, shape: Sequence[int]) -> Window:
    """A window moved to lie inside slices of (rows, columns), and cut off where it is larger than they are."""
    (top, rows), (left, columns) = (
        _moved(start, stop, size) for start, stop, size in zip(window[:2], window[2:], shape, strict=True)
    )
    return Window(top, left, top + rows, left + columns)


def following(window: Window, low: Sequence[float], high: Sequence[float], shape: Sequence[int]) -> Window:
    """A window moved as little as it takes to hold [low, high), (row, column); not where it is too short for them."""
    starts = []
    for axis in (0, 1):
        start, size = window[axis], window[axis + 2] - window[axis]
        if high[axis] - low[axis] <= size:
            start = min(max(start, int(np.ceil(high[axis])) - size), int(np.floor(low[axis])))
        starts.append(start)
    moved = Window(starts[0], starts[1], starts[0] + window.bottom - window.top, starts[1] + window.right - window.left)
    return inside(moved, shape)


def _moved(start: int, stop: int, size: int) -> tuple[int, int]:
    length = min(stop - start, size)
    return min(max(start, 0), size - length), length
