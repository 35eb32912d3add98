"""One box round the whole image: a prompt without information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="whole_image",
    summary="One box round the whole image: what a promptable model does when it is told nothing.",
    prompts=("box",),
    source="automatic",
)


@dataclass(frozen=True)
class WholeImageOptions:
    """There is nothing to choose."""


@dataclass(frozen=True)
class WholeImageSimulator:
    """Gives the same box whatever the reference holds, also when it is empty."""

    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One box that spans the grid of the reference, whose voxels are not looked at."""
        return [Box((0, 0, 0), reference.shape, source="automatic")]


def build(**options: Any) -> WholeImageSimulator:
    """Make the simulator; it takes no options."""
    fill(WholeImageOptions, options, "prompt simulator whole_image")
    return WholeImageSimulator()
