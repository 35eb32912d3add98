"""A click on the deepest voxel of each lesion, or beside the lesion: what if the user is on the wrong slice?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Region, deepest, regions, slice_beyond
from oncoseg.prompt import Click, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="wrong_slice_click",
    summary="A click on the deepest voxel of each lesion, or with a given probability on a slice beyond it.",
    prompts=("click",),
    source="oracle, or jittered on a wrong slice",
)


@dataclass(frozen=True)
class WrongSliceClickOptions:
    """How often, and how far off.

    Attributes:
        share: probability that a lesion is prompted on a wrong slice.
        beyond_mm: distance of that slice from the lesion's first or last one, in mm; at least one slice.
    """

    share: float = 1.0
    beyond_mm: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"wrong_slice_click: share is {self.share}; give a probability from 0 to 1.")
        if not 0 <= self.beyond_mm < float("inf"):
            raise ConfigError(f"wrong_slice_click: beyond_mm is {self.beyond_mm}; give 0 or more millimetres.")


@dataclass(frozen=True)
class WrongSliceClickSimulator:
    """Keeps rows and columns and mistakes the slice; who is wrong at one `share` is wrong at every larger one."""

    options: WrongSliceClickOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One click a lesion; none for an empty reference. Where no slice is left on one side it is the other."""
        found = regions(reference)
        draws = rng.random((len(found), 2))
        return [
            self._click(region, number, reference, bool(side < 0.5) if luck < self.options.share else None)
            for number, (region, (luck, side)) in enumerate(zip(found, draws, strict=True), start=1)
        ]

    def _click(self, region: Region, number: int, reference: Volume, below: bool | None) -> Click:
        right, row, column = deepest(region, reference.spacing)
        index = right
        if below is not None:
            index = slice_beyond(region, reference, below=below, beyond_mm=self.options.beyond_mm)
        return Click((index, row, column), source="jittered" if index != right else "oracle", lesion=number)


def build(**options: Any) -> WrongSliceClickSimulator:
    """Make the simulator; options are the fields of `WrongSliceClickOptions`."""
    return WrongSliceClickSimulator(fill(WrongSliceClickOptions, options, "prompt simulator wrong_slice_click"))
