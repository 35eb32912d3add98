"""A 3D box with the right rows and columns and the wrong slices: what if the range of slices is off?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Region, regions
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="shifted_range",
    summary="A 3D box round each lesion whose range of slices is shifted, widened or narrowed.",
    prompts=("box",),
    source="oracle, or jittered when shifted",
)


@dataclass(frozen=True)
class ShiftedRangeOptions:
    """How far slices are off.

    Attributes:
        shift_slices: by how many slices.
        shift_mm: by how many mm, in place of `shift_slices`, rounded to slices.
        mode: "shift" moves both ends the same way, up or down as drawn; "widen" moves both outwards, "narrow" both
            inwards, as long as a slice is left.
    """

    shift_slices: int = 2
    shift_mm: float = 0.0
    mode: Literal["shift", "widen", "narrow"] = "shift"

    def __post_init__(self) -> None:
        if self.shift_slices < 0 or not 0 <= self.shift_mm < float("inf"):
            raise ConfigError(
                f"shifted_range: shift_slices is {self.shift_slices} and shift_mm {self.shift_mm}; give 0 or more."
            )


@dataclass(frozen=True)
class ShiftedRangeSimulator:
    """Tight boxes with slices off by a known number; the direction is the same at every shift."""

    options: ShiftedRangeOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One box a lesion, clipped to the image with at least one slice; none for an empty reference."""
        found = regions(reference)
        up = rng.random(len(found)) < 0.5
        return [
            self._box(region, number, reference, 1 if direction else -1)
            for number, (region, direction) in enumerate(zip(found, up, strict=True), start=1)
        ]

    def _box(self, region: Region, number: int, reference: Volume, direction: int) -> Box:
        options, thickness = self.options, reference.spacing[0]
        by = round(options.shift_mm / thickness) if options.shift_mm else options.shift_slices
        first, last = region.start[0], region.stop[0] - 1
        if options.mode == "shift":
            first, last = first + direction * by, last + direction * by
        else:
            by = by if options.mode == "widen" else -min(by, (last - first) // 2)
            first, last = first - by, last + by
        first, last = (min(max(n, 0), reference.shape[0] - 1) for n in (first, last))
        return Box(
            (first, *region.start[1:]),
            (last + 1, *region.stop[1:]),
            source="jittered" if by else "oracle",
            jitter_mm=abs(by) * thickness,
            lesion=number,
        )


def build(**options: Any) -> ShiftedRangeSimulator:
    """Make the simulator; options are the fields of `ShiftedRangeOptions`."""
    return ShiftedRangeSimulator(fill(ShiftedRangeOptions, options, "prompt simulator shifted_range"))
