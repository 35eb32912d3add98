"""Nodule crops of LIDC-IDRI, moved out of the centre.

In the published crops the nodule sits in the exact middle of every slice and often fills all slices, so a
model that guesses the middle looks good. Each crop is therefore padded by a random amount on every side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from oncoseg.case import TUMOUR, Case
from oncoseg.config import fill, plain
from oncoseg.contracts import DatasetInfo, Entry
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.fingerprint import fingerprint
from oncoseg.io.case_files import CaseFiles, patient_of, read_case, without_suffix
from oncoseg.volume import Volume

INFO = DatasetInfo(
    name="lidc_nodules",
    title="LIDC-IDRI nodule crops, shifted and padded",
    summary="Give `root`: a folder with image/LIDC-IDRI-0001_R_1.nii.gz ... and nodule_mask/, same names.",
    licence="CC BY 3.0",
    doi="10.7937/K9/TCIA.2015.LO9QL9SX",
    modality="CT",
    warning=(
        "Cropped round the nodule: the crops were shifted and padded at random, but there is little else in the "
        "picture, so Dice is higher than on whole scans and finding nodules cannot be tested. "
        "Masks are a majority of readers and include a rim of air."
    ),
    cropped_round_reference=True,
)

_NOTE = "cropped round the nodule, then padded at random with mirrored surroundings of the crop"
#: HU of lung, used where a crop holds no voxel that could be lung.
_LUNG_HU = -850


@dataclass(frozen=True)
class LidcNodulesOptions:
    """Which crops and how they are padded.

    Attributes:
        root: folder that holds `image` and `nodule_mask`.
        seed: decides the padding of every case; the same seed and case give the same volume everywhere.
        margin_mm: each of the six sides is padded by its own U(0, margin); 0 leaves the crops as they are.
    """

    root: Path
    seed: int = 0
    margin_mm: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin_mm <= 200:
            raise ConfigError(f"lidc_nodules: margin_mm is {self.margin_mm}; give 0 to 200 mm.")


class LidcNodules:
    """669 nodules of 382 patients when complete; case `LIDC-IDRI-0001_R_1` is of patient `LIDC-IDRI-0001`."""

    info = INFO

    def __init__(self, options: LidcNodulesOptions) -> None:
        self.options = options
        images = sorted((options.root / "image").glob("LIDC-IDRI-*.nii.gz"))
        self._cases = {c.case: c for c in (_files(options.root, image) for image in images)}
        if not self._cases:
            raise InputError(f"{options.root} holds no image/LIDC-IDRI-*.nii.gz. {INFO.summary}")

    def entries(self) -> Sequence[Entry]:
        """Every nodule, sorted by name."""
        return [Entry(c.case, c.patient) for c in self._cases.values()]

    def load(self, case: str) -> Case:
        """Read one nodule, padded so that it is not in the middle.

        Raises:
            UnknownNameError: for a name not in `entries`.
            InputError: names the file that is wrong.
        """
        if case not in self._cases:
            raise UnknownNameError("case of lidc_nodules", case, self._cases)
        crop = read_case(self._cases[case])
        seed = int.from_bytes(hashlib.sha256(f"{self.options.seed} {case}".encode()).digest()[:8])
        image, mask = pad_at_random(crop.image, crop.mask(), self.options.margin_mm, rng=np.random.default_rng(seed))
        return Case(case, crop.patient, image, {TUMOUR: mask}, crop.facts, (_NOTE,))

    def fingerprint(self) -> str:
        """Hex SHA-256 of all files and of seed and margin."""
        about = {"seed": self.options.seed, "margin_mm": self.options.margin_mm}
        return fingerprint(self.options.root, (f for c in self._cases.values() for f in c.files), plain(about))


def build(**options: Any) -> LidcNodules:
    """Open the crops; options are the fields of `LidcNodulesOptions`."""
    return LidcNodules(fill(LidcNodulesOptions, options, "data set lidc_nodules"))


def pad_at_random(image: Volume, mask: Volume, margin_mm: float, *, rng: np.random.Generator) -> tuple[Volume, Volume]:
    """Image and mask, each side padded by its own U(0, margin_mm), in the same place of the patient.

    The padding mirrors the crop with the nodule replaced by lung, so that no second nodule without a mask
    appears. Where the nodule touches the side of the crop it ends there abruptly.
    """
    limit = np.array(margin_mm) / image.spacing
    before, after = np.rint(rng.uniform(0, 1, size=(2, 3)) * limit).astype(int)
    widths = list(zip(before.tolist(), after.tolist(), strict=True))
    texture = rng.permutation(_surroundings(image.voxels, mask.voxels))
    without = image.voxels.copy()
    grown = binary_dilation(mask.voxels, np.ones((1, 3, 3)), iterations=2)
    without[grown] = np.resize(texture, int(grown.sum()))
    padded = np.pad(without, widths, mode="reflect")
    inside = tuple(slice(b, b + n) for b, n in zip(before, image.shape, strict=True))
    padded[inside] = image.voxels
    affine = image.affine.copy()
    affine[:3, 3] = image.index_to_mm(-before)
    return Volume(padded, affine), Volume(np.pad(mask.voxels, widths), affine)


def _surroundings(image: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """HU of the crop's lung outside the nodule."""
    lung = image[~mask & (image > -1000) & (image < -600)]
    return lung if lung.size else np.array([_LUNG_HU], dtype=image.dtype)


def _files(root: Path, image: Path) -> CaseFiles:
    case = without_suffix(image.name)
    return CaseFiles(case, patient_of(case, "^(.+?)_R_"), image, labels=root / "nodule_mask" / image.name)
