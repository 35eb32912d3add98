"""One click in the middle of each lesion, slice or tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.lesions import Per, deepest, regions
from oncoseg.prompt import Click, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="centre_click",
    summary="A positive click on the deepest voxel of each lesion, each slice or the whole tumour.",
    prompts=("click",),
    source="oracle",
)


@dataclass(frozen=True)
class CentreClickOptions:
    """Where clicks are placed.

    Attributes:
        per: one click per 26-connected "lesion", per touched "slice", or one for the "volume".
    """

    per: Per = "lesion"


@dataclass(frozen=True)
class CentreClickSimulator:
    """Clicks the voxel that is furthest from the region's surface, in mm; always inside the region."""

    options: CentreClickOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One positive click a region; none for an empty reference. `rng` is not used."""
        per, spacing = self.options.per, reference.spacing
        return [
            Click(deepest(region, spacing), source="oracle", lesion=number if per == "lesion" else None)
            for number, region in enumerate(regions(reference, per), start=1)
        ]


def build(**options: Any) -> CentreClickSimulator:
    """Make the simulator; options are the fields of `CentreClickOptions`."""
    return CentreClickSimulator(fill(CentreClickOptions, options, "prompt simulator centre_click"))
