"""Filling of closed polygons on a pixel grid by the even-odd rule, tested at pixel centres."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Patch(NamedTuple):
    """A filled rectangle of a larger image: its first row and column, and which pixels are inside."""

    row: int
    column: int
    inside: NDArray[np.bool_]


def fill(points: NDArray[np.float64], shape: tuple[int, int]) -> Patch:
    """The pixels whose centres lie inside a polygon, by the even-odd rule.

    A centre exactly on an edge belongs to one of the two polygons that share the edge, never to both:
    rows count from an edge's upper end up to, but not at, its lower end, columns from the crossing on.
    Edges that are walked twice (keyholes) enclose nothing.

    Args:
        points: (n, 2) vertices (row, column) in pixel indices, closed implicitly.
        shape: rows and columns of the image; what lies outside is cut off.

    Returns:
        The part of the image that can be inside; without pixels when no centre is.
    """
    first = np.clip(np.ceil(points.min(axis=0)), 0, shape).astype(int)
    last = np.clip(np.floor(points.max(axis=0)) + 1, first, shape).astype(int)
    height, width = last - first
    edges = _crossing_edges(points, first[0], last[0])
    rows, columns = _crossings(edges, first[0], last[0])
    # Each crossing flips everything from its column on.
    flip_at = np.clip(np.ceil(columns).astype(int) - first[1], 0, width)
    flips = np.bincount((rows - first[0]) * (width + 1) + flip_at, minlength=height * (width + 1))
    parity = np.bitwise_xor.accumulate((flips & 1).astype(bool).reshape(height, width + 1), axis=1)
    return Patch(int(first[0]), int(first[1]), parity[:, :width])


def _crossing_edges(points: NDArray[np.float64], first: int, last: int) -> NDArray[np.float64]:
    """Edges (row0, column0, row1, column1) with row0 < row1 that touch rows first..last-1."""
    edges = np.hstack([points, np.roll(points, -1, axis=0)])
    upward = edges[:, 0] > edges[:, 2]
    # One direction for all: an edge walked back (keyhole) then crosses at bit-identical columns.
    edges[upward] = edges[upward][:, [2, 3, 0, 1]]
    rows_crossed = np.minimum(np.ceil(edges[:, 2]), last) - np.maximum(np.ceil(edges[:, 0]), first)
    crossing: NDArray[np.float64] = edges[rows_crossed > 0]
    return crossing


def _crossings(edges: NDArray[np.float64], first: int, last: int) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Row and column of every place where an edge crosses a row of pixel centres."""
    top = np.maximum(np.ceil(edges[:, 0]), first).astype(int)
    bottom = np.minimum(np.ceil(edges[:, 2]), last).astype(int)
    counts = bottom - top
    edge = np.repeat(np.arange(len(edges)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + top[edge]
    row0, column0, row1, column1 = edges[edge].T
    return rows, column0 + (rows - row0) * (column1 - column0) / (row1 - row0)
