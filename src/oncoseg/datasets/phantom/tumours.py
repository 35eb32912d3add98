"""Tumours: a shape of exactly the wanted volume, a texture, and a place in the lung."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.datasets.phantom.anatomy import COSTAL, MEDIASTINAL
from oncoseg.datasets.phantom.configuration import PhantomConfig, Position, Texture
from oncoseg.datasets.phantom.trees import Tubes
from oncoseg.errors import InputError

Field = NDArray[np.float32]
Window = tuple[slice, slice, slice]
Index = tuple[int, int, int]


@dataclass(frozen=True)
class Tumour:
    """What is asked for, and where it came to lie.

    Attributes:
        volume_ml: wanted.
        position, texture: see `PhantomConfig`.
        irregularity: 0 to 1.
        hu: of the solid part.
        index: voxel (slice, row, column) it grew from.
    """

    volume_ml: float
    position: Position
    texture: Texture
    irregularity: float
    hu: float
    index: Index = (0, 0, 0)

    @property
    def radius_mm(self) -> float:
        """Radius of the ball of this volume."""
        return float((3000 * self.volume_ml / (4 * np.pi)) ** (1 / 3))


@dataclass(frozen=True)
class Site:
    """Where tumours can grow.

    Attributes:
        lung: signed distance to the lung's surface in mm, negative inside.
        border: what bounds the lung there (`anatomy.COSTAL` ...).
        vessels: lung vessels, in mm of `axes`.
        axes: positions of voxel centres in mm, array order.
        spacing: mm, array order.
    """

    lung: Field
    border: NDArray[np.uint8]
    vessels: Tubes
    axes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    spacing: tuple[float, float, float]


def draw(config: PhantomConfig, rng: np.random.Generator) -> Tumour:
    """A random tumour of a data set; its place is chosen by `centre`."""
    low, high = np.log(config.volume_ml)
    return Tumour(
        volume_ml=float(np.exp(rng.uniform(low, high))),
        position=config.positions[int(rng.integers(len(config.positions)))],
        texture=config.textures[int(rng.integers(len(config.textures)))],
        irregularity=float(rng.uniform(*config.irregularity)),
        hu=52.0 + float(rng.uniform(*config.contrast_hu)),
    )


def centre(tumour: Tumour, site: Site, taken: NDArray[np.bool_], rng: np.random.Generator) -> Index:
    """A random voxel that suits the tumour's position and keeps clear of earlier tumours.

    Raises:
        InputError: when the volume has no such place, e.g. for a field without lung.
    """
    radius = tumour.radius_mm
    steps = [max(1, int(3 / s)) for s in site.spacing]
    coarse = (slice(None, None, steps[0]), slice(None, None, steps[1]), slice(None, None, steps[2]))
    depth, border = -site.lung[coarse], site.border[coarse]
    free = ~taken[coarse] & _away_from_edges(site, coarse, radius)
    if tumour.position == "solitary":
        # Deep enough to lie free; where no place is, the deepest ones.
        wanted = free & (depth > min(1.35 * radius + 4, float(depth[free].max(initial=0.0)) * 0.9))
    elif tumour.position == "juxta_pleural":
        wanted = free & (depth > 0.3 * radius) & (depth < 0.7 * radius) & (border == COSTAL)
    elif tumour.position == "mediastinal":
        wanted = free & (depth > -0.4 * radius) & (depth < 0.35 * radius) & (border == MEDIASTINAL)
    else:
        wanted = free & (depth > min(0.8 * radius, float(depth[free].max(initial=0.0)) * 0.7))
    places = np.argwhere(wanted)
    if not len(places):
        raise InputError(
            f"data set phantom: no place for a {tumour.position} tumour of {tumour.volume_ml:.3g} mL. "
            "Choose a smaller volume_ml, fewer tumours, or a larger field (shape x spacing)."
        )
    if tumour.position == "juxta_vascular":
        return _beside_vessel(places * steps, site, rng)
    first, second, third = (int(v) for v in places[rng.integers(len(places))] * steps)
    return first, second, third


def _beside_vessel(places: NDArray[np.int_], site: Site, rng: np.random.Generator) -> Index:
    """The place nearest to a randomly chosen larger vessel."""
    large = np.flatnonzero(site.vessels.radius >= np.quantile(site.vessels.radius, 0.75))
    middles = (site.vessels.start[large] + site.vessels.stop[large]) / 2
    middle = middles[rng.integers(len(middles))]
    mm = np.stack([site.axes[a][places[:, a]] for a in range(3)], axis=1)
    first, second, third = (int(v) for v in places[np.argmin(np.linalg.norm(mm - middle, axis=1))])
    return first, second, third


def _away_from_edges(site: Site, coarse: Window, radius: float) -> NDArray[np.bool_]:
    inside = []
    for axis, part in zip(site.axes, coarse, strict=True):
        mm = axis[part]
        inside.append((mm > axis[0] + 1.1 * radius) & (mm < axis[-1] - 1.1 * radius))
    z, y, x = inside
    return np.asarray(z[:, None, None] & y[:, None] & x)


def grow(tumour: Tumour, site: Site, taken: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Window, Field]:
    """The tumour as a field that is above 0.5 in exactly the wanted number of voxels.

    The shape is a radius that depends on direction; voxels are taken in the order of their distance over that
    radius until the volume is reached, within the lung (`mediastinal`: also up to 0.9 radii outside of it).

    Returns:
        The window of the volume it lies in, and there its cover: 1 inside, 0 outside, falling over one voxel.

    Raises:
        InputError: when it does not fit.
    """
    wanted = max(1, round(tumour.volume_ml * 1000 / float(np.prod(site.spacing))))
    reach = 2.6 * tumour.radius_mm + 2 * max(site.spacing)
    window = _window(tumour.index, site, reach)
    offset = [site.axes[a][window[a]] - site.axes[a][tumour.index[a]] for a in range(3)]
    distance = _shape(tumour, offset, rng)
    limit = 0.9 * tumour.radius_mm if tumour.position == "mediastinal" else 0.0
    allowed = (site.lung[window] < limit) & ~taken[window]
    here = (tumour.index[0] - window[0].start, tumour.index[1] - window[1].start, tumour.index[2] - window[2].start)
    allowed[here] = True
    threshold = _threshold(distance, allowed, here, wanted)
    if threshold is None:
        raise InputError(
            f"data set phantom: a tumour of {tumour.volume_ml:.3g} mL does not fit at voxel {tumour.index}. "
            "Choose a smaller volume_ml or fewer tumours."
        )
    limit_value, allowed = threshold
    soft = np.float32(tumour.radius_mm / (2 * min(site.spacing)))
    cover = np.clip(0.5 + (limit_value - distance) * soft, 0, 1).astype(np.float32)
    # Exactly the chosen voxels exceed one half, whatever the rounding.
    inside = allowed & (distance <= limit_value)
    cover = np.where(inside, np.maximum(cover, np.float32(0.51)), np.minimum(cover, np.float32(0.49)))
    return window, np.where(allowed, cover, np.float32(0))


def _threshold(
    distance: Field, allowed: NDArray[np.bool_], here: Index, wanted: int
) -> tuple[np.float32, NDArray[np.bool_]] | None:
    """Where to cut so that `wanted` voxels hang together with `here`; None when there are too few."""
    guess = wanted
    for _ in range(12):
        values = np.sort(distance[allowed])
        if len(values) < wanted:
            return None
        limit = values[min(guess, len(values)) - 1]
        labels = cc3d.connected_components(allowed & (distance <= limit), connectivity=6)
        connected = labels == labels[here]
        missing = wanted - int(connected.sum())
        if missing == 0:
            return limit, connected
        if missing < 0:
            return np.sort(distance[connected])[wanted - 1], connected
        guess = min(guess + missing, len(values))
    return None


def _shape(tumour: Tumour, offset: list[NDArray[np.float32]], rng: np.random.Generator) -> Field:
    """Distance from the centre over the radius in that direction: 1 on the surface."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
    stretch = np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    z, y, x = offset[0][:, None, None], offset[1][:, None], offset[2]
    parts = [(turn[i, 0] * z + turn[i, 1] * y + turn[i, 2] * x) / stretch[i] for i in range(3)]
    distance = np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2) + np.float32(1e-3)
    directions = [p / distance for p in parts]
    radius = np.ones_like(distance)
    for _ in range(7):
        wave = rng.normal(0, 2.6, 3).astype(np.float32)
        phase = directions[0] * wave[0] + directions[1] * wave[1] + directions[2] * wave[2]
        radius += np.float32(0.13 * tumour.irregularity) * np.sin(phase + np.float32(rng.uniform(0, 6.3)))
    for _ in range(int(22 * tumour.irregularity)):
        axis = rng.normal(size=3)
        axis = (axis / np.linalg.norm(axis)).astype(np.float32)
        along = directions[0] * axis[0] + directions[1] * axis[1] + directions[2] * axis[2]
        height = np.float32(rng.uniform(0.25, 0.9) * tumour.irregularity)
        radius += height * np.exp((along - 1) * np.float32(rng.uniform(25, 70)))
    return np.asarray(distance / (np.maximum(radius, 0.35) * np.float32(tumour.radius_mm)))


def _window(index: Index, site: Site, reach: float) -> Window:
    parts = []
    for axis, i in zip(site.axes, index, strict=True):
        low, high = np.searchsorted(axis, [axis[i] - reach, axis[i] + reach])
        parts.append(slice(int(low), int(high)))
    first, second, third = parts
    return first, second, third


def tissue(
    tumour: Tumour, hu: Field, cover: Field, *, spacing: tuple[float, float, float], rng: np.random.Generator
) -> Field:
    """HU in the tumour's window with the tumour in it.

    Solid tissue replaces what was there, ground glass is added to the lung, part-solid has a solid core of
    about a third of the volume. Larger tumours are darker in the middle.
    """
    mottle = rng.standard_normal(hu.shape, dtype=np.float32) * np.float32(9)
    solid = np.float32(tumour.hu) + mottle
    if tumour.volume_ml > 10:
        core = np.clip(cover, 0, 1) ** 4
        solid -= np.float32(18) * core
    glass = np.maximum(hu, np.minimum(hu + 330 + 3 * mottle, np.float32(tumour.hu)))
    if tumour.texture == "solid":
        inner = solid
    elif tumour.texture == "ground_glass":
        inner = glass
    else:
        inner = np.where(_core(cover, spacing), solid, glass)
    return np.asarray(hu + cover * (inner - hu), dtype=np.float32)


def _core(cover: Field, spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """About the innermost third of a tumour."""
    depth = ndimage.distance_transform_edt(cover > 0.5, sampling=spacing)
    inside = depth[depth > 0]
    return np.asarray(depth > np.quantile(inside, 0.62)) if inside.size > 8 else np.asarray(cover > 0.5)
