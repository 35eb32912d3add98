"""Area of the marching-cubes surface for each of the 256 patterns of a cube's corners, on any grid.

The table is derived, not stored. Corners of the rarer class (foreground when equal) are cut off:
the surface meets a cube edge in its middle where the edge's ends differ, the meeting points of a
face are joined so that corners of the rarer class stay apart, and the joined points form closed
polygons. A polygon that is not flat is cut into triangles in the way that has the largest area on
the unit cube. That reproduces the original table of Lorensen and Cline (SIGGRAPH 1987, figure 3, with
complementary patterns alike), which surface Dice is defined by (Nikolov et al., JMIR 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Corner = tuple[int, ...]
Polygon = list[tuple[float, ...]]

CORNERS: list[Corner] = list(product((0, 1), repeat=3))
"""Corners of the unit cube; corner i is bit i of a pattern. The square's are `product((0, 1), repeat=2)`."""


def triangle_areas(axes: Floats) -> Floats:
    """Surface area in mm^2 of each pattern of 2x2x2 voxels.

    Args:
        axes: 3x3 matrix whose columns are the steps of the array axes in mm.

    Returns:
        256 areas; bit i of the index is corner i of `CORNERS`.
    """
    areas = np.zeros(256)
    for pattern in range(256):
        triangles = _triangles(pattern) @ axes.T
        sides = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        areas[pattern] = np.linalg.norm(sides, axis=1).sum() / 2
    return areas


def contour_lengths(axes: Floats) -> Floats:
    """Contour length in mm of each pattern of 2x2 pixels; 16 values, corners in the order of `CORNERS`."""
    square = list(product((0, 1), repeat=2))
    lengths = np.zeros(16)
    for pattern in range(16):
        chosen = {corner for bit, corner in enumerate(square) if pattern >> bit & 1}
        segments = np.array(_cuts([(0, 0), (0, 1), (1, 1), (1, 0)], chosen)).reshape(-1, 2, 2) @ axes.T
        lengths[pattern] = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum()
    return lengths


@cache
def _triangles(pattern: int) -> Floats:
    """Triangles (n, 3, 3) in the unit cube."""
    chosen = {corner for bit, corner in enumerate(CORNERS) if pattern >> bit & 1}
    if len(chosen) > 4:
        chosen = set(CORNERS) - chosen
    triangles = [triangle for polygon in _polygons(chosen) for triangle in _best_cut(polygon)]
    return np.array(triangles, dtype=np.float64).reshape(-1, 3, 3)


def _polygons(chosen: set[Corner]) -> list[Polygon]:
    links: dict[tuple[float, ...], list[tuple[float, ...]]] = {}
    for axis, side in product(range(3), (0, 1)):
        for start, end in _cuts(_face(axis, side), chosen):
            links.setdefault(start, []).append(end)
            links.setdefault(end, []).append(start)
    polygons = []
    while links:
        polygon = [min(links)]
        while neighbours := [point for point in links.pop(polygon[-1]) if point in links]:
            polygon.append(neighbours[0])
        polygons.append(polygon)
    return polygons


def _face(axis: int, side: int) -> list[Corner]:
    """The four corners of one face of the cube, in turn round it."""
    around = [(0, 0), (0, 1), (1, 1), (1, 0)]
    return [(*pair[:axis], side, *pair[axis:]) for pair in around]


def _cuts(face: list[Corner], chosen: set[Corner]) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Segments between edge middles that part the chosen corners of a face from the others."""
    middles = [tuple((a + b) / 2 for a, b in zip(face[i], face[(i + 1) % 4], strict=True)) for i in range(4)]
    crossed = [i for i in range(4) if (face[i] in chosen) != (face[(i + 1) % 4] in chosen)]
    if len(crossed) == 2:
        return [(middles[crossed[0]], middles[crossed[1]])]
    # All four edges crossed: each chosen corner is cut off by itself. None crossed: nothing to part.
    return [(middles[i - 1], middles[i]) for i in crossed if face[i] in chosen]


def _best_cut(polygon: Polygon) -> list[list[tuple[float, ...]]]:
    """The triangles, of all ways to cut a polygon into triangles, with the largest total area."""

    def area(cut: list[tuple[int, int, int]]) -> float:
        points = np.array(polygon)[np.array(cut)]
        sides = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
        return float(np.linalg.norm(sides, axis=1).sum())

    best = max(_cuts_into_triangles(list(range(len(polygon)))), key=area)
    return [[polygon[i] for i in triangle] for triangle in best]


def _cuts_into_triangles(ring: list[int]) -> Iterator[list[tuple[int, int, int]]]:
    if len(ring) < 3:
        yield []
        return
    for k in range(1, len(ring) - 1):
        for left, right in product(_cuts_into_triangles(ring[: k + 1]), _cuts_into_triangles(ring[k:])):
            yield [*left, *right, (ring[0], ring[k], ring[-1])]
