"""One click on the centroid of each lesion, slice or tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.lesions import Per, nearest_inside, regions
from oncoseg.prompt import Click, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="centre_of_mass",
    summary="A positive click on the voxel nearest to the centroid of each lesion, each slice or the whole tumour.",
    prompts=("click",),
    source="oracle",
)


@dataclass(frozen=True)
class CentreOfMassOptions:
    """Where clicks are placed.

    Attributes:
        per: one click per 26-connected "lesion", per touched "slice", or one for the "volume".
    """

    per: Per = "lesion"


@dataclass(frozen=True)
class CentreOfMassSimulator:
    """Clicks the voxel of the region that is nearest to its centroid in mm, so that a hollow region is hit too."""

    options: CentreOfMassOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One positive click a region; none for an empty reference. `rng` is not used."""
        per, clicks = self.options.per, []
        for number, region in enumerate(regions(reference, per), start=1):
            centre = np.argwhere(region.voxels).mean(axis=0)
            index = nearest_inside(region, centre + region.start, reference.spacing)
            clicks.append(Click(index, source="oracle", lesion=number if per == "lesion" else None))
        return [*clicks]


def build(**options: Any) -> CentreOfMassSimulator:
    """Make the simulator; options are the fields of `CentreOfMassOptions`."""
    return CentreOfMassSimulator(fill(CentreOfMassOptions, options, "prompt simulator centre_of_mass"))
