"""A box on the largest slice of each lesion, or beside the lesion: what if the user is on the wrong slice?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Region, regions, slice_beyond
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="wrong_slice",
    summary="A box on the largest slice of each lesion, or with a given probability on a slice beyond it.",
    prompts=("box",),
    source="oracle, or jittered on a wrong slice",
)


@dataclass(frozen=True)
class WrongSliceOptions:
    """How often, and how far off.

    Attributes:
        share: probability that a lesion is prompted on a wrong slice.
        beyond_mm: distance of that slice from the lesion's first or last one, in mm; at least one slice.
    """

    share: float = 1.0
    beyond_mm: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"wrong_slice: share is {self.share}; give a probability from 0 to 1.")
        if not 0 <= self.beyond_mm < float("inf"):
            raise ConfigError(f"wrong_slice: beyond_mm is {self.beyond_mm}; give 0 or more millimetres.")


@dataclass(frozen=True)
class WrongSliceSimulator:
    """Keeps rows and columns and mistakes the slice; who is wrong at one `share` is wrong at every larger one."""

    options: WrongSliceOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One box a lesion; none for an empty reference. Where no slice is left on one side it is the other."""
        found = regions(reference)
        draws = rng.random((len(found), 2))
        return [
            self._box(region, number, reference, bool(side < 0.5) if luck < self.options.share else None)
            for number, (region, (luck, side)) in enumerate(zip(found, draws, strict=True), start=1)
        ]

    def _box(self, region: Region, number: int, reference: Volume, below: bool | None) -> Box:
        areas = region.voxels.sum(axis=(1, 2))
        right = int(np.argmax(areas))
        rows, columns = (np.flatnonzero(region.voxels[right].any(axis=axis)) for axis in (1, 0))
        first, top, left = region.start
        index = first + right
        if below is not None:
            index = slice_beyond(region, reference, below=below, beyond_mm=self.options.beyond_mm)
        return Box(
            (index, top + int(rows[0]), left + int(columns[0])),
            (index + 1, top + int(rows[-1]) + 1, left + int(columns[-1]) + 1),
            source="jittered" if index != first + right else "oracle",
            jitter_mm=abs(index - first - right) * reference.spacing[0],
            lesion=number,
        )


def build(**options: Any) -> WrongSliceSimulator:
    """Make the simulator; options are the fields of `WrongSliceOptions`."""
    return WrongSliceSimulator(fill(WrongSliceOptions, options, "prompt simulator wrong_slice"))
