"""Clicks on random voxels of each lesion, slice or tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Per, regions
from oncoseg.prompt import Click, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="random_click",
    summary="Positive clicks on uniformly drawn voxels of each lesion, each slice or the whole tumour.",
    prompts=("click",),
    source="simulated user",
)


@dataclass(frozen=True)
class RandomClickOptions:
    """How many clicks are placed where.

    Attributes:
        per: clicks for each 26-connected "lesion", each touched "slice", or the "volume" as a whole.
        clicks: number of clicks a region; a voxel may be clicked twice.
    """

    per: Per = "lesion"
    clicks: int = 1

    def __post_init__(self) -> None:
        if self.clicks < 1:
            raise ConfigError(f"random_click: clicks is {self.clicks}; give 1 or more.")


@dataclass(frozen=True)
class RandomClickSimulator:
    """Clicks voxels of the reference, every voxel of a region equally likely."""

    options: RandomClickOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """`clicks` positive clicks a region; none for an empty reference."""
        found = regions(reference, self.options.per)
        draws = rng.random((len(found), self.options.clicks))
        clicks: list[Prompt] = []
        for number, (region, draw) in enumerate(zip(found, draws, strict=True), start=1):
            inside = np.argwhere(region.voxels) + region.start
            lesion = number if self.options.per == "lesion" else None
            clicks += [
                Click(tuple(inside[int(d * len(inside))].tolist()), source="simulated user", lesion=lesion)
                for d in draw
            ]
        return clicks


def build(**options: Any) -> RandomClickSimulator:
    """Make the simulator; options are the fields of `RandomClickOptions`."""
    return RandomClickSimulator(fill(RandomClickOptions, options, "prompt simulator random_click"))
