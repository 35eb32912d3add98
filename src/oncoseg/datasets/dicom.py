"""Any DICOM tree: image series with the RTSTRUCT or SEG objects drawn on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from oncoseg.case import TUMOUR
from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.io.studies import ReadingRules
from oncoseg.io.study_dataset import StudyDataset

INFO = DatasetInfo(
    name="dicom",
    title="Folder of DICOM files",
    summary="Give `root`: a folder with DICOM image series and the RTSTRUCT or SEG files drawn on them.",
    licence="that of the files",
    doi=None,
    modality="any",
)


@dataclass(frozen=True)
class DicomOptions:
    """Where the files are and which ROI is the tumour.

    Attributes:
        root: folder with the DICOM files; names below it do not matter.
        prefer: "RTSTRUCT" or "SEG", where a series has both.
        tumour: patterns for the tumour's ROI, without regard to case; the first that fits decides.
        several: what to do when it fits several ROIs: their "union", or the "first".
        rois: further ROI names to keep -> patterns for their names in the files.
        series: "all" image series of a study are cases, or its "best" one; which and why is among the case's notes.
        key: file of `oncoseg deidentify --key`: cases are named by it and messages hold no name, path or description
            of the files. Without it cases are named by PatientID.
    """

    root: Path
    prefer: Literal["RTSTRUCT", "SEG"] = "RTSTRUCT"
    tumour: tuple[str, ...] = (r"^gtv[ _-]*1$", r"^gtv", r"tumou?r|lesion|nodule|neoplasm")
    several: Literal["union", "first"] = "union"
    rois: dict[str, list[str]] = field(default_factory=dict)
    series: Literal["all", "best"] = "all"
    key: Path | None = None


def build(**options: Any) -> StudyDataset:
    """Open the tree (reads every header once); options are the fields of `DicomOptions`.

    Raises:
        InputError: when the folder does not exist or holds no image series.
        ConfigError: for a wrong option.
    """
    chosen = fill(DicomOptions, options, "data set dicom")
    aliases = {TUMOUR: chosen.tumour, **chosen.rois}
    rules = ReadingRules(aliases, chosen.prefer, chosen.several, series=chosen.series, key=chosen.key)
    return StudyDataset(INFO, chosen.root, rules)
