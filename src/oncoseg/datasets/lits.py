"""LiTS: liver tumours on CT, 131 labelled volumes of seven hospitals.

Bilic et al., Med Image Anal 84:102680 (2023). Labels 1 liver, 2 tumour; 13 volumes have no tumour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncoseg.case import TUMOUR, Case
from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import InputError
from oncoseg.io.case_files import CaseFiles, split_labels
from oncoseg.io.challenge_files import ChallengeDataset, find_nifti, telling_of_unlabelled
from oncoseg.io.images import read_image, read_labels

INFO = DatasetInfo(
    name="lits",
    title="LiTS",
    summary=(
        "Give `root`: a folder with volume-0.nii and segmentation-0.nii ... at any depth, zipped or not, "
        "as in the challenge's training batches."
    ),
    licence="that of the LiTS challenge, which its download page states",
    doi="10.1016/j.media.2022.102680",
    modality="CT",
    warning=(
        "MSD Task03 Liver holds the same volumes, and volumes 28 to 47 are those of 3D-IRCADb: never put them on "
        "another side of a comparison. The files do not tell which volumes are of one patient."
    ),
)

#: How the path of a segmentation ends, by which a folder is recognised.
SEGMENTATION = r"segmentation-\d+"
LABELS = {"liver": (1,), TUMOUR: (2,)}
#: Volumes whose reference has no tumour.
WITHOUT_TUMOUR = (32, 34, 38, 41, 47, 87, 89, 91, 105, 106, 114, 115, 119)

_EMPTY = "its reference has no tumour"
_OTHER_HEADER = "the segmentation's header places it elsewhere than the image; its voxels were taken as the image's"


@dataclass(frozen=True)
class LitsOptions:
    """Where the volumes are and what happens to those without a tumour.

    Attributes:
        root: folder with the volumes, at any depth.
        without_tumour: "keep" the 13 volumes without a tumour, on which overlap is undefined and a false alarm
            counts, or "leave_out".
    """

    root: Path
    without_tumour: Literal["keep", "leave_out"] = "keep"


class Lits(ChallengeDataset):
    """The labelled volumes; headers of some segmentations differ from their image's though the voxels match."""

    def read(self, files: CaseFiles) -> Case:
        """Read image and labels voxel by voxel: a segmentation of the same shape lies on the image whatever it says.

        Raises:
            InputError: names both files when their shapes differ.
        """
        if files.labels is None:
            return super().read(files)
        image, values = read_image(files.image), read_labels(files.labels)
        if values.shape != image.shape:
            raise InputError(
                f"{files.image} has shape {image.shape} and {files.labels} {values.shape} (slice, row, column). "
                "They are not a pair; unpack the archives again."
            )
        notes = () if image.same_grid(values) else (_OTHER_HEADER,)
        masks = split_labels(image.with_voxels(values.voxels), LABELS, str(files.labels))
        if not masks[TUMOUR].voxels.any():
            notes = (*notes, _EMPTY)
        facts = {"slice_spacing_mm": image.spacing[0], "pixel_spacing_mm": image.spacing[1], **files.facts}
        return Case(files.case, files.patient, image, masks, facts, notes)


def build(**options: Any) -> Lits:
    """Open the volumes; options are the fields of `LitsOptions`.

    Every volume counts as a patient of its own. The challenge's test volumes, which have no segmentation, are
    not used; the data set's warning says how many.

    Raises:
        InputError: when the folder does not exist or holds no labelled volume, or a volume twice.
        ConfigError: for a wrong option.
    """
    chosen = fill(LitsOptions, options, "data set lits")
    files = find_nifti(chosen.root, r"(test-volume|volume|segmentation)-(\d+)")
    numbers = sorted({number for kind, number in files if kind != "test-volume"})
    unlabelled = sorted((int(number) for kind, number in files if kind == "test-volume"))
    excluded = {f"volume-{n}": _EMPTY for n in numbers if int(n) in WITHOUT_TUMOUR}
    return Lits(
        telling_of_unlabelled(INFO, [f"test-volume-{n}" for n in unlabelled]),
        chosen.root,
        [_case(number, files) for number in numbers],
        LABELS,
        excluded=excluded if chosen.without_tumour == "leave_out" else {},
    )


def _case(number: str, files: dict[tuple[str, ...], Path]) -> CaseFiles:
    """The pair of files; where one is not there, the name it would have to have."""
    case, segmentation = f"volume-{number}", f"segmentation-{number}"
    folder = next(file.parent for key, file in files.items() if key in (("volume", number), ("segmentation", number)))
    image = files.get(("volume", number), folder / f"{case}.nii")
    labels = files.get(("segmentation", number), folder / f"{segmentation}.nii")
    return CaseFiles(case, case, image, labels, facts={"modality": "CT"})
