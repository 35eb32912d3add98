"""Outlines of masks: closed polygons half-way between voxels, holes joined to their outline by keyholes.

Voxel centres inside the mask lie inside the polygon, all others outside, so whoever fills the polygons by the
even-odd rule, by winding, or by XOR gets the mask back voxel for voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.io.polygons import fill

#: Vertices (n, 2) in pixel indices (row, column), closed implicitly.
Ring = NDArray[np.float64]


@dataclass(frozen=True)
class Shaping:
    """What is done to outlines before they are written; both change the mask that is read back.

    Attributes:
        smooth_mm: standard deviation of a Gaussian along the outline; 0 leaves the outline as it is.
        thin_mm: points are left out while the outline moves no further than this; 0 keeps all.

    Raises:
        InputError: when one is negative or not finite.
    """

    smooth_mm: float = 0.0
    thin_mm: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("smooth_mm", self.smooth_mm), ("thin_mm", self.thin_mm)):
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}; a length in mm of at least 0 is needed.")

    @property
    def exact(self) -> bool:
        """Whether outlines stay as they are."""
        return not self.smooth_mm and not self.thin_mm


def outlines(
    plane: NDArray[np.bool_], *, spacing: tuple[float, float] = (1.0, 1.0), shaping: Shaping | None = None
) -> list[Ring]:
    """The polygons round the True pixels of one slice; none for an empty slice.

    Isolines at half level (marching squares), so that a single pixel is a diamond of four points; pixels that
    touch at a corner only stay apart. A hole is part of the polygon round it, joined by a bridge that is walked
    there and back (keyhole); an island in a hole is a polygon of its own.

    Args:
        plane: bool, (rows, columns).
        spacing: mm per pixel (row, column), for `shaping`.
        shaping: None for outlines that hold exactly the mask.

    Returns:
        Polygons in pixel indices, largest first; each has at least 3 points.
    """
    rings = _isolines(plane)
    if shaping is not None and not shaping.exact:
        rings = [_shaped(ring, np.array(spacing), shaping) for ring in rings]
    return _keyholed(rings)


def filled(polygons: Sequence[Ring], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centres the polygons enclose, by the even-odd rule over all of them."""
    plane = np.zeros(shape, bool)
    for polygon in polygons:
        patch = fill(polygon, shape)
        height, width = patch.inside.shape
        plane[patch.row : patch.row + height, patch.column : patch.column + width] ^= patch.inside
    return plane


def _isolines(plane: NDArray[np.bool_]) -> list[Ring]:
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    if not rows.size:
        return []
    from skimage.measure import find_contours  # only exports need it

    box = plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    found = find_contours(np.pad(box, 1).astype(np.float64), 0.5, fully_connected="low")
    offset = np.array([rows[0] - 1, columns[0] - 1])
    return [ring[:-1] + offset for ring in found]


def _keyholed(rings: Sequence[Ring]) -> list[Ring]:
    """Holes joined to the outlines round them; whether a ring is a hole is found by counting what encloses it."""
    outers: list[Ring] = []
    boxes: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for ring in sorted(rings, key=lambda r: -abs(signed_area(r))):
        near = [n for n, (low, high) in enumerate(boxes) if (low <= ring[0]).all() and (ring[0] <= high).all()]
        around = [n for n in near if encloses(outers[n], ring[0])]
        if len(around) % 2:
            outers[around[-1]] = _with_hole(outers[around[-1]], ring)
        else:
            outers.append(ring)
            boxes.append((ring.min(axis=0), ring.max(axis=0)))
    return outers


def signed_area(ring: Ring) -> float:
    """Area of a polygon in square pixels by the shoelace formula; its sign is the direction it is walked in."""
    row, column = ring.T
    return float(column @ np.roll(row, -1) - row @ np.roll(column, -1)) / 2


def encloses(polygon: Ring, point: NDArray[np.float64]) -> bool:
    """Whether a polygon holds a point, by the even-odd rule; bridges of keyholes count twice and so not at all."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    # One direction for all, so that the two ways over a bridge cross at bit-identical columns.
    downward = start[:, 0] <= end[:, 0]
    top, bottom = np.where(downward[:, None], start, end), np.where(downward[:, None], end, start)
    crossing = (top[:, 0] <= point[0]) & (point[0] < bottom[:, 0])
    top, bottom = top[crossing], bottom[crossing]
    share = (point[0] - top[:, 0]) / (bottom[:, 0] - top[:, 0])
    columns = top[:, 1] + share * (bottom[:, 1] - top[:, 1])
    return bool(np.count_nonzero(columns > point[1]) % 2)


def _with_hole(outer: Ring, hole: Ring) -> Ring:
    """One polygon of an outline and its hole, joined where their vertices are nearest."""
    from scipy.spatial import cKDTree

    if (signed_area(hole) > 0) == (signed_area(outer) > 0):
        hole = hole[::-1]
    distances, nearest = cKDTree(outer).query(hole)
    j = int(distances.argmin())
    i = int(nearest[j])
    return np.concatenate([outer[: i + 1], hole[j:], hole[: j + 1], outer[i:]])


def _shaped(ring: Ring, spacing: NDArray[np.float64], shaping: Shaping) -> Ring:
    """A ring smoothed, then thinned; the ring as it was where less than a triangle would be left."""
    points = ring * spacing
    if shaping.smooth_mm:
        points = _smoothed(points, shaping.smooth_mm)
    if shaping.thin_mm:
        points = _thinned(points, shaping.thin_mm)
    usable = len(points) >= 3 and abs(signed_area(points)) > 1e-6
    return points / spacing if usable else ring


def _smoothed(points: NDArray[np.float64], sigma_mm: float) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    step = float(np.linalg.norm(np.diff(points, axis=0, append=points[:1]), axis=1).mean())
    smooth: NDArray[np.float64] = gaussian_filter1d(points, sigma_mm / step, axis=0, mode="wrap")
    return smooth


def _thinned(points: NDArray[np.float64], tolerance_mm: float) -> NDArray[np.float64]:
    """Douglas and Peucker (1973) on a closed ring, begun at the point furthest from its middle."""
    from skimage.measure import approximate_polygon

    first = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())
    ring = np.roll(points, -first, axis=0)
    thinned: NDArray[np.float64] = approximate_polygon(np.concatenate([ring, ring[:1]]), tolerance_mm)[:-1]
    return thinned
