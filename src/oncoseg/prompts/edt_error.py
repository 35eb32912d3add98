"""A click well inside the thickest error (Sofiiuk et al. 2022, RITM, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.lesions import Region, depth_mm
from oncoseg.mistakes import at, correction, mistakes
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="edt_error",
    summary="A click in the inner half of the thickest error, positive or negative, as RITM draws them.",
    prompts=("click",),
    source="simulated user",
    doi="10.48550/arXiv.2102.06583",
    corrects=True,
)


@dataclass(frozen=True)
class EdtErrorOptions:
    """There is nothing to choose."""


@dataclass(frozen=True)
class EdtErrorSimulator:
    """Clicks the kind of error that reaches deepest, on any voxel deeper than half of that.

    Depth is the distance in mm to the nearest voxel that is right; when both kinds are equally deep, what was added
    is clicked.
    """

    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One click on the errors of `shown`, of which None misses all; none where nothing is wrong."""
        draw = float(rng.random())
        # Added comes first, so that it wins when both are equally deep.
        missed, added = mistakes(reference, shown)
        deep = [(r, depth_mm(r, reference.spacing)) for r in (added, missed) if r is not None]
        if not deep:
            return []
        chosen: tuple[Region, NDArray[np.float64]] = max(deep, key=lambda pair: float(pair[1].max()))
        region, depth = chosen
        return [correction(at(region, draw, depth > depth.max() / 2), reference)]


def build(**options: Any) -> EdtErrorSimulator:
    """Make the simulator; it takes no options."""
    fill(EdtErrorOptions, options, "prompt simulator edt_error")
    return EdtErrorSimulator()
