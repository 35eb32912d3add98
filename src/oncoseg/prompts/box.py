"""Boxes round the reference, tight or displaced by a known number of millimetres or pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill
from oncoseg.contracts import SimulatorInfo
from oncoseg.errors import ConfigError
from oncoseg.lesions import Per, Region, regions
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume

INFO = SimulatorInfo(
    name="box",
    summary="A box round each lesion, each slice or the whole tumour; optionally with a margin and jittered.",
    prompts=("box",),
    source="oracle, or jittered when displaced",
)


@dataclass(frozen=True)
class BoxOptions:
    """How boxes are drawn.

    Attributes:
        per: one box per 26-connected "lesion" (3D), per touched "slice" (one slice thick), or one for the "volume".
        jitter_mm: largest displacement of a side, in mm; 0 gives the exact box.
        mode: "sides": each side moves by its own U(-jitter, jitter), so boxes shift, shrink and grow;
            "outward": each side moves out by its own U(0, jitter), as MedSAM trains;
            "translate": the box keeps its size and moves by U(-jitter, jitter) along each axis, as SAM-Med2D trains.
        margin_mm: added to every side before the jitter.
        jitter_px: largest displacement in pixels of a slice, in place of `jitter_mm`; slices stay where they are.
        frame_px: what a pixel is: None for the image's own, else that of a slice shown to a network with its longer
            side at so many pixels (1024 for MedSAM).

    A box per slice keeps its slice: margin and jitter move rows and columns only.
    """

    per: Per = "lesion"
    jitter_mm: float = 0.0
    mode: Literal["sides", "outward", "translate"] = "sides"
    margin_mm: float = 0.0
    jitter_px: float = 0.0
    frame_px: int | None = None

    def __post_init__(self) -> None:
        for name in ("jitter_mm", "margin_mm", "jitter_px"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"box: {name} is {getattr(self, name)}; give 0 or more.")
        if self.jitter_mm and self.jitter_px:
            raise ConfigError("box: give jitter_mm or jitter_px, not both.")
        if self.frame_px is not None and self.frame_px < 1:
            raise ConfigError(f"box: frame_px is {self.frame_px}; give the pixels of the network's input, e.g. 1024.")

    def reach(self, image: Volume) -> NDArray[np.float64]:
        """Largest displacement in voxels of an image: slices, rows, columns."""
        if not self.jitter_px:
            return self.jitter_mm / np.array(image.spacing)
        pixel = 1.0 if self.frame_px is None else max(image.shape[1:]) / self.frame_px
        return self.jitter_px * pixel * np.array([0.0, 1.0, 1.0])


@dataclass(frozen=True)
class BoxSimulator:
    """Draws boxes round the regions of the reference.

    The same numbers are drawn at every jitter, so with one seed a box at 10 mm is displaced in
    the same direction as at 5 mm, twice as far: curves over the jitter are paired.
    """

    options: BoxOptions
    info: SimulatorInfo = INFO

    def __call__(self, reference: Volume, rng: np.random.Generator, shown: Volume | None = None) -> list[Prompt]:
        """One box a region, clipped to the image and never empty; none for an empty reference."""
        made = self.drawn(regions(reference, self.options.per), reference, rng)
        if self.options.per != "lesion":
            return [*made]
        return [replace(box, lesion=number) for number, box in enumerate(made, start=1)]

    def drawn(self, found: Sequence[Region], reference: Volume, rng: np.random.Generator) -> list[Box]:
        """The same for regions of the reference that were found before."""
        draws = rng.uniform(-1.0, 1.0, size=(len(found), 2, 3))
        return [self._box(region, draw, reference) for region, draw in zip(found, draws, strict=True)]

    def _box(self, region: Region, draw: NDArray[np.float64], reference: Volume) -> Box:
        options, shape = self.options, np.array(reference.shape)
        margin = np.rint(options.margin_mm / np.array(reference.spacing)).astype(int)
        moved = np.rint(_displacement(draw, options.mode) * options.reach(reference)).astype(int)
        if options.per == "slice":
            margin[0], moved[:, 0] = 0, 0
        start, stop = _never_empty(region.start - margin + moved[0], region.stop + margin + moved[1])
        start = np.clip(start, 0, shape - 1)
        stop = np.clip(stop, start + 1, shape)
        return Box(
            tuple(start.tolist()),
            tuple(stop.tolist()),
            source="jittered" if options.jitter_mm or options.jitter_px else "oracle",
            jitter_mm=options.jitter_mm,
            jitter_px=options.jitter_px,
        )


def build(**options: Any) -> BoxSimulator:
    """Make the simulator; options are the fields of `BoxOptions`."""
    return BoxSimulator(fill(BoxOptions, options, "prompt simulator box"))


def _displacement(draw: NDArray[np.float64], mode: str) -> NDArray[np.float64]:
    """How far the (start, stop) sides move along the array axes, in units of the jitter."""
    if mode == "outward":
        return np.stack([-np.abs(draw[0]), np.abs(draw[1])])
    return np.stack([draw[0], draw[0]]) if mode == "translate" else draw


def _never_empty(start: NDArray[np.int_], stop: NDArray[np.int_]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Sides that met or crossed become one voxel in their middle."""
    middle = (start + stop) // 2
    crossed = stop <= start
    return np.where(crossed, middle, start), np.where(crossed, middle + 1, stop)
