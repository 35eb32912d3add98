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
class WholeImageProposer:
    """Gives the same box whatever the image shows."""

    info: SimulatorInfo = INFO

    def propose(self, image: Volume, rng: np.random.Generator) -> list[Prompt]:
        """One box that spans the grid of the image. `rng` is not used."""
        return [Box((0, 0, 0), image.shape, source="automatic")]


def build(**options: Any) -> WholeImageProposer:
    """Make the proposer; it takes no options."""
    fill(WholeImageOptions, options, "prompt simulator whole_image")
    return WholeImageProposer()
