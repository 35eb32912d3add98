"""A box on the key slice of each lesion, and on none, some or all of its other slices."""

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
    name="key_slice",
    summary="A box on one slice of each lesion, which the model must carry to the others.",
    prompts=("box",),
    source="oracle",
)


@dataclass(frozen=True)
class KeySliceOptions:
    """Which slices get a box.

    Attributes:
        slice: the key slice: "largest" area of the lesion, or the "middle" of those it touches.
        missing: share of the lesion's other slices without a box: 1 boxes the key slice alone, 0 every slice. Those
            nearest to the key slice are boxed first.
    """

    slice: Literal["largest", "middle"] = "largest"
    missing: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.missing <= 1:
            raise ConfigError(f"key_slice: missing is {self.missing}; give a share from 0 to 1.")


@dataclass(frozen=True)
class KeySliceSimulator:
    """Boxes of one slice, tight round what each lesion shows there; boxes of one lesion carry its number."""

    options: KeySliceOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """At least one box a lesion; none for an empty reference. `rng` is not used."""
        return [
            _box(region, index, number)
            for number, region in enumerate(regions(reference), start=1)
            for index in self._slices(region)
        ]

    def _slices(self, region: Region) -> list[int]:
        """Indices in the region, in their order; every slice of a connected region has a voxel."""
        areas = region.voxels.sum(axis=(1, 2))
        key = int(np.argmax(areas)) if self.options.slice == "largest" else len(areas) // 2
        others = sorted((n for n in range(len(areas)) if n != key), key=lambda n: (abs(n - key), n))
        kept = round((1 - self.options.missing) * len(others))
        return sorted([key, *others[:kept]])


def build(**options: Any) -> KeySliceSimulator:
    """Make the simulator; options are the fields of `KeySliceOptions`."""
    return KeySliceSimulator(fill(KeySliceOptions, options, "prompt simulator key_slice"))


def _box(region: Region, index: int, number: int) -> Box:
    rows, columns = (np.flatnonzero(region.voxels[index].any(axis=axis)) for axis in (1, 0))
    first, top, left = region.start
    start = (first + index, top + int(rows[0]), left + int(columns[0]))
    stop = (first + index + 1, top + int(rows[-1]) + 1, left + int(columns[-1]) + 1)
    return Box(start, stop, source="oracle", lesion=number)
