"""One click in the middle of each lesion, slice or tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.lesions import Per, Region, regions
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
        per = self.options.per
        return [Click(_deepest(r, reference.spacing, per == "slice"), source="oracle") for r in regions(reference, per)]


def build(**options: Any) -> CentreClickSimulator:
    """Make the simulator; options are the fields of `CentreClickOptions`."""
    return CentreClickSimulator(fill(CentreClickOptions, options, "prompt simulator centre_click"))


def _deepest(region: Region, spacing: tuple[float, float, float], in_plane: bool) -> tuple[int, int, int]:
    """The voxel with the largest distance to the outside; among equals the one nearest to the centroid."""
    rim = ((0, 0) if in_plane else (1, 1), (1, 1), (1, 1))
    padded = np.pad(region.voxels, rim)
    if in_plane:
        depth = distance_transform_edt(padded[0], sampling=spacing[1:])[None]
    else:
        depth = distance_transform_edt(padded, sampling=spacing)
    deepest = np.argwhere(depth >= depth.max() * (1 - 1e-9))
    centroid = np.argwhere(padded).mean(axis=0)
    nearest = deepest[np.argmin(np.linalg.norm((deepest - centroid) * spacing, axis=1))]
    slice_, row, column = (nearest + region.start - [before for before, _ in rim]).tolist()
    return slice_, row, column
