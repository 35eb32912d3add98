"""Clicks on wrong voxels, missed and added tumour equally often."""

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
    name="balanced_error",
    summary="Clicks on wrong voxels; missed and added tumour are clicked equally often, whatever their sizes.",
    prompts=("click",),
    source="simulated user",
    corrects=True,
)


@dataclass(frozen=True)
class BalancedErrorOptions:
    """How often is clicked.

    Attributes:
        clicks: number of clicks, drawn with replacement.
    """

    clicks: int = 1

    def __post_init__(self) -> None:
        if self.clicks < 1:
            raise ConfigError(f"balanced_error: clicks is {self.clicks}; give 1 or more.")


@dataclass(frozen=True)
class BalancedErrorSimulator:
    """Tosses a coin between the two kinds of error, then clicks any voxel of that kind."""

    options: BalancedErrorOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """`clicks` clicks on the errors of `shown`, of which None misses all; none where nothing is wrong."""
        draws = rng.random((self.options.clicks, 2))
        wrong = [region for region in mistakes(reference, shown) if region is not None]
        if not wrong:
            return []
        return [correction(at(wrong[int(kind * len(wrong))], float(place)), reference) for kind, place in draws]


def build(**options: Any) -> BalancedErrorSimulator:
    """Make the simulator; options are the fields of `BalancedErrorOptions`."""
    return BalancedErrorSimulator(fill(BalancedErrorOptions, options, "prompt simulator balanced_error"))
