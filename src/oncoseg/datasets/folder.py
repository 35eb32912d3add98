"""Any folder of image and mask files, or a prepared folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import InputError
from oncoseg.io.case_files import SUFFIXES, CaseFiles, FileDataset, label_map, patient_of, without_suffix
from oncoseg.io.prepared import MANIFEST, case_files, read_manifest

INFO = DatasetInfo(
    name="folder",
    title="Folder of image and mask files",
    summary="Give `root`: a prepared folder, or a folder with NIfTI or NRRD files in images/ and, same names, masks/.",
    licence="that of the files",
    doi=None,
    modality="any",
)


@dataclass(frozen=True)
class FolderOptions:
    """Where the files are and what they mean; a prepared folder needs `root` alone.

    Attributes:
        root: the folder.
        images, masks: folders below `root`, or glob patterns such as "*/CT_image.nii.gz". What the `*` stand
            for names the case (joined by "_"), and pairs an image with the mask of the same name.
        labels: label name -> value (or values) in the mask files; None takes every nonzero voxel as tumour.
        tumour: which label is the tumour, where the names leave it open.
        patient: regular expression found in the case's name; its first group (or all of it) is the patient.
            None: every case is a patient of its own.
        modality: "CT", "MR" or "any".
    """

    root: Path
    images: str = "images"
    masks: str = "masks"
    labels: dict[str, Any] | None = None
    tumour: str | None = None
    patient: str | None = None
    modality: str = "any"


def build(**options: Any) -> FileDataset:
    """Open the folder; options are the fields of `FolderOptions`.

    Raises:
        InputError: when the folder does not exist or holds no image.
        ConfigError: for a wrong option.
    """
    chosen = fill(FolderOptions, options, "data set folder")
    if not chosen.root.is_dir():
        raise InputError(f"{chosen.root} is not a folder. Give the data set's folder as `root`.")
    if (chosen.root / MANIFEST).exists():
        return _prepared(chosen.root)
    labels = label_map(chosen.labels, chosen.tumour, "folder: labels") if chosen.labels else None
    return FileDataset(replace(INFO, modality=chosen.modality), chosen.root, _pairs(chosen), labels)


def _prepared(root: Path) -> FileDataset:
    manifest = read_manifest(root)
    info = replace(
        INFO,
        title=manifest.title,
        licence=manifest.licence,
        doi=manifest.doi,
        modality=manifest.modality,
        synthetic=manifest.synthetic,
        warning=manifest.warning,
    )
    return FileDataset(info, root, case_files(root, manifest), None)


def _pairs(options: FolderOptions) -> Iterator[CaseFiles]:
    images, masks = _by_case(options.root, options.images), _by_case(options.root, options.masks)
    for case, image in images.items():
        # A mask that is not there is named as it would have to be called; reading it says that it is missing.
        expected = options.root / _expected(options.masks, case, image)
        yield CaseFiles(case, patient_of(case, options.patient), image, labels=masks.get(case, expected))


def _by_case(root: Path, pattern: str) -> dict[str, Path]:
    """Files by what the wildcards of the pattern stand for."""
    pattern = pattern if "*" in pattern else f"{pattern.rstrip('/')}/*"
    wildcard = re.compile("(.*)".join(re.escape(part) for part in pattern.split("*")) + "$")
    found: dict[str, Path] = {}
    for file in sorted(root.glob(pattern)):
        match = wildcard.match(file.relative_to(root).as_posix())
        if match is None or file.name.startswith(".") or not file.name.lower().endswith(SUFFIXES):
            continue
        case = "_".join(without_suffix(part).replace("/", "_") for part in match.groups() if part)
        if case in found:
            raise InputError(
                f"{found[case]} and {file} are both case '{case}'. Make the pattern '{pattern}' tell them apart."
            )
        found[case] = file
    return found


def _expected(pattern: str, case: str, image: Path) -> str:
    if "*" in pattern:
        return pattern.replace("*", case, 1)
    return f"{pattern.rstrip('/')}/{case}{image.name[len(without_suffix(image.name)) :]}"
