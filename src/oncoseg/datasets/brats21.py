"""BraTS 2021: glioma on four MR sequences, 1251 labelled patients.

Baid et al., arXiv 2107.02314 (2021). Labels 1 necrotic core, 2 oedema, 4 enhancing tumour (3 is not used). The
regions that the challenge scores: whole tumour = {1, 2, 4}, tumour core = {1, 4}, enhancing tumour = {4}.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncoseg.case import TUMOUR
from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.io.case_files import CaseFiles
from oncoseg.io.challenge_files import ChallengeDataset, find_nifti, telling_of_unlabelled

INFO = DatasetInfo(
    name="brats21",
    title="BraTS 2021",
    summary=(
        "Give `root`: a folder with BraTS2021_00000/BraTS2021_00000_flair.nii.gz, ..._t1, ..._t1ce, ..._t2 and "
        "..._seg.nii.gz at any depth, as the Cancer Imaging Archive or the challenge hand it out."
    ),
    licence="that of the place it was fetched from; CC BY 4.0 at the Cancer Imaging Archive",
    doi="10.48550/arXiv.2107.02314",
    modality="MR",
    warning=(
        "Skull-stripped and resampled to 1 mm by its authors. It holds patients of earlier BraTS (so of MSD Task01), "
        "UPENN-GBM, UCSF-PDGM, TCGA-GBM and TCGA-LGG: never put those on another side of a comparison."
    ),
)

#: How the path of a segmentation ends, by which a folder is recognised.
SEGMENTATION = r"BraTS2021_\d{5}_seg"
#: Regions by label values.
REGIONS = {"whole_tumour": (1, 2, 4), "tumour_core": (1, 4), "enhancing_tumour": (4,)}


@dataclass(frozen=True)
class Brats21Options:
    """Which image and which region.

    Attributes:
        root: folder with the cases, at any depth.
        sequence: the MR sequence that is the image of a case; M-SAM's file lists name FLAIR.
        tumour: the region that is segmented as `tumour`; all three are masks of every case under their own names.
    """

    root: Path
    sequence: Literal["flair", "t1", "t1ce", "t2"] = "flair"
    tumour: Literal["whole_tumour", "tumour_core", "enhancing_tumour"] = "whole_tumour"


def build(**options: Any) -> ChallengeDataset:
    """Open the cases; options are the fields of `Brats21Options`.

    A case is a patient. Cases without a segmentation (validation and test) are not used; the data set's warning
    says how many.

    Raises:
        InputError: when the folder does not exist or holds no labelled case, or a case twice.
        ConfigError: for a wrong option.
    """
    chosen = fill(Brats21Options, options, "data set brats21")
    files = find_nifti(chosen.root, r"(BraTS2021_\d{5})_(flair|t1|t1ce|t2|seg)")
    labelled = sorted(case for case, kind in files if kind == "seg")
    unlabelled = sorted({case for case, _ in files} - set(labelled))
    cases = []
    for case in labelled:
        seg = files[case, "seg"]
        image = files.get((case, chosen.sequence), seg.with_name(f"{case}_{chosen.sequence}.nii.gz"))
        cases.append(CaseFiles(case, case, image, seg, facts={"modality": "MR", "sequence": chosen.sequence}))
    labels = {TUMOUR: REGIONS[chosen.tumour], **REGIONS}
    return ChallengeDataset(telling_of_unlabelled(INFO, unlabelled), chosen.root, cases, labels, excluded={})
