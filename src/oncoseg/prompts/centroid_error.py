"""A click in the middle of the largest error, as interactive models are evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.lesions import components, nearest_inside
from oncoseg.mistakes import correction, mistakes
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="centroid_error",
    summary="A click in the middle of the largest connected error, positive or negative.",
    prompts=("click",),
    source="simulated user",
    corrects=True,
)


@dataclass(frozen=True)
class CentroidErrorOptions:
    """There is nothing to choose."""


@dataclass(frozen=True)
class CentroidErrorSimulator:
    """Clicks the voxel of the largest 26-connected error that is nearest to its centroid.

    A model that does not follow a click is clicked on the same voxel again.
    """

    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One click on the errors of `shown`, of which None misses all; none where all is right. `rng` is not used."""
        found = [part for wrong in mistakes(reference, shown) if wrong is not None for part in components(wrong)]
        if not found:
            return []
        largest = max(found, key=lambda region: int(np.count_nonzero(region.voxels)))
        centroid = np.argwhere(largest.voxels).mean(axis=0) + largest.start
        return [correction(nearest_inside(largest, centroid, reference.spacing), reference)]


def build(**options: Any) -> CentroidErrorSimulator:
    """Make the simulator; it takes no options."""
    fill(CentroidErrorOptions, options, "prompt simulator centroid_error")
    return CentroidErrorSimulator()
