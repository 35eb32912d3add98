"""The regions a mask consists of: lesions, slices, or all of it; each cut out with its place."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

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
    return _lesions(voxels)


def _lesions(voxels: NDArray[np.bool_]) -> list[Region]:
    whole = _cut(voxels, (0, 0, 0))
    labels = cc3d.connected_components(np.ascontiguousarray(whole.voxels), connectivity=26)
    found: list[Region] = []
    for number, box in enumerate(cc3d.statistics(labels)["bounding_boxes"][1:], start=1):
        start = [s.start + offset for s, offset in zip(box, whole.start, strict=True)]
        stop = [s.stop + offset for s, offset in zip(box, whole.start, strict=True)]
        found.append(Region(_triple(start), _triple(stop), labels[box] == number))
    return sorted(found, key=_first_voxel)


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
