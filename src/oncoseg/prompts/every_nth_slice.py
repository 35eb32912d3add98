"""A box or click on every n-th slice, as Medical SAM 2 is validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Region, regions
from oncoseg.prompt import Box, Click, Prompt, Scribble
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="every_nth_slice",
    summary="A tight box or a random click on every n-th slice; the slices between are left to the model.",
    prompts=("box", "click"),
    source="oracle for boxes, simulated user for clicks",
    doi="10.48550/arXiv.2408.00874",
)


@dataclass(frozen=True)
class EveryNthSliceOptions:
    """Which slices are prompted with what.

    Attributes:
        n: every so many-th slice, counted from the first of `slices`.
        prompt: a tight `box`, or a `click` on a uniformly drawn pixel.
        per: one object for each 26-connected `lesion`, or the whole `volume` as one.
        slices: the object's own, from its first to its last (`object`); from the first to the last that holds any
            object (`labelled`); the first quarter of these, at least one, as the released Medical-SAM2 validates; or
            those of the whole `image`.
        absent: where an object has no pixel on such a slice, a scribble across the slice that points away from it.
            Models that follow objects take it for an empty mask, as the released code gives one.
    """

    n: int = 2
    prompt: Literal["box", "click"] = "box"
    per: Literal["lesion", "volume"] = "lesion"
    slices: Literal["object", "labelled", "first quarter", "image"] = "object"
    absent: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"every_nth_slice: n is {self.n}; give 1 or more.")


@dataclass(frozen=True)
class EveryNthSliceSimulator:
    """Prompts objects slice by slice; prompts of one object carry its number, from 1 on."""

    options: EveryNthSliceOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """Prompts by object and slice; none for an empty reference."""
        found = regions(reference, self.options.per)
        draws = rng.random((len(found), reference.shape[0]))
        return [
            prompt
            for number, (region, row) in enumerate(zip(found, draws, strict=True), start=1)
            for index in self._slices(region, found, reference)
            for prompt in self._on(index, region, number, float(row[index]), reference)
        ]

    def _slices(self, region: Region, found: Sequence[Region], reference: Volume) -> range:
        options = self.options
        if options.slices == "image":
            return range(0, reference.shape[0], options.n)
        if options.slices == "object":
            return range(region.start[0], region.stop[0], options.n)
        first = min(r.start[0] for r in found)
        count = max(r.stop[0] for r in found) - first
        if options.slices == "first quarter":
            count = max(1, count // 4)
        return range(first, first + count, options.n)

    def _on(self, index: int, region: Region, number: int, draw: float, reference: Volume) -> Iterator[Prompt]:
        inside = region.start[0] <= index < region.stop[0]
        mask = region.voxels[index - region.start[0]] if inside else np.zeros((0, 0), bool)
        if mask.any():
            yield self._where(mask, (index, *region.start[1:]), number, draw)
        elif self.options.absent:
            yield _away(index, reference.shape, number)

    def _where(self, mask: NDArray[np.bool_], corner: tuple[int, int, int], number: int, draw: float) -> Prompt:
        index, top, left = corner
        if self.options.prompt == "click":
            pixels = np.argwhere(mask)
            row, column = pixels[int(draw * len(pixels))].tolist()
            return Click((index, top + row, left + column), source="simulated user", lesion=number)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        start = (index, top + int(rows[0]), left + int(columns[0]))
        stop = (index + 1, top + int(rows[-1]) + 1, left + int(columns[-1]) + 1)
        return Box(start, stop, source="oracle", lesion=number)


def build(**options: Any) -> EveryNthSliceSimulator:
    """Make the simulator; options are the fields of `EveryNthSliceOptions`."""
    return EveryNthSliceSimulator(fill(EveryNthSliceOptions, options, "prompt simulator every_nth_slice"))


def _away(index: int, shape: tuple[int, int, int], number: int) -> Scribble:
    """A line from corner to corner of a slice that points away."""
    _, rows, columns = shape
    steps = max(rows, columns)
    line = zip(np.linspace(0, rows - 1, steps), np.linspace(0, columns - 1, steps), strict=True)
    voxels = tuple((index, round(row), round(column)) for row, column in line)
    return Scribble(voxels, positive=False, source="oracle", lesion=number)
