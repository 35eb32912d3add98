"""Branching tubes in the lungs: airways and vessels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

#: Radius of the finest vessels in mm, and Murray's exponent by which branches add up.
_TWIG_MM, _MURRAY = 0.65, 2.6


@dataclass(frozen=True)
class Tubes:
    """Straight pieces of tube.

    Attributes:
        start, stop: ends (n, 3) in mm, array order (z, y, x).
        radius: (n,) in mm.
    """

    start: Points
    stop: Points
    radius: NDArray[np.float64]


def grow(root: Sequence[float], targets: Points, rng: np.random.Generator) -> Tubes:
    """A vessel tree from `root` that reaches every target.

    Targets join, nearest to the root first, the nearest node already in the tree; joining half-way makes
    forks. Radii follow from the number of twigs behind a piece (Murray 1926: sums of powers are kept).
    """
    origin = np.asarray(root, dtype=np.float64)
    order = np.argsort(np.linalg.norm(targets - origin, axis=1))
    nodes, parents = [origin], [-1]
    for target in targets[order]:
        known = np.array(nodes)
        away = np.linalg.norm(known - target, axis=1)
        # Prefer joining towards the hilum: turning back costs.
        back = np.maximum(0, np.linalg.norm(known - origin, axis=1) - np.linalg.norm(target - origin) * 0.85)
        nearest = int(np.argmin(away + 1.5 * back))
        bend = (nodes[nearest] + target) / 2 + rng.normal(0, 0.07, 3) * away[nearest]
        nodes += [bend, target]
        parents += [nearest, len(nodes) - 2]
    power = np.full(len(nodes), _TWIG_MM**_MURRAY)
    power[[p for p in parents if p >= 0]] = 0.0
    for node in range(len(nodes) - 1, 0, -1):
        power[parents[node]] += power[node]
    places = np.array(nodes)
    return Tubes(places[parents[1:]], places[1:], power[1:] ** (1 / _MURRAY))


def paint(
    hu: NDArray[np.float32], tubes: Tubes, value: float, *, axes: Sequence[NDArray[np.float32]], blend: float
) -> None:
    """Draw tubes into a volume with soft edges.

    Args:
        hu: voxels, changed in place.
        tubes: what to draw.
        value: HU inside.
        axes: position in mm of the voxel centres along each axis.
        blend: width of the edge in mm, about one voxel; finer tubes keep their share of a voxel.
    """
    for start, stop, radius in zip(tubes.start, tubes.stop, tubes.radius, strict=True):
        reach = radius + blend
        window = tuple(
            slice(int(np.searchsorted(a, min(p, q) - reach)), int(np.searchsorted(a, max(p, q) + reach)))
            for a, p, q in zip(axes, start, stop, strict=True)
        )
        part = hu[window]
        if not part.size:
            continue
        z, y, x = (a[w] for a, w in zip(axes, window, strict=True))
        dz, dy, dx = (stop - start).astype(np.float32)
        oz, oy, ox = (
            (z - np.float32(start[0]))[:, None, None],
            (y - np.float32(start[1]))[:, None],
            x - np.float32(start[2]),
        )
        length = dz * dz + dy * dy + dx * dx + np.float32(1e-6)
        along = np.clip((oz * dz + oy * dy + ox * dx) / length, 0, 1)
        off = np.sqrt((oz - along * dz) ** 2 + (oy - along * dy) ** 2 + (ox - along * dx) ** 2)
        most = min(1.0, (2 * radius / blend) ** 2)
        cover = np.clip((np.float32(radius - blend / 2) - off) / np.float32(blend) + 1, 0, most)
        part += cover * (np.float32(value) - part)


def path(points: Sequence[Sequence[float]], radii: Sequence[float]) -> Tubes:
    """One tube through points (z, y, x), with one radius a piece."""
    places = np.asarray(points, dtype=np.float64)
    return Tubes(places[:-1], places[1:], np.asarray(radii, dtype=np.float64))
