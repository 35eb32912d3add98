"""A click between the middle and the border of each lesion: how much does it matter where one clicks?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Per, Region, deepest, depth_mm, regions
from oncoseg.prompt import Click, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="edge_click",
    summary="A positive click near the border of each lesion, each slice or the whole tumour, inside it.",
    prompts=("click",),
    source="simulated user",
)


@dataclass(frozen=True)
class EdgeClickOptions:
    """How near to the border.

    Attributes:
        per: one click per 26-connected "lesion", per touched "slice", or one for the "volume".
        off_centre: 0 for the deepest voxel, 1 for one on the border, and between them depth in mm in proportion.
    """

    per: Per = "lesion"
    off_centre: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.off_centre <= 1:
            raise ConfigError(f"edge_click: off_centre is {self.off_centre}; give a share from 0 to 1.")


@dataclass(frozen=True)
class EdgeClickSimulator:
    """Clicks the voxel of the wanted depth that lies most nearly in a drawn direction from the deepest one.

    With one seed the direction is the same at every `off_centre`, so curves over it are paired.
    """

    options: EdgeClickOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One positive click a region; none for an empty reference."""
        per = self.options.per
        found = regions(reference, per)
        directions = rng.normal(size=(len(found), 3))
        return [
            Click(
                self._place(region, direction, reference.spacing),
                source="simulated user",
                lesion=number if per == "lesion" else None,
            )
            for number, (region, direction) in enumerate(zip(found, directions, strict=True), start=1)
        ]

    def _place(
        self, region: Region, direction: NDArray[np.float64], spacing: tuple[float, float, float]
    ) -> tuple[int, int, int]:
        middle = deepest(region, spacing)
        if not self.options.off_centre:
            return middle
        depth = depth_mm(region, spacing)
        inside = depth[depth > 0]
        wanted = inside.max() - self.options.off_centre * (inside.max() - inside.min())
        # Half of the smallest voxel side on either side of the wanted depth; the nearest depth is always among them.
        off = np.where(depth > 0, np.abs(depth - wanted), np.inf)
        candidates = np.argwhere(off <= max(off.min(), min(spacing) / 2)) + region.start
        steps = (candidates - np.array(middle)) * np.array(spacing)
        lengths = np.maximum(np.linalg.norm(steps, axis=1), 1e-9)
        slice_, row, column = candidates[np.argmax(steps @ direction / lengths)].tolist()
        return slice_, row, column


def build(**options: Any) -> EdgeClickSimulator:
    """Make the simulator; options are the fields of `EdgeClickOptions`."""
    return EdgeClickSimulator(fill(EdgeClickOptions, options, "prompt simulator edge_click"))
