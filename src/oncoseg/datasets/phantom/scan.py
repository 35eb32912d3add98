"""From a configuration to voxels: anatomy, trees, tumours, then the blur and noise of the scanner."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oncoseg.datasets.phantom import tumours as growth
from oncoseg.datasets.phantom.anatomy import LUNG_HEIGHT, Build, draw_build, lean, paint_slice
from oncoseg.datasets.phantom.configuration import PhantomConfig
from oncoseg.datasets.phantom.trees import Tubes, grow, paint, path
from oncoseg.datasets.phantom.tumours import Site, Tumour
from oncoseg.preprocess.axis import Axis, gaussian, interpolation, multiply_axis
from oncoseg.volume import Volume

#: Field in mm (z, y, x) the unscaled adult needs.
_NEEDED = (330.0, 270.0, 390.0)
_NEEDED_WITH_ARMS = (330.0, 270.0, 530.0)
#: Blur along the slice axis, standard deviation in slices: neighbours share their partial volume.
_SLICE_BLUR = 0.4
#: Size of the patches in which tissue varies, in mm.
_MOTTLE_MM = 7.0
#: Blur and noise correlation of a kernel, standard deviation in mm.
_BLUR_MM = {"soft": 1.0, "sharp": 0.5}
_GRAIN_MM = {"soft": 0.8, "sharp": 0.45}


@dataclass(frozen=True)
class Scan:
    """One simulated examination.

    Attributes:
        image: HU, int16 in [-1024, 3071].
        tumour, lung_left, lung_right: bool masks; left is the patient's. Lungs are those before tumours grew.
        tumours: what grew, in order.
    """

    image: Volume
    tumour: Volume
    lung_left: Volume
    lung_right: Volume
    tumours: tuple[Tumour, ...]


@dataclass(frozen=True)
class _Frame:
    """Scaling of the adult anatomy to the field."""

    axes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    scale: float
    height: float


def make_scan(config: PhantomConfig, *, patient: int, case: int) -> Scan:
    """One case; equal arguments give equal voxels.

    Raises:
        InputError: when a tumour finds no place.
    """
    patient_rng = np.random.default_rng([config.seed, 1, patient])
    rng = np.random.default_rng([config.seed, 2, case])
    frame = _frame(config)
    enhancement = float(patient_rng.uniform(*config.enhancement_hu))
    build = draw_build(patient_rng, enhancement=enhancement, arms=config.arms, table=config.table)
    hu, lung, border = _anatomy(frame, build)
    _mottle(hu, config.spacing, patient_rng)
    vessels = _branches(hu, lung, frame, build=build, rng=patient_rng)
    site = Site(lung, border, vessels, frame.axes, config.spacing)
    taken = np.zeros(config.shape, bool)
    grown = []
    empty = rng.random() < config.empty_share
    for _ in range(0 if empty else int(rng.integers(config.tumours[0], config.tumours[1] + 1))):
        grown.append(_add_tumour(hu, site, taken, config=config, rng=rng))
    image = _scanned(hu, config, rng)
    z, y, x = (float(a[0]) for a in frame.axes)
    volume = Volume.from_spacing(image, config.spacing, (x, y, z))
    inside = lung < 0
    left = frame.axes[2] > 0
    return Scan(
        volume,
        volume.with_voxels(taken),
        volume.with_voxels(inside & left),
        volume.with_voxels(inside & ~left),
        tuple(grown),
    )


def _frame(config: PhantomConfig) -> _Frame:
    """Voxel centres in mm round the middle of the body (x, y) and from the lungs' lowest end (z)."""
    needed = _NEEDED_WITH_ARMS if config.arms else _NEEDED
    field = [n * s for n, s in zip(config.shape, config.spacing, strict=True)]
    scale = min(1.0, field[1] / needed[1], field[2] / needed[2])
    height = LUNG_HEIGHT * min(1.0, field[0] / needed[0])
    y, x = (
        ((np.arange(n) - (n - 1) / 2) * s).astype(np.float32)
        for n, s in zip(config.shape[1:], config.spacing[1:], strict=True)
    )
    z = ((np.arange(config.shape[0]) + 0.5) * config.spacing[0] - (field[0] - height) / 2).astype(np.float32)
    return _Frame((z, y, x), scale, height)


def _anatomy(frame: _Frame, build: Build) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """HU, signed distance to the lung in mm, and the lung's nearest border."""
    z, y, x = frame.axes
    shape = (len(z), len(y), len(x))
    hu, lung = np.empty(shape, np.float32), np.empty(shape, np.float32)
    border = np.empty(shape, np.uint8)
    scaled_x, scaled_y = (x / np.float32(frame.scale))[None], (y / np.float32(frame.scale))[:, None]
    for k, position in enumerate(z):
        plane = paint_slice(scaled_x, scaled_y, float(position) / frame.height, build)
        hu[k], border[k] = plane.hu, plane.border
        np.multiply(plane.lung, np.float32(frame.scale), out=lung[k])
    return hu, lung, border


def _mottle(hu: NDArray[np.float32], spacing: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Let tissue vary from place to place: 9 HU in soft parts and lung, a fifth in bone."""
    coarse = [max(2, round(n * s / _MOTTLE_MM)) for n, s in zip(hu.shape, spacing, strict=True)]
    axes = [Axis(c, n, 0.0, (c - 1) / (n - 1)) for c, n in zip(coarse, hu.shape, strict=True)]
    field = multiply_axis(rng.standard_normal(coarse, dtype=np.float32), [interpolation(a, 3) for a in axes])
    for plane, change in zip(hu, field, strict=True):
        plane += np.where(plane > -900, change * (9 + 0.2 * np.maximum(plane - 60, 0)), np.float32(0))


def _branches(
    hu: NDArray[np.float32], lung: NDArray[np.float32], frame: _Frame, *, build: Build, rng: np.random.Generator
) -> Tubes:
    """Paint airways and lung vessels; the vessels come back."""
    s, h = frame.scale, frame.height
    blend = float(np.mean([abs(frame.axes[1][1] - frame.axes[1][0]), abs(frame.axes[2][1] - frame.axes[2][0])]))
    inside = np.argwhere(lung[::2, ::3, ::3] < -2.0 * s) * (2, 3, 3)
    places = np.stack([frame.axes[a][inside[:, a]] for a in range(3)], axis=1).astype(np.float64)
    trees = []
    for side in (-1, 1):
        mine = places[places[:, 2] * side > 0]
        for level, depth, twigs in ((0.55, 2, 260), (0.46, 14, 170)):
            if len(mine):
                root = (level * h, (depth + lean(level)) * s, side * 36 * s)
                trees.append(grow(root, mine[rng.choice(len(mine), min(twigs, len(mine)), replace=False)], rng))
    if trees:
        joined = [np.concatenate([getattr(t, n) for t in trees]) for n in ("start", "stop", "radius")]
        vessels = Tubes(joined[0], joined[1], joined[2] * s)
    else:
        vessels = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    paint(hu, vessels, build.blood, axes=frame.axes, blend=blend)
    for airway in _airways(frame):
        wall = replace(airway, radius=airway.radius + 1.6 * s)
        paint(hu, wall, 30.0, axes=frame.axes, blend=blend)
    for airway in _airways(frame):
        paint(hu, airway, -985.0, axes=frame.axes, blend=blend)
    return vessels


def _airways(frame: _Frame) -> list[Tubes]:
    """Trachea, main and lobar bronchi, as (z, y, x) in mm."""
    s, h = frame.scale, frame.height

    def tube(points: list[tuple[float, float, float]], radii: list[float]) -> Tubes:
        return path([(level * h, (y + lean(level)) * s, x * s) for level, y, x in points], [r * s for r in radii])

    right = [(0.655, 8, 0), (0.60, 10, -24), (0.55, 12, -40), (0.44, 14, -48), (0.33, 22, -62)]
    left = [(0.655, 8, 0), (0.60, 11, 22), (0.555, 16, 42), (0.46, 33, 52), (0.37, 44, 66)]
    return [
        tube([(1.25, -14, 0), (0.95, -6, 0), (0.655, 8, 0)], [8.6, 8.6]),
        tube([*right], [6.6, 6.2, 4.2, 2.8]),
        tube([(0.60, 10, -24), (0.66, 6, -50), (0.74, 2, -66)], [4.2, 2.6]),
        tube([(0.44, 14, -48), (0.40, -14, -62)], [2.6]),
        tube([*left], [6.0, 5.2, 3.8, 2.6]),
        tube([(0.555, 14, 42), (0.62, 2, 56), (0.72, -4, 64)], [3.8, 2.4]),
    ]


def _add_tumour(
    hu: NDArray[np.float32],
    site: Site,
    taken: NDArray[np.bool_],
    *,
    config: PhantomConfig,
    rng: np.random.Generator,
) -> Tumour:
    tumour = growth.draw(config, rng)
    tumour = replace(tumour, index=growth.centre(tumour, site, taken, rng))
    window, cover = growth.grow(tumour, site, taken, rng)
    hu[window] = growth.tissue(tumour, hu[window], cover, spacing=site.spacing, rng=rng)
    taken[window] |= cover > 0.5
    return tumour


def _scanned(hu: NDArray[np.float32], config: PhantomConfig, rng: np.random.Generator) -> NDArray[np.int16]:
    """Blur, correlated noise, rounding to whole HU in the scanner's range."""
    slices, rows, columns = config.shape
    blur = [gaussian(n, _BLUR_MM[config.kernel] / s) for n, s in zip((rows, columns), config.spacing[1:], strict=True)]
    scanned = multiply_axis(hu, [gaussian(slices, _SLICE_BLUR), *blur])
    if config.noise_hu:
        grain = [
            gaussian(n, _GRAIN_MM[config.kernel] / s) for n, s in zip((rows, columns), config.spacing[1:], strict=True)
        ]
        # A filter of white noise keeps this share of its standard deviation.
        kept = np.sqrt((grain[0][rows // 2] ** 2).sum() * (grain[1][columns // 2] ** 2).sum())
        noise = multiply_axis(rng.standard_normal(config.shape, dtype=np.float32), [None, *grain])
        scanned += noise * np.float32(config.noise_hu / kept)
    return np.clip(np.rint(scanned), -1024, 3071).astype(np.int16)
