"""What clinical objects are written from: named masks, and what drew them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

import oncoseg
from oncoseg.errors import GridMismatchError, InputError
from oncoseg.volume import Volume

#: RT ROI Interpreted Types (PS3.3 C.8.8.8.1) that masks can have.
TYPES = (
    "GTV",
    "CTV",
    "PTV",
    "ORGAN",
    "EXTERNAL",
    "AVOIDANCE",
    "CAVITY",
    "CONTROL",
    "SUPPORT",
    "FIXATION",
    "DOSE_REGION",
)
#: Said in every object.
RESEARCH_USE = "Research use only. Not approved, not for clinical decisions."
#: Characters that the VRs SH, LO and ST hold.
SHORT, LONG, TEXT = 16, 64, 1024
#: How far voxels of a mask may lie beside voxels of the image, as a share of a voxel.
_OFF_GRID = 0.05


@dataclass(frozen=True)
class MadeBy:
    """What drew the masks; goes into every object.

    Attributes:
        algorithm: name of the model; "" when nobody said.
        version: of the software it ran in.
        weights_sha256: hex; "" when unknown or there are none.
        prompts: what it was given, in words or JSON; "" for nothing.
        generation: how, in DICOM's words; None when nobody said.
    """

    algorithm: str = ""
    version: str = oncoseg.__version__
    weights_sha256: str = ""
    prompts: str = ""
    generation: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"] | None = None

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        if self.generation == "MANUAL":
            return f"Drawn by people, written by oncoseg {self.version}."
        parts = [f"Drawn by {self.algorithm or 'an algorithm that was not stated'}, oncoseg {self.version}"]
        if self.weights_sha256:
            parts.append(f"weights sha256 {self.weights_sha256}")
        parts.append(f"prompts: {self.prompts or 'none stated'}")
        return "; ".join(parts) + "."


@dataclass(frozen=True, eq=False)
class Structure:
    """One region to write.

    Attributes:
        name: of the ROI or segment, up to 64 characters.
        mask: bool, on the grid of the image.
        kind: RT ROI Interpreted Type, one of `TYPES`.
        probability: float32 in [0, 1] on the same grid, written in place of the mask where the format can.

    Raises:
        InputError: for an empty or too long name, another kind, or a mask that is not boolean.
    """

    name: str
    mask: Volume
    kind: str
    probability: Volume | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > LONG or "\\" in self.name or not self.name.isprintable():
            raise InputError(
                f"ROI name '{self.name}' cannot be written: 1 to {LONG} printable characters without backslash."
            )
        if self.kind not in TYPES:
            raise InputError(f"ROI '{self.name}': the type '{self.kind}' is none of {', '.join(TYPES)}.")
        if self.mask.voxels.dtype != bool:
            raise InputError(f"ROI '{self.name}': the mask must be boolean, got {self.mask.voxels.dtype}.")


def kind_of(name: str) -> str:
    """The interpreted type that a name says (AAPM TG-263: GTV, CTV and PTV lead the name); ORGAN for others.

    Example:
        >>> kind_of("GTV-1"), kind_of("tumour"), kind_of("Lung_L")
        ('GTV', 'GTV', 'ORGAN')
    """
    led = re.match(r"[^a-z]*(gtv|ctv|ptv)", name, re.IGNORECASE)
    if led:
        return led[1].upper()
    if re.search(r"tumou?r|lesion|nodule|cancer|neoplasm", name, re.IGNORECASE):
        return "GTV"
    return "EXTERNAL" if re.fullmatch(r"(external|body)", name, re.IGNORECASE) else "ORGAN"


def require_distinct(names: Sequence[str], taken: Sequence[str] = ()) -> None:
    """Raise InputError when two names are equal but for case and spaces, among themselves or with those taken."""
    seen = {name.strip().casefold() for name in taken}
    for name in names:
        key = name.strip().casefold()
        if key in seen:
            raise InputError(f"There would be two ROIs called '{name}'. Choose another name: --roi NAME.")
        seen.add(key)


def onto_grid(volume: Volume, grid: Volume, what: str) -> Volume:
    """The same voxels on the full grid of an image: turned, flipped and set in, never interpolated.

    Args:
        volume: bool or float; its voxels must be voxels of `grid`.
        grid: any volume on the grid of the image.
        what: names both in the message.

    Returns:
        A volume of the shape and affine of `grid`; zero where `volume` does not reach.

    Raises:
        GridMismatchError: when voxels lie beside those of the image, or outside it.
    """
    if volume.same_grid(grid):
        return grid.with_voxels(volume.voxels)
    steps = np.linalg.solve(grid.affine[:3, :3], volume.affine[:3, :3])
    first = grid.mm_to_index(volume.affine[:3, 3])
    last = first + steps @ (np.array(volume.shape) - 1)
    whole = np.rint(steps)
    turned = (np.abs(whole).sum(axis=0) == 1).all() and (np.abs(whole).sum(axis=1) == 1).all()
    away = max(np.abs(p - np.rint(p)).max() for p in (first, last))
    low, high = (np.rint(f(first, last)).astype(int) for f in (np.minimum, np.maximum))
    drift = np.abs(steps - whole) @ np.array(volume.shape)
    if not turned or max(away, drift.max()) > _OFF_GRID or (low < 0).any() or (high >= np.array(grid.shape)).any():
        grid.require_same_grid(volume, what)
        raise GridMismatchError(f"{what} are not on the same grid.")
    order = np.abs(whole).argmax(axis=1)  # axis of the volume that each axis of the grid is
    voxels = volume.voxels.transpose(order)
    flips = tuple(slice(None, None, int(whole[axis, source])) for axis, source in enumerate(order))
    placed = np.zeros(grid.shape, volume.voxels.dtype)
    placed[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = voxels[flips]
    return grid.with_voxels(placed)
