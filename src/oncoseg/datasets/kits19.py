"""KiTS19: kidney tumours on CT, 300 patients, of whom 210 (case_00000 to case_00209) have a public segmentation.

Heller et al., arXiv 1904.00445 (2019). Labels 1 kidney, 2 tumour. The files' first axis is the slice axis and runs
to the feet, the second to the back, the third to the left (the project's README, "Voxel Spacing").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.case import TUMOUR, Case
from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import ConfigError, InputError
from oncoseg.io.case_files import CaseFiles
from oncoseg.io.challenge_files import ChallengeDataset, find_nifti, telling_of_unlabelled
from oncoseg.volume import Volume

INFO = DatasetInfo(
    name="kits19",
    title="KiTS19",
    summary=(
        "Give `root`: a folder with case_00000/imaging.nii.gz and segmentation.nii.gz (a clone of the challenge's "
        "repository, after its script has fetched the images)."
    ),
    licence="CC BY-NC-SA 4.0",
    doi="10.48550/arXiv.1904.00445",
    modality="CT",
    warning="KiTS21 and KiTS23 hold the same patients under the same numbers: never put those on another side.",
)

#: How the path of a segmentation ends, by which a folder is recognised.
SEGMENTATION = r"case_\d{5}/segmentation"
LABELS = {"kidney": (1,), TUMOUR: (2,)}
#: Cases from this number on were published without a segmentation.
_FIRST_TEST_CASE = 210


@dataclass(frozen=True)
class Kits19Options:
    """Where the cases are and which are not wanted.

    Attributes:
        root: folder with the cases, at any depth.
        leave_out: names of cases, e.g. ["case_00015"]; reports say that they were left out. None by default, though
            the authors of nnU-Net doubted the references of 15, 23, 37, 68, 125 and 133.
    """

    root: Path
    leave_out: tuple[str, ...] = ()


class Kits19(ChallengeDataset):
    """The labelled cases, their axes put into the order (slice, row, column)."""

    def read(self, files: CaseFiles) -> Case:
        """Read the files and give each stored axis to the patient axis it is nearest to; no axis is mirrored."""
        case = super().read(files)
        image = _slices_first(case.image)
        masks = {roi: _slices_first(mask) for roi, mask in case.masks.items()}
        facts = {"slice_spacing_mm": image.spacing[0], "pixel_spacing_mm": image.spacing[1]}
        return replace(case, image=image, masks=masks, facts={**case.facts, **facts})


def build(**options: Any) -> Kits19:
    """Open the cases; options are the fields of `Kits19Options`.

    A case is a patient. Cases published without a segmentation are not used; the data set's warning says how many.

    Raises:
        InputError: when the folder does not exist, holds no labelled case, a case twice, or KiTS21 or KiTS23.
        ConfigError: for a wrong option, or a case to leave out that is not there.
    """
    chosen = fill(Kits19Options, options, "data set kits19")
    files = find_nifti(chosen.root, r"(case_\d{5})/(imaging|segmentation)")
    names = sorted({case for case, _ in files})
    unlabelled = [case for case in names if _number(case) >= _FIRST_TEST_CASE]
    for case in unlabelled:
        if (case, "segmentation") in files:
            raise InputError(
                f"{files[case, 'segmentation']}: KiTS19 has no segmentation of {case}, so this is KiTS21 or KiTS23, "
                "which draw other references. Read them with the data set `folder` and the labels "
                "{kidney = 1, tumour = 2, cyst = 3}."
            )
    cases = [_case(case, files) for case in names if case not in unlabelled]
    if strangers := sorted(set(chosen.leave_out) - {c.case for c in cases}):
        raise ConfigError(f"data set kits19: leave_out names {', '.join(strangers)}, which is not in {chosen.root}.")
    excluded = {case: "the option leave_out names it" for case in chosen.leave_out}
    return Kits19(telling_of_unlabelled(INFO, unlabelled), chosen.root, cases, LABELS, excluded=excluded)


def _number(case: str) -> int:
    return int(case.removeprefix("case_"))


def _case(case: str, files: dict[tuple[str, ...], Path]) -> CaseFiles:
    """The pair of files; where one is not there, the name it would have to have."""
    folder = next(file.parent for key, file in files.items() if key[0] == case)
    image, labels = (files.get((case, kind), folder / f"{kind}.nii.gz") for kind in ("imaging", "segmentation"))
    return CaseFiles(case, case, image, labels, facts={"modality": "CT"})


def _slices_first(volume: Volume) -> Volume:
    """The same voxels in the same place, axes in the order that is nearest to (z, y, x)."""
    along = np.abs(volume.affine[:3, :3] / volume.spacing)
    order = max(permutations(range(3)), key=lambda axes: along[2, axes[0]] + along[1, axes[1]] + along[0, axes[2]])
    return Volume(np.ascontiguousarray(volume.voxels.transpose(order)), volume.affine[:, [*order, 3]])
