"""The regions a mask consists of: lesions, slices, or all of it; each cut out with its place, and how deep it is."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from oncoseg.volume import Volume

#: What counts as one region: a 26-connected lesion, the mask on one slice, or the whole mask.
Per = Literal["lesion", "slice", "volume"]


class Region(NamedTuple):
    """A part of a mask.

    Attributes:
        start, stop: the smallest half-open box round it, voxel indices (slice, row, column).
        voxels: bool array of the box's shape, True in this region only.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    voxels: NDArray[np.bool_]


def regions(mask: Volume, per: Per = "lesion") -> list[Region]:
    """The regions of a mask, in the order of their first voxel; empty for an empty mask.

    Args:
        mask: bool.
        per: "lesion" for 26-connected components, "slice" for one region on each touched slice,
            "volume" for one region.
    """
    voxels = mask.voxels
    if not voxels.any():
        return []
    if per == "volume":
        return [_cut(voxels, (0, 0, 0))]
    if per == "slice":
        return [_cut(voxels[k : k + 1], (k, 0, 0)) for k in np.flatnonzero(voxels.any(axis=(1, 2))).tolist()]
    return components(_cut(voxels, (0, 0, 0)))


def components(whole: Region) -> list[Region]:
    """The 26-connected parts of a region, in the order of their first voxel."""
    # As numbers: of bool arrays cc3d 4.1.1 refuses some columns of voxels, and labels background of some planes.
    writable = np.require(whole.voxels, requirements=["C", "W"])  # cc3d refuses arrays that are mapped from disk
    labels = cc3d.connected_components(writable.view(np.uint8), connectivity=26)
    found: list[Region] = []
    for number, box in enumerate(cc3d.statistics(labels)["bounding_boxes"][1:], start=1):
        start = [s.start + offset for s, offset in zip(box, whole.start, strict=True)]
        stop = [s.stop + offset for s, offset in zip(box, whole.start, strict=True)]
        found.append(Region(_triple(start), _triple(stop), labels[box] == number))
    return sorted(found, key=_first_voxel)


def depth_mm(region: Region, spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance of every voxel of a region to the nearest voxel centre outside it, in mm; 0 outside.

    What lies beyond the region's box, the border of the image included, is outside. In a region of one slice
    distances are taken on that slice.

    Returns:
        Array of the shape of `region.voxels`.
    """
    flat = region.voxels.shape[0] == 1
    padded = np.pad(region.voxels[0] if flat else region.voxels, 1)
    inside = distance_transform_edt(padded, sampling=spacing[1:] if flat else spacing)
    found: NDArray[np.float64] = inside[1:-1, 1:-1][None] if flat else inside[1:-1, 1:-1, 1:-1]
    return found


def deepest(region: Region, spacing: tuple[float, float, float]) -> tuple[int, int, int]:
    """The voxel of a region that is furthest from its outside in mm; among equals the one nearest to the centroid."""
    depth = depth_mm(region, spacing)
    candidates = np.argwhere(depth >= depth.max() * (1 - 1e-9))
    return _nearest(candidates, np.argwhere(region.voxels).mean(axis=0), region, spacing)


def nearest_inside(
    region: Region, position: NDArray[np.float64], spacing: tuple[float, float, float]
) -> tuple[int, int, int]:
    """The voxel of a region that is nearest in mm to a position in voxels of the image (slice, row, column)."""
    return _nearest(np.argwhere(region.voxels), position - np.array(region.start), region, spacing)


def slice_beyond(region: Region, mask: Volume, *, below: bool, beyond_mm: float) -> int:
    """A slice on which a region does not lie, on the wanted side if the volume has one there.

    Args:
        region: of the mask.
        mask: gives the number of slices and their distance.
        below: towards the first slice.
        beyond_mm: from the region's first or last slice; at least one slice, as far as the volume goes.
    """
    off, last = max(1, round(beyond_mm / mask.spacing[0])), mask.shape[0] - 1
    room = {True: region.start[0], False: last - (region.stop[0] - 1)}
    side = below if room[below] or not room[not below] else not below
    return max(0, region.start[0] - off) if side else min(last, region.stop[0] - 1 + off)


def _nearest(
    candidates: NDArray[np.intp], position: NDArray[np.float64], region: Region, spacing: tuple[float, float, float]
) -> tuple[int, int, int]:
    nearest = candidates[np.argmin(np.linalg.norm((candidates - position) * spacing, axis=1))]
    return _triple((nearest + region.start).tolist())


def _cut(voxels: NDArray[np.bool_], offset: tuple[int, int, int]) -> Region:
    touched = [np.flatnonzero(voxels.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    start, stop = [int(t[0]) for t in touched], [int(t[-1]) + 1 for t in touched]
    inside = voxels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return Region(
        _triple([a + o for a, o in zip(start, offset, strict=True)]),
        _triple([b + o for b, o in zip(stop, offset, strict=True)]),
        inside,
    )


def _first_voxel(region: Region) -> tuple[int, ...]:
    first = np.argwhere(region.voxels)[0]
    return tuple((first + region.start).tolist())


def _triple(values: list[Any]) -> tuple[int, int, int]:
    first, second, third = (int(v) for v in values)
    return first, second, third
