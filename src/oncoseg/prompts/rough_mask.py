"""The reference with its border moved in or out: a mask as another method or a hurried hand leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Per, Region, depth_mm, regions
from oncoseg.prompt import MaskPrompt, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="rough_mask",
    summary="A mask of each lesion, each slice or the whole tumour with its border moved in or out.",
    prompts=("mask",),
    source="oracle, or jittered when moved",
)


@dataclass(frozen=True)
class RoughMaskOptions:
    """How rough.

    Attributes:
        per: one mask per 26-connected "lesion", per touched "slice", or one for the "volume".
        jitter_mm: by how much the border moves at most; 0 gives the reference itself.
        mode: "either" draws U(-jitter, jitter) for each mask, "eroded" moves all of them in by the jitter, "dilated"
            out.
    """

    per: Per = "lesion"
    jitter_mm: float = 3.0
    mode: Literal["either", "eroded", "dilated"] = "either"

    def __post_init__(self) -> None:
        if not 0 <= self.jitter_mm < float("inf"):
            raise ConfigError(f"rough_mask: jitter_mm is {self.jitter_mm}; give 0 or more millimetres.")


@dataclass(frozen=True)
class RoughMaskSimulator:
    """Erodes or dilates regions by a distance in mm; the same numbers are drawn at every `jitter_mm`."""

    options: RoughMaskOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One mask a region, never empty; none for an empty reference."""
        options = self.options
        found = regions(reference, options.per)
        draws = rng.uniform(-1.0, 1.0, size=len(found))
        fixed = {"either": None, "eroded": -1.0, "dilated": 1.0}[options.mode]
        return [
            MaskPrompt(
                self._mask(region, options.jitter_mm * (draw if fixed is None else fixed), reference),
                source="jittered" if options.jitter_mm > 0 else "oracle",
                lesion=number if options.per == "lesion" else None,
                jitter_mm=options.jitter_mm,
            )
            for number, (region, draw) in enumerate(zip(found, draws, strict=True), start=1)
        ]

    def _mask(self, region: Region, by_mm: float, reference: Volume) -> Volume:
        if by_mm > 0:
            return reference.with_voxels(_dilated(region, by_mm, reference, flat=self.options.per == "slice"))
        return reference.with_voxels(_eroded(region, -by_mm, reference))


def build(**options: Any) -> RoughMaskSimulator:
    """Make the simulator; options are the fields of `RoughMaskOptions`."""
    return RoughMaskSimulator(fill(RoughMaskOptions, options, "prompt simulator rough_mask"))


def _eroded(region: Region, by_mm: float, reference: Volume) -> NDArray[np.bool_]:
    whole = np.zeros(reference.shape, bool)
    depth = depth_mm(region, reference.spacing)
    # The deepest voxels are left of a region that is thinner than the distance.
    whole[_place(region.start, region.stop)] = depth > min(by_mm, depth.max() * (1 - 1e-9))
    return whole


def _dilated(region: Region, by_mm: float, reference: Volume, *, flat: bool) -> NDArray[np.bool_]:
    whole = np.zeros(reference.shape, bool)
    whole[_place(region.start, region.stop)] = region.voxels
    margin = np.ceil(by_mm / np.array(reference.spacing)).astype(int) * [not flat, True, True]
    around = _place(np.maximum(region.start - margin, 0), np.minimum(region.stop + margin, reference.shape))
    whole[around] = distance_transform_edt(~whole[around], sampling=reference.spacing) <= by_mm
    return whole


def _place(start: Sequence[int] | NDArray[np.int_], stop: Sequence[int] | NDArray[np.int_]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
