"""What a radiologist would measure on lesions: volume, diameters on the slice where they are longest, mean, location.

Sizes are taken between voxel edges (half-level outline), so a single voxel of 1 mm is 1 mm wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.lesions import Region, regions
from oncoseg.volume import Volume

#: Position (row, column) in voxels on a slice.
Point = tuple[float, float]
#: Lung within so many mm of a lesion says where it is: lung masks often leave out what is dense.
_AROUND_MM = 20.0
#: Share of that lung that must be one of the two.
_CLEARLY = 0.75
_THIRDS: tuple[Literal["lower"], Literal["middle"], Literal["upper"]] = ("lower", "middle", "upper")


class Location(NamedTuple):
    """Which part of which lung a lesion lies in or at.

    Attributes:
        side: the patient's.
        third: of the lung's height, by the lesion's centre.
    """

    side: Literal["right", "left"]
    third: Literal["lower", "middle", "upper"]

    def __str__(self) -> str:
        return f"{self.side} lung, {self.third} third"


class Axis(NamedTuple):
    """A line across a lesion on a slice.

    Attributes:
        length_mm: how long.
        start, end: (row, column) in voxels.
    """

    length_mm: float
    start: Point
    end: Point


@dataclass(frozen=True)
class LesionMeasurement:
    """Measurements of one lesion.

    Attributes:
        number: from 1, the largest first.
        volume_mm3: voxels times voxel volume.
        slice_index: the slice with the longest diameter.
        long_axis: longest diameter in the plane of a slice (RECIST 1.1; Eisenhauer et al. 2009).
        short_axis: longest diameter perpendicular to it on that slice.
        mean, deviation: of the image inside the lesion, HU for CT; None without an image.
        centre_mm: LPS mm of the centre of mass.
        first_slice, slices: the first slice the lesion lies on, and their number.
        location: in the lungs; None without lungs, away from them (over 20 mm), or between the two.
    """

    number: int
    volume_mm3: float
    slice_index: int
    long_axis: Axis
    short_axis: Axis
    mean: float | None
    deviation: float | None
    centre_mm: tuple[float, float, float]
    first_slice: int
    slices: int
    location: Location | None = None

    @property
    def millilitres(self) -> float:
        """The volume in mL."""
        return self.volume_mm3 / 1000


def measure(mask: Volume, image: Volume | None = None, lungs: Volume | None = None) -> list[LesionMeasurement]:
    """Measurements of every lesion (26-connected component) of a mask.

    Diameters are those of the convex outline of one connected part of the lesion on one slice; they are axial where
    the slices are.

    Args:
        mask: bool.
        image: on the same grid; None leaves the mean values out.
        lungs: labels on the same grid, 1 the patient's right lung, 2 the left; None leaves locations out.

    Returns:
        One a lesion, largest volume first; empty for an empty mask.

    Raises:
        GridMismatchError: when image and mask, or lungs and mask differ.
        InputError: for lungs with other labels.
    """
    if image is not None:
        image.require_same_grid(mask, "image and mask")
    if lungs is not None:
        lungs.require_same_grid(mask, "lungs and mask")
        _require_sides(lungs)
    found = sorted(regions(mask), key=lambda region: -int(np.count_nonzero(region.voxels)))
    sides = None if lungs is None else _lungs(lungs)
    return [_measured(number, region, mask, image, sides) for number, region in enumerate(found, start=1)]


def _measured(
    number: int, region: Region, mask: Volume, image: Volume | None, lungs: _Lungs | None
) -> LesionMeasurement:
    index = np.argwhere(region.voxels)
    values = None
    if image is not None:
        box = tuple(slice(a, b) for a, b in zip(region.start, region.stop, strict=True))
        values = image.voxels[box][region.voxels].astype(np.float64)
    slice_index, long_axis, short_axis = _diameters(region, (mask.spacing[1], mask.spacing[2]))
    x, y, z = mask.index_to_mm(index.mean(axis=0) + region.start).tolist()
    return LesionMeasurement(
        number,
        len(index) * mask.voxel_volume_mm3,
        slice_index,
        long_axis,
        short_axis,
        None if values is None else float(values.mean()),
        None if values is None else float(values.std()),
        (x, y, z),
        region.start[0],
        region.voxels.shape[0],
        None if lungs is None else _location(region, z, lungs),
    )


class _Lungs(NamedTuple):
    """Labels 1 (right) and 2 (left), and the lowest and highest mm of each lung that is there."""

    labels: Volume
    heights: dict[int, tuple[float, float]]


def _lungs(labels: Volume) -> _Lungs:
    heights = {}
    for label in (1, 2):
        for whole in regions(labels.with_voxels(labels.voxels == label), "volume"):
            corners = np.array([whole.start, np.subtract(whole.stop, 1)])
            ends = [float(labels.index_to_mm(np.choose(corner, corners))[2]) for corner in np.ndindex(2, 2, 2)]
            heights[label] = min(ends), max(ends)
    return _Lungs(labels, heights)


def _require_sides(lungs: Volume) -> None:
    found = np.unique(lungs.voxels)
    if not np.isin(found, (0, 1, 2)).all():
        shown = ", ".join(f"{value:g}" for value in found[:8])
        raise InputError(
            f"The lungs have the labels {shown}; 1 is the patient's right lung, 2 the left, as `oncoseg lungs` writes."
        )


def _location(region: Region, height_mm: float, lungs: _Lungs) -> Location | None:
    """The lung that most of what surrounds a lesion belongs to, and the third of it that the lesion's centre is in."""
    margin = np.ceil(_AROUND_MM / np.array(lungs.labels.spacing)).astype(int)
    low, high = np.maximum(np.array(region.start) - margin, 0), np.array(region.stop) + margin
    around = lungs.labels.voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    right, left = int((around == 1).sum()), int((around == 2).sum())
    if not right + left or max(right, left) < _CLEARLY * (right + left):
        return None
    bottom, top = lungs.heights[1 if right > left else 2]
    share = (height_mm - bottom) / (top - bottom) if top > bottom else 0.5
    return Location("right" if right > left else "left", _THIRDS[int(np.clip(share * 3, 0, 2))])


def _diameters(region: Region, spacing: tuple[float, float]) -> tuple[int, Axis, Axis]:
    """The slice with the longest diameter in a plane, that diameter, and the longest one across it."""
    hulls = [(k, _hull_mm(part, spacing)) for k, plane in enumerate(region.voxels) for part in _parts(plane)]
    axes = [_longest(hull) for _, hull in hulls]
    best = max(range(len(axes)), key=lambda n: axes[n].length_mm)
    (k, hull), long_axis = hulls[best], axes[best]
    start = np.array(region.start[1:])
    across = _across(hull, long_axis)
    return k + region.start[0], _in_voxels(long_axis, spacing, start), _in_voxels(across, spacing, start)


def _parts(plane: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    # As numbers: of bool arrays cc3d 4.1.1 labels some background pixels too.
    labels = cc3d.connected_components(np.ascontiguousarray(plane).view(np.uint8), connectivity=8)
    return [labels == number for number in range(1, int(labels.max()) + 1)]


def _hull_mm(part: NDArray[np.bool_], spacing: tuple[float, float]) -> NDArray[np.float64]:
    """Corners (n, 2) in mm, walked round, of the smallest convex polygon that holds a part's half-level outline."""
    from scipy.spatial import ConvexHull

    padded = np.pad(part, 1)
    down = np.argwhere(padded[1:] != padded[:-1]) - np.array([0.5, 1])
    right = np.argwhere(padded[:, 1:] != padded[:, :-1]) - np.array([1, 0.5])
    points = np.concatenate([down, right]) * spacing
    corners: NDArray[np.float64] = points[ConvexHull(points).vertices]
    return corners


def _longest(hull: NDArray[np.float64]) -> Axis:
    distances = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
    i, j = np.unravel_index(int(distances.argmax()), distances.shape)
    return _axis(hull[i], hull[j])


def _across(hull: NDArray[np.float64], long_axis: Axis) -> Axis:
    """The longest chord of a convex polygon perpendicular to its longest diameter."""
    start, end = np.array(long_axis.start), np.array(long_axis.end)
    along = (end - start) / long_axis.length_mm
    beside = np.array([-along[1], along[0]])
    u, v = (hull - start) @ along, (hull - start) @ beside
    # The longest diameter ends at corners, and no corner lies beyond its ends: between them run two chains.
    u, v = np.roll(u, -int(u.argmin())), np.roll(v, -int(u.argmin()))
    far = int(u.argmax())
    one = np.interp(u, u[: far + 1], v[: far + 1])
    other = np.interp(u, np.append(u[far:], u[0])[::-1], np.append(v[far:], v[0])[::-1])
    widest = int(np.abs(one - other).argmax())  # chords of convex polygons are longest at a corner
    base = start + u[widest] * along
    return _axis(base + one[widest] * beside, base + other[widest] * beside)


def _axis(start: NDArray[np.float64], end: NDArray[np.float64]) -> Axis:
    return Axis(float(np.linalg.norm(end - start)), _point(start), _point(end))


def _in_voxels(axis: Axis, spacing: tuple[float, float], offset: NDArray[np.intp]) -> Axis:
    start, end = (np.array(point) / spacing + offset for point in (axis.start, axis.end))
    return Axis(axis.length_mm, _point(start), _point(end))


def _point(position: NDArray[np.float64]) -> Point:
    row, column = position.tolist()
    return row, column
