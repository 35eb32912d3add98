"""One click that halves the volume of each lesion, slice or tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.lesions import Per, nearest_inside, regions
from oncoseg.prompt import Click, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="centre_of_volume",
    summary="A positive click that has half of the lesion, slice or tumour on either side of it, axis by axis.",
    prompts=("click",),
    source="oracle",
)


@dataclass(frozen=True)
class CentreOfVolumeOptions:
    """Where clicks are placed.

    Attributes:
        per: one click per 26-connected "lesion", per touched "slice", or one for the "volume".
    """

    per: Per = "lesion"


@dataclass(frozen=True)
class CentreOfVolumeSimulator:
    """Clicks the slice with half of the voxels on either side of it, on that slice likewise row and column."""

    options: CentreOfVolumeOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One positive click a region; none for an empty reference. `rng` is not used."""
        per, clicks = self.options.per, []
        for number, region in enumerate(regions(reference, per), start=1):
            centre = _halving(region.voxels)
            index = nearest_inside(region, centre + region.start, reference.spacing)
            clicks.append(Click(index, source="oracle", lesion=number if per == "lesion" else None))
        return [*clicks]


def build(**options: Any) -> CentreOfVolumeSimulator:
    """Make the simulator; options are the fields of `CentreOfVolumeOptions`."""
    return CentreOfVolumeSimulator(fill(CentreOfVolumeOptions, options, "prompt simulator centre_of_volume"))


def _halving(voxels: NDArray[np.bool_]) -> NDArray[np.float64]:
    slice_ = _median(voxels.sum(axis=(1, 2)))
    row = _median(voxels[slice_].sum(axis=1))
    return np.array([slice_, row, _median(voxels[slice_, row])], dtype=np.float64)


def _median(counts: NDArray[Any]) -> int:
    """The first position up to which at least half of everything is counted."""
    running = np.cumsum(counts)
    return int(np.searchsorted(running, running[-1] / 2))
