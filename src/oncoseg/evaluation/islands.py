"""Where two masks hold anything: boxes that empty planes separate, so that time follows the tumours, not the scan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Island(NamedTuple):
    """Both masks in one box, each padded by one voxel of background.

    Attributes:
        start: index in the image of the first padded voxel, -1 where the box begins at the image's edge.
        reference, prediction: bool arrays of one shape.
    """

    start: tuple[int, ...]
    reference: Mask
    prediction: Mask


@dataclass(frozen=True)
class _Box:
    """Index ranges, one (first, stop) an axis."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def window(self) -> tuple[slice, ...]:
        return tuple(slice(*each) for each in self.ranges)

    def with_range(self, axis: int, first: int, stop: int) -> _Box:
        return _Box((*self.ranges[:axis], (first, stop), *self.ranges[axis + 1 :]))


def extent(mask: Mask) -> list[tuple[int, int]] | None:
    """First and one-past-last foreground index per axis; None when there is no foreground."""
    found: dict[int, tuple[int, int]] = {}
    # The axis with the longest stride first: whole slabs of memory are ruled out before the fine search.
    order = sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis]))
    box = mask.transpose(order)
    for position, axis in enumerate(order):
        others = tuple(a for a in range(mask.ndim) if a != position)
        hits = np.flatnonzero(box.any(axis=others))
        if not hits.size:
            return None
        found[axis] = (int(hits[0]), int(hits[-1]) + 1)
        box = box[(slice(None),) * position + (slice(*found[axis]),)]
    return [found[axis] for axis in range(mask.ndim)]


def islands(reference: Mask, prediction: Mask) -> list[Island]:
    """The parts of two masks that planes without foreground separate, in the order of their first index.

    Nothing that looks one voxel far (borders, components, surface elements) sees a difference to the whole image;
    everything outside the image is background.

    Args:
        reference: bool array.
        prediction: bool array of the same shape.

    Returns:
        Empty when both masks are.
    """
    both = [box for box in (extent(reference), extent(prediction)) if box is not None]
    if not both:
        return []
    whole = _Box(tuple((min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*both, strict=True)))
    found = sorted(_parted(reference, prediction, whole), key=lambda box: box.ranges)
    return [
        Island(
            tuple(first - 1 for first, _ in box.ranges),
            np.pad(reference[box.window], 1),
            np.pad(prediction[box.window], 1),
        )
        for box in found
    ]


def _parted(reference: Mask, prediction: Mask, box: _Box, settled: int = 0) -> Iterator[_Box]:
    """Boxes with no empty plane; `settled` counts the axes in a row along which the box could not be parted."""
    axis = settled
    while axis < reference.ndim:
        others = tuple(a for a in range(reference.ndim) if a != axis)
        filled = reference[box.window].any(axis=others) | prediction[box.window].any(axis=others)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], filled, [False]]).astype(np.int8)))
        first = box.ranges[axis][0]
        runs = [(first + int(a), first + int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        if len(runs) > 1:
            for run in runs:
                # What one axis parts may let another one part further.
                yield from _parted(reference, prediction, box.with_range(axis, *run))
            return
        box = box.with_range(axis, *runs[0])
        axis += 1
    yield box
