"""A stroke across each lesion, as a user draws it with the mouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Region, deepest, depth_mm, regions
from oncoseg.mistakes import at
from oncoseg.prompt import Index, Prompt, Scribble, line_through
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="scribble",
    summary="A stroke inside each lesion on its largest slice, or one on every touched slice.",
    prompts=("scribble",),
    source="simulated user",
)


@dataclass(frozen=True)
class ScribbleOptions:
    """How strokes are drawn.

    Attributes:
        every_slice: a stroke on each slice of a lesion; False draws on the slice of the largest area alone.
        turns: places that the stroke passes beside the deepest one, each in the inner half of the area.
    """

    every_slice: bool = False
    turns: int = 2

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise ConfigError(f"scribble: turns is {self.turns}; give 1 or more.")


@dataclass(frozen=True)
class ScribbleSimulator:
    """Joins the deepest voxel of a slice and drawn ones by straight lines, and keeps what lies in the lesion."""

    options: ScribbleOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """At least one positive stroke a lesion; none for an empty reference."""
        strokes: list[Prompt] = []
        for number, region in enumerate(regions(reference), start=1):
            areas = region.voxels.sum(axis=(1, 2))
            draws = rng.random((len(areas), self.options.turns))
            chosen = range(len(areas)) if self.options.every_slice else [int(np.argmax(areas))]
            for index in chosen:
                line = _stroke(_slice(region, index), draws[index], reference.spacing)
                strokes.append(Scribble(line, source="simulated user", lesion=number))
        return strokes


def build(**options: Any) -> ScribbleSimulator:
    """Make the simulator; options are the fields of `ScribbleOptions`."""
    return ScribbleSimulator(fill(ScribbleOptions, options, "prompt simulator scribble"))


def _slice(region: Region, index: int) -> Region:
    first, row, column = region.start
    _, last_row, last_column = region.stop
    here = first + index
    return Region((here, row, column), (here + 1, last_row, last_column), region.voxels[index : index + 1])


def _stroke(area: Region, draws: NDArray[np.float64], spacing: tuple[float, float, float]) -> tuple[Index, ...]:
    depth = depth_mm(area, spacing)
    places = [at(area, float(draw), depth >= depth.max() / 2) for draw in draws]
    middle = deepest(area, spacing)
    line = line_through([places[0], middle, *places[1:]])
    start = np.array(area.start)
    return tuple(voxel for voxel in line if area.voxels[tuple(np.array(voxel) - start)])
