"""The prepared folder: NIfTI images and masks with one manifest, as `oncoseg data import` writes it.

prepared/
  prepared.json                  the manifest, written last
  images/<case>.nii.gz
  masks/<case>/<roi>.nii.gz      one mask a ROI; `tumour.nii.gz` is the one to segment
  cases/<case>.json              a case's record; the case is finished when it exists
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncoseg.case import Case
from oncoseg.config import fill, plain
from oncoseg.errors import InputError
from oncoseg.files import read_json, sha256, write_json
from oncoseg.io.case_files import CaseFiles
from oncoseg.io.images import write_volume

MANIFEST, IMAGES, MASKS, CASES = "prepared.json", "images", "masks", "cases"


@dataclass(frozen=True)
class PreparedCase:
    """One case of a prepared folder.

    Attributes:
        case, patient: names.
        image: file, relative to the folder, with "/".
        masks: ROI name -> file.
        sha256: file -> hex hash.
        facts, notes: of the case.
    """

    case: str
    patient: str
    image: str
    masks: dict[str, str]
    sha256: dict[str, str]
    facts: dict[str, str | float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Manifest:
    """What a prepared folder holds.

    Attributes:
        title, licence, modality, doi, synthetic, warning: of the data, see `DatasetInfo`.
        source: layout and options it was imported with.
        cases: finished cases, sorted by name.
        failed: case -> why it could not be imported.
        excluded: case -> why the data set leaves it out.
    """

    title: str
    licence: str
    modality: str
    source: dict[str, Any]
    cases: list[PreparedCase]
    doi: str | None = None
    synthetic: bool = False
    warning: str | None = None
    failed: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)


def write_case(folder: Path, case: Case) -> PreparedCase:
    """Write image, masks and, last, the record of one case; each file whole."""
    image = f"{IMAGES}/{case.name}.nii.gz"
    masks = {roi: f"{MASKS}/{case.name}/{roi}.nii.gz" for roi in sorted(case.masks)}
    write_volume(folder / image, case.image)
    for roi, file in masks.items():
        write_volume(folder / file, case.masks[roi])
    hashes = {file: sha256(folder / file) for file in (image, *masks.values())}
    record = PreparedCase(case.name, case.patient, image, masks, hashes, dict(case.facts), list(case.notes))
    write_json(folder / CASES / f"{case.name}.json", plain(record))
    return record


def finished_case(folder: Path, case: str) -> PreparedCase | None:
    """The record of a case that is finished, None when it has to be written (again)."""
    source = folder / CASES / f"{case}.json"
    if not source.exists():
        return None
    record = fill(PreparedCase, read_json(source), str(source))
    return record if all((folder / file).is_file() for file in record.sha256) else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `prepared.json`, whole."""
    write_json(folder / MANIFEST, plain(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read `prepared.json`.

    Raises:
        InputError: when it is missing, is not JSON or not a manifest.
    """
    content = read_json(folder / MANIFEST)
    if not isinstance(content, dict):
        raise InputError(f"{folder / MANIFEST} is not a manifest of a prepared folder. Import the data again.")
    return fill(Manifest, content, str(folder / MANIFEST))


def case_files(folder: Path, manifest: Manifest) -> Iterator[CaseFiles]:
    """The files of every case of a prepared folder."""
    for case in manifest.cases:
        yield CaseFiles(
            case.case,
            case.patient,
            folder / case.image,
            masks={roi: folder / file for roi, file in case.masks.items()},
            facts=case.facts,
            notes=tuple(case.notes),
        )
