"""NSCLC-Radiomics ("Lung1") as downloaded from TCIA: 422 patients, CT and the radiation oncologist's GTV.

Aerts et al., Nat Commun 5:4006 (2014). Which cases are used is decided by checks, never by a list: slices
regular and none twice, a GTV drawn, on the grid of the CT, values in HU. Expect 421 cases with a GTV.
"""

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
    name="lung1",
    title="NSCLC-Radiomics (Lung1)",
    summary="Give `root`: the folder with the downloaded DICOM files (CT with RTSTRUCT or SEG), in any folders.",
    licence="CC BY-NC 3.0",
    doi="10.7937/K9/TCIA.2015.PF0M9REI",
    modality="CT",
)

#: Cases that readers of the collection report; they are noted, and kept when they pass the checks.
SUSPECTS = {
    "LUNG1-128": "reported without GTV (post-operative)",
    **{f"LUNG1-{n:03d}": "reported with different grids of CT and segmentation" for n in (14, 21, 85, 95, 194)},
    "LUNG1-412": "reported without a tumour segmentation",
}

#: Every thorax holds air below and soft tissue above these values.
THORAX_HU = (-500.0, 0.0)

#: ROI name here -> names in the files.
OTHER_ROIS = {
    "lung_left": (r"^lung[ _-]*l(eft)?$",),
    "lung_right": (r"^lung[ _-]*r(ight)?$",),
    "lungs": (r"^lungs?[ _-]*total$",),
    "spinal_cord": (r"^(spinal[ _-]*)?cord$",),
    "heart": (r"^heart$",),
    "oesophagus": (r"^o?esophagus$",),
}


@dataclass(frozen=True)
class Lung1Options:
    """Where the files are and what is read.

    Attributes:
        root: folder with the DICOM files; names below it do not matter.
        prefer: "RTSTRUCT" (what was drawn) or "SEG" (derived from it), where a patient has both.
        tumour: patterns for the tumour's ROI, without regard to case; the first that fits decides.
        several: what to do when it fits several ROIs: their "union", or the "first".
        rois: further ROIs to read where they were drawn, of `OTHER_ROIS`.
    """

    root: Path
    prefer: Literal["RTSTRUCT", "SEG"] = "RTSTRUCT"
    tumour: tuple[str, ...] = (r"^gtv[ _-]*1$", r"^gtv")
    several: Literal["union", "first"] = "union"
    rois: tuple[Literal["lung_left", "lung_right", "lungs", "spinal_cord", "heart", "oesophagus"], ...] = field(
        default=("lung_left", "lung_right")
    )


def build(**options: Any) -> StudyDataset:
    """Open the collection (reads every header once); options are the fields of `Lung1Options`.

    The data set's `excluded` gives the reason for every case that its headers rule out.

    Raises:
        InputError: when the folder does not exist or holds no CT series.
        ConfigError: for a wrong option.
    """
    chosen = fill(Lung1Options, options, "data set lung1")
    aliases: dict[str, tuple[str, ...]] = {TUMOUR: chosen.tumour, **{roi: OTHER_ROIS[roi] for roi in chosen.rois}}
    rules = ReadingRules(aliases, chosen.prefer, chosen.several, THORAX_HU, SUSPECTS)
    return StudyDataset(INFO, chosen.root, rules)
