"""Boxes round the reference, made larger or smaller about their middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Per, Region, regions
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="scaled_box",
    summary="A box round each lesion, each slice or the whole tumour, scaled by a random factor along each axis.",
    prompts=("box",),
    source="oracle, or jittered when sigma > 0",
)
#: No side becomes shorter than this share of itself.
SMALLEST = 0.1


@dataclass(frozen=True)
class ScaledBoxOptions:
    """How boxes are drawn.

    Attributes:
        per: one box per 26-connected "lesion" (3D), per touched "slice" (one slice thick), or one for the "volume".
        sigma: standard deviation of the factor of each side, N(1, sigma), at least 0.1; 0 gives the exact box.
    """

    per: Per = "lesion"
    sigma: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise ConfigError(f"scaled_box: sigma is {self.sigma}; give 0 or more.")


@dataclass(frozen=True)
class ScaledBoxSimulator:
    """Scales boxes about their middle; the same numbers are drawn at every `sigma`."""

    options: ScaledBoxOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One box a region, clipped to the image and never empty; none for an empty reference."""
        found = regions(reference, self.options.per)
        draws = rng.normal(size=(len(found), 3))
        return [
            self._box(region, draw, reference, number)
            for number, (region, draw) in enumerate(zip(found, draws, strict=True), start=1)
        ]

    def _box(self, region: Region, draw: NDArray[np.float64], reference: Volume, number: int) -> Box:
        factor = np.maximum(1 + self.options.sigma * draw, SMALLEST)
        if self.options.per == "slice":
            factor[0] = 1.0
        start, stop, shape = np.array(region.start), np.array(region.stop), np.array(reference.shape)
        grown = np.rint((stop - start) * (factor - 1) / 2).astype(int)
        # A side of one voxel has a middle that shrinking must not cross.
        grown = np.maximum(grown, -((stop - start - 1) // 2))
        low, high = np.clip(start - grown, 0, shape - 1), np.clip(stop + grown, 1, shape)
        moved = np.abs(np.concatenate([low - start, high - stop]) * np.tile(reference.spacing, 2)).max()
        return Box(
            tuple(low.tolist()),
            tuple(high.tolist()),
            source="jittered" if self.options.sigma > 0 else "oracle",
            jitter_mm=float(moved),
            lesion=number if self.options.per == "lesion" else None,
        )


def build(**options: Any) -> ScaledBoxSimulator:
    """Make the simulator; options are the fields of `ScaledBoxOptions`."""
    return ScaledBoxSimulator(fill(ScaledBoxOptions, options, "prompt simulator scaled_box"))
