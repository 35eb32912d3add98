"""Clicks on random wrong voxels, as SAM-Med2D and SAM 2 draw them in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.mistakes import at, correction, mistakes
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="uniform_error",
    summary="Clicks on uniformly drawn wrong voxels: positive where tumour was missed, negative where it was added.",
    prompts=("click",),
    source="simulated user",
    doi="10.48550/arXiv.2308.16184",
    corrects=True,
)


@dataclass(frozen=True)
class UniformErrorOptions:
    """How often is clicked.

    Attributes:
        clicks: number of clicks, drawn with replacement; SAM-Med2D draws 1, 3, 5 or 9 of them a round.
    """

    clicks: int = 1

    def __post_init__(self) -> None:
        if self.clicks < 1:
            raise ConfigError(f"uniform_error: clicks is {self.clicks}; give 1 or more.")


@dataclass(frozen=True)
class UniformErrorSimulator:
    """Clicks wrong voxels, each equally likely, so that the more frequent kind of error is clicked more often."""

    options: UniformErrorOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """`clicks` clicks on the errors of `shown`, of which None misses all; none where nothing is wrong."""
        draws = rng.random(self.options.clicks)
        wrong = [region for region in mistakes(reference, shown) if region is not None]
        sizes = [int(np.count_nonzero(region.voxels)) for region in wrong]
        clicks: list[Prompt] = []
        for draw in draws if wrong else ():
            first = draw * sum(sizes) < sizes[0]
            region, left = (wrong[0], draw * sum(sizes)) if first else (wrong[1], draw * sum(sizes) - sizes[0])
            share = left / np.count_nonzero(region.voxels)
            clicks.append(correction(at(region, float(share)), reference))
        return clicks


def build(**options: Any) -> UniformErrorSimulator:
    """Make the simulator; options are the fields of `UniformErrorOptions`."""
    return UniformErrorSimulator(fill(UniformErrorOptions, options, "prompt simulator uniform_error"))
