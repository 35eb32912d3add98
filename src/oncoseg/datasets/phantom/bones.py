"""Ribs, spine, breastbone, collar bones and shoulder blades; frame of reference as in `anatomy`."""

from __future__ import annotations

import numpy as np

from oncoseg.datasets.phantom.planes import Plane

#: Distance from rib to rib and from vertebra to vertebra, mm.
PITCH = 25.0
_HEIGHT = 270.0
CORTEX, MARROW, CARTILAGE, DISC = 780.0, 190.0, 105.0, 85.0


def paint_bones(hu: Plane, x: Plane, y: Plane, inner: Plane, level: float, phase: float) -> None:
    """Everything but the spine, into `hu`."""
    _paint_ribs(hu, x, y, inner, level * _HEIGHT + phase)
    if 0.36 < level < 0.98:
        front = -(88 - 10 * max(0.0, level - 0.5)) * (1 - 0.42 * max(0.0, (level - 0.5) / 0.6) ** 2)
        wide = 17 + 12 * max(0.0, (level - 0.84) / 0.14)
        _paint_shell(hu, np.hypot(x / np.float32(wide), (y - np.float32(front)) / np.float32(6.5)), 0.7)
    for side in (-1, 1):
        _paint_shoulder(hu, side * x, y, level)


def paint_spine(hu: Plane, x: Plane, y: Plane, level: float) -> None:
    """One vertebra or disc with its arch, canal, cord and processes."""
    z = level * _HEIGHT
    within = abs(z % PITCH - PITCH / 2)
    size = 1.12 - 0.25 * level
    body = np.hypot(x / np.float32(17.5 * size), (y - 60) / np.float32(14.5 * size))
    if within > 9.8:
        hu[body < 1] = DISC
    else:
        _paint_shell(hu, body, 0.86 if within < 8.6 else 0.3)
    behind = y - 81
    arch = np.hypot(x / np.float32(14.5), behind / np.float32(13))
    hu[(arch < 1) & (arch > 0.68)] = CORTEX * 0.55 if within < 9 else 55.0
    hu[np.hypot(x, behind) < 9.4] = 8
    hu[np.hypot(x / np.float32(6.2), behind / np.float32(4.8)) < 1] = 38
    if within < 7:
        hu[(np.abs(x) < 3.2) & (behind > 10) & (behind < 23)] = CORTEX * 0.5
        across = (np.abs(x) > 10) & (np.abs(x) < 37)
        hu[across & (np.abs(behind - 4 - 0.25 * np.abs(x)) < 4.2)] = CORTEX * 0.5


def _paint_shell(hu: Plane, radius: Plane, marrow: float) -> None:
    """Bone where `radius` is below 1: marrow inside the given share, cortex outside."""
    hu[radius < 1] = CORTEX * 0.75
    hu[radius < marrow] = MARROW


def _paint_ribs(hu: Plane, x: Plane, y: Plane, inner: Plane, z: float) -> None:
    """Rings that sink from the spine to the front, 25 mm apart; cartilage in front."""
    shell = (inner > 1.0) & (inner < 12.5)
    rows, columns = np.nonzero(shell)
    if not rows.size or z > 0.99 * _HEIGHT + 25:
        return
    side, back = np.abs(x[0, columns]), y[rows, 0] - np.float32(3)
    turn = np.arctan2(side, back) / np.float32(np.pi)
    lift = z + 100 * turn**1.25 + np.where(x[0, columns] < 0, np.float32(2.5), np.float32(0))
    apart = lift / PITCH
    apart = (apart - np.rint(apart)) * np.float32(PITCH)
    radius = np.hypot((inner[rows, columns] - np.float32(6.7)) / np.float32(4.3), apart / np.float32(6.8))
    # False ribs end early: the costal arch opens downwards.
    end = min(0.97, 0.5 + 1.1 * max(0.0, z / _HEIGHT))
    bone = (radius < 1) & (turn < end) & (turn > 0.055)
    soft = turn > min(0.8, end - 0.1)
    value = np.where(soft, CARTILAGE, np.where(radius > 0.6, CORTEX, MARROW)).astype(np.float32)
    hu[rows[bone], columns[bone]] = value[bone]


def _paint_shoulder(hu: Plane, x: Plane, y: Plane, level: float) -> None:
    """Shoulder blade and collar bone of the side where `x` is positive."""
    if 0.52 < level < 1.06:
        grown = min(1.0, (level - 0.52) / 0.22)
        start, stop = np.array([92.0, 84.0]), np.array([92.0, 84.0]) + grown * np.array([44.0, -40.0])
        along = ((x - start[0]) * 0.74 - (y - start[1]) * 0.673) / (np.hypot(*(stop - start)) + 1e-6)
        off = np.abs((x - start[0]) * 0.673 + (y - start[1]) * 0.74)
        thick = 2.2 + 5.0 * np.clip(along - 0.72, 0, 1) * 3
        hu[(along > 0) & (along < 1) & (off < thick)] = CORTEX * 0.6
    if 0.9 < level < 1.02:
        share = (level - 0.9) / 0.12
        centre = (22 + 120 * share, -50 + 34 * share)
        radius = np.hypot((x - np.float32(centre[0])) / np.float32(24), (y - np.float32(centre[1])) / np.float32(6.5))
        _paint_shell(hu, radius, 0.55)
