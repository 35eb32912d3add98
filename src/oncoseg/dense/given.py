"""Equal information: a network that takes no prompts by nature is given the boxes that promptable ones get.

Ma et al., Nat Commun 15:654 (2024), gave the networks they compared MedSAM with the box as one more input channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import ModelInfo
from oncoseg.dense.options import Given
from oncoseg.dense.preparing import kept
from oncoseg.lesions import Per, Region, regions
from oncoseg.prompt import Box
from oncoseg.volume import Volume

#: Bit of a class map that carries the boxes through augmentation.
_BIT = 128


def informed(info: ModelInfo, given: Given) -> ModelInfo:
    """What a model is when it is given something: one that takes boxes."""
    if given == "nothing" or info.prompts == ("box",):
        return info
    use = "a box round each lesion or on each of its slices, as a promptable model gets it"
    return replace(info, prompts=("box",), reference_use=use)


def simulated(case: Case, per: Per, jitter_mm: float, rng: np.random.Generator) -> list[Box]:
    """Boxes round the tumour as a user might draw them: each side displaced by a uniform jitter of its own.

    Equal to those of the simulator `box` for the same generator. A box of a slice stays on it. Regions are found once
    for every kept case.
    """
    mask = case.mask(TUMOUR)
    found = kept(case, f"regions by {per}", lambda: regions(mask, per))
    reach = jitter_mm / np.array(mask.spacing) * (0 if per == "slice" else 1, 1, 1)
    draws = rng.uniform(-1.0, 1.0, (len(found), 2, 3))
    return [_displaced(r, np.rint(draw * reach), mask.shape) for r, draw in zip(found, draws, strict=True)]


def _displaced(region: Region, moved: NDArray[np.float64], shape: Sequence[int]) -> Box:
    """The box of a region with its (start, stop) sides moved, inside the image; it keeps at least one voxel."""
    sides = np.sort(np.stack([region.start, region.stop]) + moved.astype(int), axis=0)
    start = np.clip(sides[0], 0, np.array(shape) - 1)
    stop = np.clip(sides[1], start + 1, shape)
    return Box(tuple(start.tolist()), tuple(stop.tolist()), source="jittered" if moved.any() else "oracle")


def filled(boxes: Sequence[Box], start: Sequence[int], stop: Sequence[int]) -> NDArray[np.bool_]:
    """The union of boxes in the part [start, stop) of their grid, which may reach beyond it."""
    inside = np.zeros([b - a for a, b in zip(start, stop, strict=True)], bool)
    for box in boxes:
        low = [max(0, a - first) for a, first in zip(box.start, start, strict=True)]
        high = [max(0, b - first) for b, first in zip(box.stop, start, strict=True)]
        inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return inside


def marked(classes: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A class map that carries a mask beside its classes; `unmarked` takes them apart."""
    return classes | np.where(inside, np.uint8(_BIT), np.uint8(0))


def unmarked(image: NDArray[np.float32], classes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The image with the mask of `marked` as its last channel (0 or 1), and the class map without it."""
    channel = (classes >= _BIT).astype(np.float32)
    return np.concatenate([image, channel[None]]), classes & np.uint8(_BIT - 1)


def joined(boxes: Sequence[Box]) -> list[Box]:
    """Boxes that touch or overlap become the box round both, until none do: slices of a lesion become the lesion's."""
    left = list(boxes)
    found: list[Box] = []
    while left:
        box = left.pop(0)
        near = next((other for other in left if _touch(box, other)), None)
        if near is None:
            found.append(box)
            continue
        start, stop = np.minimum(box.start, near.start), np.maximum(box.stop, near.stop)
        left[left.index(near)] = replace(box, start=tuple(start.tolist()), stop=tuple(stop.tolist()))
    return found


def widened(box: Box, image: Volume, margin_mm: float, *, through: bool) -> Box:
    """A box with a margin, cut off where the image ends; along the slices only with `through`."""
    margin = np.ceil(margin_mm / np.array(image.spacing) - 1e-9).astype(int)
    if not through:
        margin[0] = 0
    start = np.maximum(np.array(box.start) - margin, 0)
    stop = np.minimum(np.array(box.stop) + margin, image.shape)
    return replace(box, start=tuple(start.tolist()), stop=tuple(stop.tolist()))


def pasted(
    image: Volume, boxes: Sequence[Box], look: Callable[[Volume], list[NDArray[np.float32]]], count: int
) -> list[NDArray[np.float32]]:
    """What is found in parts of an image, put together; the larger probability where they overlap, 0 elsewhere.

    Args:
        image: that is looked at.
        boxes: the parts.
        look: gives `count` probability maps of a part, on its grid.
        count: of the maps.
    """
    whole = [np.zeros(image.shape, np.float32) for _ in range(count)]
    for box in boxes:
        for into, found in zip(whole, look(image.crop(box.start, box.stop)), strict=True):
            np.maximum(into[box.region], found, out=into[box.region])
    return whole


def _touch(one: Box, other: Box) -> bool:
    """Whether two boxes share a voxel, or lie on neighbouring slices with overlapping rectangles."""
    slices = one.start[0] <= other.stop[0] and other.start[0] <= one.stop[0]
    return slices and all(one.start[axis] < other.stop[axis] and other.start[axis] < one.stop[axis] for axis in (1, 2))
