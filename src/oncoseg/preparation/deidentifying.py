"""A folder of DICOM files without what identifies patients: never in place, resumable, the same names every time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import oncoseg
from oncoseg.errors import InputError
from oncoseg.fetch import Say
from oncoseg.files import read_json, remove_partial, sha256, write_json
from oncoseg.io.deidentified import TABLE, Dates, Deidentifying, deidentify_file, why_left_out
from oncoseg.io.dicom_header import Header, read_header
from oncoseg.io.pseudonyms import with_key

#: Says how a folder was de-identified; it holds nothing of what was there before.
RECORD = "deidentified.json"
#: Files of these modalities are often pictures of a screen, with text in them.
SCREENS = frozenset({"OT", "SC", "US", "XC", "ES"})

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeidentifyResult:
    """What became of the files of a folder.

    Attributes:
        target: the folder with the new ones.
        written: how many were written now.
        skipped: how many were there already.
        others: how many files are no DICOM and were not copied.
        screens: how many of those written may show text in their pixels, by their modality.
        left_out: file -> why it cannot be de-identified by its header.
        failed: file -> why it could not be read.
        key_kept: False when the key is gone with this run.
    """

    target: Path
    written: int
    skipped: int
    others: int
    screens: int
    left_out: Mapping[Path, str]
    failed: Mapping[Path, str]
    key_kept: bool


def deidentify_folder(
    source: Path, target: Path, *, dates: Dates = "shift", key: Path | None = None, say: Say = _logger.info
) -> DeidentifyResult:
    """Write every DICOM file below a folder again, de-identified as `oncoseg.io.deidentified.deidentify` says.

    The new files lie in `target/PATIENT/STUDY/MODALITY-SERIES/INSTANCE.dcm`, all of them names made by the key: one key
    gives one patient the same name, UIDs and shift of dates in every run. Files that are there are passed over, so an
    interrupted run goes on with the same key. A file that cannot be read stops no other.

    Args:
        source: folder, only read.
        target: folder outside `source`, made or completed.
        dates: "shift" or "remove".
        key: file with the key, made when absent; None for a key that is thrown away.
        say: told how far it is, without any name.

    Raises:
        InputError: when `source` is no folder, the folders lie in each other, the key lies in `target`, or `target` was
            made in another way or with another key.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder. Give the folder of DICOM files to de-identify.")
    _require_apart(source, target, key)
    if key is None and target.exists() and any(target.iterdir()):
        raise InputError(f"{target} is not empty. Give an empty folder, or --key FILE to go on where a run stopped.")
    how = Deidentifying(with_key(key), dates)
    _begin(target, how)
    left_out: dict[Path, str] = {}
    failed: dict[Path, str] = {}
    counts = {"written": 0, "skipped": 0, "others": 0, "screens": 0}
    seen: dict[Path, Path] = {}
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for number, path in enumerate(files, start=1):
        try:
            header = read_header(path)
            if header is None:
                counts["others"] += 1
            elif reason := why_left_out(path):
                left_out[path] = reason
            else:
                place = target / _place(header, how)
                counts[_one(path, place, how, seen)] += 1
                counts["screens"] += header.text("Modality") in SCREENS
        except InputError as error:
            failed[path] = str(error)
        if number % 500 == 0:
            say(f"{number} of {len(files)} files")
    return DeidentifyResult(target, **counts, left_out=left_out, failed=failed, key_kept=key is not None)


def _one(path: Path, place: Path, how: Deidentifying, seen: dict[Path, Path]) -> str:
    """Write one file unless it is there; "written" or "skipped"."""
    if place in seen and sha256(seen[place]) != sha256(path):
        raise InputError(
            f"{path} and {seen[place]} are different files with the same SOPInstanceUID. Keep the right one of them."
        )
    seen.setdefault(place, path)
    if place.exists():
        return "skipped"
    if place.parent.exists():
        remove_partial(place.parent)
    deidentify_file(path, place, how)
    return "written"


def _place(header: Header, how: Deidentifying) -> Path:
    """Where a file goes below the target."""
    names = how.pseudonyms
    identity = header.text("PatientID").strip() or header.text("StudyInstanceUID")
    modality = header.text("Modality")
    kind = modality if modality.isalnum() and modality.isascii() and len(modality) <= 16 else "other"
    series = names.text("series", header.text("SeriesInstanceUID"))
    return Path(
        names.patient(identity),
        f"study-{names.text('study', header.text('StudyInstanceUID'))}",
        f"{kind}-{series}",
        f"{names.text('instance', header.text('SOPInstanceUID') or str(header.path), 16)}.dcm",
    )


def _require_apart(source: Path, target: Path, key: Path | None) -> None:
    inside, outside = target.resolve(), source.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise InputError(
            f"{target} and {source} lie in each other. Nothing is changed in place: give a folder beside it."
        )
    if key is not None and inside in key.resolve().parents:
        raise InputError(f"The key {key} lies in {target}, which is to be given away. Keep it somewhere else.")


def _begin(target: Path, how: Deidentifying) -> None:
    """Say in the folder how it is made, or refuse to go on in another way."""
    record = {"oncoseg": oncoseg.__version__, "profile": TABLE, "dates": how.dates, "key_mark": how.pseudonyms.mark}
    place = target / RECORD
    if not place.exists():
        if target.exists() and any(target.iterdir()):
            raise InputError(f"{target} is not empty and was not made by oncoseg deidentify. Give an empty folder.")
        write_json(place, record)
        return
    before = read_json(place)
    for field, what in (("key_mark", "another key"), ("dates", "other dates"), ("profile", "another table")):
        if not isinstance(before, dict) or before.get(field) != record[field]:
            raise InputError(f"{target} was made with {what}. Give that again, or an empty folder.")
