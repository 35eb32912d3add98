"""Six soft-tissue sarcomas of limbs on CT or T1 MR: the IBSI validation cases that are public with their masks.

Vallieres et al., Phys Med Biol 60:5471 (2015); Zwanenburg et al., Radiology 295:328 (2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import InputError
from oncoseg.io.case_files import CaseFiles, FileDataset

INFO = DatasetInfo(
    name="sts_ibsi",
    title="Soft-tissue sarcoma, IBSI validation cases",
    summary="Give `root`: a folder with STS_002/CT_image.nii.gz and CT_mask.nii.gz ..., MR_T1_ likewise.",
    licence="CC BY 3.0",
    doi="10.7937/K9/TCIA.2015.7GO2GSKS",
    modality="CT",
    warning=(
        "Cropped 5 cm round the tumour, so Dice is higher than on whole scans and finding tumours cannot be tested. "
        "A handful of patients: intervals are wide."
    ),
    cropped_round_reference=True,
)


@dataclass(frozen=True)
class StsIbsiOptions:
    """Where the cases are and which of their images is read.

    Attributes:
        root: folder with STS_002 ...
        image: "CT", in HU, or "MR_T1".
    """

    root: Path
    image: Literal["CT", "MR_T1"] = "CT"


def build(**options: Any) -> FileDataset:
    """Open the cases; options are the fields of `StsIbsiOptions`.

    Raises:
        InputError: when the folder does not exist or holds no case.
        ConfigError: for a wrong option.
    """
    chosen = fill(StsIbsiOptions, options, "data set sts_ibsi")
    if not chosen.root.is_dir():
        raise InputError(f"{chosen.root} is not a folder. {INFO.summary}")
    modality = chosen.image.partition("_")[0]
    return FileDataset(
        replace(INFO, modality=modality),
        chosen.root,
        [_case(folder, chosen.image) for folder in sorted(chosen.root.glob("STS_*")) if folder.is_dir()],
        None,
    )


def _case(folder: Path, image: str) -> CaseFiles:
    image_file, mask_file = folder / f"{image}_image.nii.gz", folder / f"{image}_mask.nii.gz"
    facts: dict[str, str | float] = {"modality": image.partition("_")[0]}
    return CaseFiles(folder.name, folder.name, image_file, labels=mask_file, facts=facts)
