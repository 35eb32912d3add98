"""A stylised adult thorax, painted slice by slice from ellipses in millimetres.

Lengths are those of the unscaled adult: x to the left, y to the back, both from the middle of the body, and
`level`, 0 at the lowest end of the lungs and 1 at their tips (270 mm). Distances are signed, negative inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncoseg.datasets.phantom.bones import paint_bones, paint_spine
from oncoseg.datasets.phantom.planes import Plane, capsule, clipped, ellipse, smoothstep

#: Height of the lungs in mm.
LUNG_HEIGHT = 270.0
AIR, FAT, MUSCLE, SKIN = -1000.0, -102.0, 52.0, 10.0
#: What bounds the lung where it ends; kept per voxel for the placing of tumours.
COSTAL, MEDIASTINAL, DIAPHRAGM = 0, 1, 2


@dataclass(frozen=True)
class Build:
    """How one patient differs from the next; lengths in mm, blood in HU."""

    width: float = 1.0
    depth: float = 1.0
    fat: float = 13.0
    heart: float = 1.0
    right_dome: float = 0.33
    left_dome: float = 0.29
    lung_hu: float = -862.0
    blood: float = 45.0
    rib_phase: float = 0.0
    arms: bool = False
    table: bool = True


def draw_build(rng: np.random.Generator, *, enhancement: float, arms: bool, table: bool) -> Build:
    """A random patient; `enhancement` in HU is added to blood."""
    return Build(
        width=rng.uniform(0.95, 1.03),
        depth=rng.uniform(0.93, 1.04),
        fat=rng.uniform(8.0, 20.0),
        heart=rng.uniform(0.9, 1.08),
        right_dome=rng.uniform(0.29, 0.35),
        left_dome=rng.uniform(0.26, 0.31),
        lung_hu=rng.uniform(-880.0, -845.0),
        blood=43.0 + enhancement,
        rib_phase=rng.uniform(0.0, 25.0),
        arms=arms,
        table=table,
    )


@dataclass
class Slice:
    """One axial slice while it is painted.

    Attributes:
        x, y: position of every voxel, broadcastable (1, columns) and (rows, 1).
        level: height of the slice, 0 to 1 over the lungs.
        hu: painted so far.
        inner: distance to the inside of the rib cage.
        body: distance to the skin.
        lung: distance to the lung, of the nearer side.
        border: which of `COSTAL`, `MEDIASTINAL`, `DIAPHRAGM` is the nearest end of the lung.
    """

    x: Plane
    y: Plane
    level: float
    hu: Plane
    inner: Plane = field(init=False)
    body: Plane = field(init=False)
    lung: Plane = field(init=False)
    border: NDArray[np.uint8] = field(init=False)


def paint_slice(x: Plane, y: Plane, level: float, build: Build) -> Slice:
    """All of the thorax at one level but what branches: airways, lung vessels and tumours."""
    shape = (y.shape[0], x.shape[1])
    behind = y / np.float32(build.depth) - np.float32(lean(level))
    plane = Slice(x / np.float32(build.width), behind, level, np.full(shape, AIR, np.float32))
    _paint_wall(plane, build)
    _paint_inside(plane, build)
    paint_bones(plane.hu, plane.x, plane.y, plane.inner, level, build.rib_phase)
    hu, x, y = clipped((plane.hu,), plane.x, plane.y, (-45, 45, 40, 112))
    paint_spine(hu, x, y, level)
    return plane


def lean(level: float) -> float:
    """How far in mm the chest's middle lies behind that of its ends: the curve of the thoracic spine."""
    return 13 * smoothstep(level, -0.1, 0.55) - 7 * smoothstep(level, 0.55, 1.15)


def _paint_wall(plane: Slice, build: Build) -> None:
    """Skin, fat, muscle, couch and arms; sets `body` and `inner`."""
    x, y, hu, level = plane.x, plane.y, plane.hu, plane.level
    shoulder = smoothstep(level, 0.72, 1.08)
    half = (168 + 14 * shoulder, 115 - 8 * shoulder)
    # A flat back and a flattened front: the square of the body's section between ellipse and rectangle.
    squeeze = 1 + 0.10 * (x / np.float32(half[0])) ** 2
    plane.body = ellipse(x, y / squeeze, (0, 0), half)
    narrow = smoothstep(level, 0.45, 1.15) ** 1.5
    plane.inner = ellipse(x, y / squeeze, (0, 2), (137 * (1 - 0.52 * narrow), 91 * (1 - 0.42 * narrow)))
    _paint_limbs(plane, build)
    body = plane.body
    hu[body < 0] = SKIN
    hu[body < -2] = FAT
    # Fat is thicker at the flanks and low down, thinner at the back.
    depth = np.float32(build.fat) * (1.25 - 0.5 * level + 0.25 * np.abs(x) / 168 - 0.15 * np.sign(y))
    muscle = body < -depth
    hu[muscle] = MUSCLE
    # Fat planes between the layers of muscle.
    planes = muscle & (np.abs(body + depth + 13) < 1.3) & (np.abs(x) > 28) & (plane.inner > 13)
    hu[planes] = FAT + 30


def _paint_limbs(plane: Slice, build: Build) -> None:
    x, y, hu = plane.x, plane.y, plane.hu
    if build.table:
        couch = np.hypot(x, y - np.float32(118 - 620)) - 626
        hu[(couch > 0) & (couch < 26) & (np.abs(x) < 215)] = -905
        hu[(np.abs(couch - 13) > 11) & (np.abs(couch - 13) < 13) & (np.abs(x) < 215)] = -180
    if build.arms:
        for side in (-1, 1):
            arm = ellipse(x, y, (side * 218, 24), (34, 42))
            hu[arm < 0] = SKIN
            hu[arm < -2] = FAT
            hu[arm < -8] = MUSCLE
            hu[np.hypot(x - side * 216, y - 24) < 12] = 950
            hu[np.hypot(x - side * 216, y - 24) < 7] = 60


def _paint_inside(plane: Slice, build: Build) -> None:
    """Lungs, mediastinum, heart and great vessels, upper abdomen; sets `lung` and `border`."""
    x, y, hu, level, inner = plane.x, plane.y, plane.hu, plane.level, plane.inner
    heart, middle = _mediastinum(x, y, level, build)
    below = np.maximum(_below_diaphragm(x, y, level, build.right_dome, -1), np.float32(-1e3))
    below = np.where(x < 0, below, _below_diaphragm(x, y, level, build.left_dome, 1))
    tip = np.float32((max(0.0, level - 0.5) / 0.5) ** 2)
    apex = 70 * (np.sqrt(((np.abs(x) - 58) / 80) ** 2 + ((y - 8) / 100) ** 2 + tip) - 1)
    costal = np.maximum(inner + 1.5, apex)
    # The heart stands on the diaphragm.
    heart = np.maximum(heart, below)
    plane.lung = np.maximum(np.maximum(costal, 2.5 - middle), below).astype(np.float32)
    plane.border = np.where(below >= plane.lung, DIAPHRAGM, np.where(2.5 - middle >= plane.lung, MEDIASTINAL, COSTAL))
    plane.border = plane.border.astype(np.uint8)
    inside = inner < 0
    fat = inside & (middle < 30) & (apex < 30)
    hu[fat] = FAT + 12
    _paint_abdomen(plane, below, build)
    lung = plane.lung < 0
    hu[lung] = (np.float32(build.lung_hu) + 0.32 * y + np.zeros_like(x))[lung]
    _paint_vessels(plane, heart, build)


def _mediastinum(x: Plane, y: Plane, level: float, build: Build) -> tuple[Plane, Plane]:
    """Distance to the heart (far where it is not) and to all of the mediastinum."""
    up = smoothstep(level, 0.5, 1.0)
    parts = [
        ellipse(x, y, (0, -62), (10, 46)),
        ellipse(x, y, (0, -6), (32 - 6 * up, 40 - 8 * up)),
        ellipse(x, y, (4, 34), (19, 30)),
        ellipse(x, y, (23, 43), (15, 15)),
        ellipse(x, y, (0, 61), (24, 22)),
        ellipse(x, y, (0, 90), (36, 24)),
    ]
    heart = np.full(parts[0].shape, 99, np.float32)
    height = 1 - ((level - 0.35) / 0.215) ** 2
    if height > 0.02:
        size = build.heart * height**0.5
        turned_x, turned_y = 0.87 * (x - 29) + 0.5 * (y + 20), -0.5 * (x - 29) + 0.87 * (y + 20)
        heart = ellipse(turned_x, turned_y, (0, 0), (67 * size, 49 * size))
        parts.append(heart)
    hilum = 1 - ((level - 0.54) / 0.09) ** 2
    if hilum > 0.02:
        parts.append(ellipse(x, y, (0, 4), (54 * hilum**0.5, 17)))
    return heart, np.minimum.reduce(parts)


def _below_diaphragm(x: Plane, y: Plane, level: float, dome: float, side: int) -> Plane:
    """How deep in mm a voxel lies below the dome of one side; the recess behind reaches lowest."""
    surface = dome * (1 - ((x - side * 62) / 112) ** 2 - ((y + 12) / 118) ** 2)
    return np.asarray((surface - level) * np.float32(0.75 * LUNG_HEIGHT), dtype=np.float32)


def _paint_abdomen(plane: Slice, below: Plane, build: Build) -> None:
    x, y, hu, level = plane.x, plane.y, plane.hu, plane.level
    cavity = (plane.inner < 0) & (below > 0)
    if level > 0.4 or not cavity.any():
        return
    enhancement = build.blood - 43
    hu[cavity] = FAT
    hu[cavity & ((below < 3.5) | (plane.inner > -3))] = 48
    inside = cavity & (below > 3.5) & (plane.inner < -3)
    hu[inside & (ellipse(x, y, (92, 38), (27, 44)) < 0)] = 50 + 0.7 * enhancement
    stomach = ellipse(x, y, (66, -32), (46, 36))
    hu[inside & (stomach < 0)] = 42
    hu[inside & (stomach < -4)] = 12
    hu[inside & (stomach < -4) & (y < -42)] = -985
    hu[inside & (ellipse(x, y, (-48, -6), (92, 92)) < 0)] = 58 + 0.5 * enhancement
    for vein in ((-70, 10), (-45, -20), (-85, -30), (-60, 40)):
        hu[inside & (np.hypot(x - vein[0] - 40 * level, y - vein[1]) < 5)] = 45 + enhancement
    spine = ellipse(x, y, (0, 62), (40, 30)) < 0
    hu[cavity & spine] = FAT


def _paint_vessels(plane: Slice, heart: Plane, build: Build) -> None:
    """Heart, aorta, pulmonary trunk, great veins and oesophagus."""
    level, blood = plane.level, build.blood
    hu, heart, x, y = clipped((plane.hu, heart), plane.x, plane.y, (-60, 96, -90, 66))
    hu[heart < -0.5] = FAT + 10
    hu[heart < -3.5] = 45 + 0.5 * (blood - 43)
    hu[heart < -13] = blood
    hu[(np.abs(0.6 * (x - 25) - 0.8 * (y + 16)) < 4.5) & (heart < -13)] = 47 + 0.5 * (blood - 43)
    rounds: list[tuple[tuple[float, float], float, float, float]] = [
        ((24, 43), 12.5, -2.0, 0.72),
        ((-9, -20), 15.5, 0.40, 0.72),
        ((-27, -14), 8.5, 0.44, 0.86),
        ((-22, 2), 11.0, 0.05, 0.30),
        ((-13, -18), 6.0, 0.73, 1.12),
        ((8, -10), 4.2, 0.73, 1.12),
        ((19, 4), 5.0, 0.73, 1.12),
        ((-30, -22), 7.0, 0.86, 1.12),
        ((28, -24), 6.5, 0.84, 1.12),
    ]
    for centre, radius, low, high in rounds:
        if low <= level <= high:
            rounded = radius * min(1.0, (high - level) / 0.03, (level - low) / 0.03) ** 0.5
            hu[np.hypot(x - centre[0], y - centre[1]) < rounded] = blood
    lines = [
        ((-8, -20), (24, 43), 12.0, 0.65, 0.75),
        ((16, -28), (20, -2), 14.5, 0.45, 0.59),
        ((16, -6), (-44, 6), 10.5, 0.505, 0.575),
        ((16, -2), (44, 12), 11, 0.53, 0.60),
        ((28, -24), (-26, -20), 7.5, 0.78, 0.85),
    ]
    for start, stop, radius, low, high in lines:
        if low <= level <= high:
            flat = (2 * level - low - high) / (high - low)
            hu[capsule(x, y, start, stop) < radius * (1 - flat * flat) ** 0.5] = blood
    gullet = ellipse(x, y, (5, 27), (8.5, 6.5))
    hu[gullet < 0] = 38
    hu[gullet < -4.6] = -300
