"""What a phantom data set is made of; every number can be set from TOML or the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oncoseg.errors import ConfigError

Position = Literal["solitary", "juxta_pleural", "juxta_vascular", "mediastinal"]
Texture = Literal["solid", "part_solid", "ground_glass"]
Kernel = Literal["soft", "sharp"]


@dataclass(frozen=True)
class PhantomConfig:
    """A set of procedural thorax CTs.

    Attributes:
        cases: number of cases; `phantom-0000`, `phantom-0001` ...
        patients: number of patients the cases are spread over; cases of a patient share the anatomy and
            differ in tumours and noise. None: one case each.
        seed: equal seed and options, equal voxels.
        shape: voxels (slices, rows, columns).
        spacing: mm (slice, row, column). The anatomy is that of an adult and shrinks where the field is too
            small for it: about 390 x 270 x 330 mm (x, y, z) are needed without arms.
        tumours: fewest and most tumours of a case that is not empty.
        empty_share: share of cases without any tumour, 0 to 1.
        volume_ml: smallest and largest tumour; drawn log-uniformly.
        positions: where tumours may lie, drawn evenly.
        textures: solid, part-solid or ground-glass, drawn evenly.
        irregularity: 0 a smooth ellipsoid, 1 strongly lobulated and spiculated; drawn from this range.
        contrast_hu: HU of solid tumour above unenhanced muscle.
        enhancement_hu: HU that contrast medium adds to blood; drawn per patient.
        noise_hu: standard deviation of the noise in HU.
        kernel: `soft` blurs and correlates the noise, `sharp` hardly does.
        arms: whether the arms lie beside the body.
        table: whether the couch is in the picture.
    """

    cases: int = 24
    patients: int | None = None
    seed: int = 0
    shape: tuple[int, int, int] = (100, 256, 256)
    spacing: tuple[float, float, float] = (3.0, 1.5, 1.5)
    tumours: tuple[int, int] = (1, 2)
    empty_share: float = 0.0
    volume_ml: tuple[float, float] = (0.5, 40.0)
    positions: tuple[Position, ...] = ("solitary", "juxta_pleural", "juxta_vascular", "mediastinal")
    textures: tuple[Texture, ...] = ("solid", "solid", "part_solid", "ground_glass")
    irregularity: tuple[float, float] = (0.1, 0.7)
    contrast_hu: tuple[float, float] = (-10.0, 40.0)
    enhancement_hu: tuple[float, float] = (0.0, 110.0)
    noise_hu: float = 14.0
    kernel: Kernel = "soft"
    arms: bool = False
    table: bool = True

    def __post_init__(self) -> None:
        _require(self.cases >= 1, "cases", self.cases, "at least 1")
        _require(self.patients is None or 1 <= self.patients <= self.cases, "patients", self.patients, "1 to cases")
        _require(min(self.shape) >= 8, "shape", self.shape, "at least 8 voxels an axis")
        _require(min(self.spacing) > 0, "spacing", self.spacing, "positive mm")
        _require(0 <= self.tumours[0] <= self.tumours[1], "tumours", self.tumours, "fewest and most, from 0")
        _require(0 <= self.empty_share <= 1, "empty_share", self.empty_share, "0 to 1")
        _require(0 < self.volume_ml[0] <= self.volume_ml[1], "volume_ml", self.volume_ml, "smallest and largest")
        _require(bool(self.positions), "positions", self.positions, "one or more")
        _require(bool(self.textures), "textures", self.textures, "one or more")
        low, high = self.irregularity
        _require(0 <= low <= high <= 1, "irregularity", self.irregularity, "lowest and highest, 0 to 1")
        for key in ("contrast_hu", "enhancement_hu"):
            low, high = getattr(self, key)
            _require(low <= high, key, (low, high), "lowest and highest")
        _require(self.noise_hu >= 0, "noise_hu", self.noise_hu, "0 or more")


def _require(right: bool, key: str, value: object, wanted: str) -> None:
    if not right:
        raise ConfigError(f"data set phantom: '{key}' is {value!r}; it must be {wanted}.")
