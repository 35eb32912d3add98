"""From any layout to a prepared folder: resumable, and one bad case does not stop the rest."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncoseg import registry
from oncoseg.config import plain
from oncoseg.contracts import Damaged, Dataset, Excluding
from oncoseg.errors import InputError, OncosegError, UnknownNameError
from oncoseg.fetch import Say
from oncoseg.files import read_json, write_json
from oncoseg.io.dicom_header import read_header
from oncoseg.io.prepared import Manifest, PreparedCase, finished_case, write_case, write_manifest

#: Says with which layout and options a prepared folder was begun.
SOURCE = "source.json"
#: How many files are looked at to find out that a folder holds DICOM.
_LOOKED_AT = 200

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        target: the prepared folder.
        imported: cases written now.
        skipped: cases that were there already.
        failed: case -> why it could not be imported.
        excluded: case -> why the data set leaves it out.
        damaged: those of them whose files are damaged, and damaged files of no case.
    """

    target: Path
    imported: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: Mapping[str, str]
    excluded: Mapping[str, str]
    damaged: Mapping[str, str] = field(default_factory=dict)


def import_dataset(
    source: Path, target: Path, *, layout: str = "auto", say: Say = _logger.info, **options: Any
) -> ImportResult:
    """Read every case of a data set and write it as NIfTI with a manifest; see `oncoseg.io.prepared`.

    Cases that are finished in `target` are skipped, so an interrupted import goes on where it was. Every file
    appears whole or not at all, and the manifest last. A case that cannot be read is reported in the result and
    in the manifest, and the others are imported.

    Args:
        source: the folder to import.
        target: the prepared folder, made or completed.
        layout: "auto", see `recognise`; "pairs"; or the name of any data set that has a `root`, such as "dicom".
        say: told one line a case.
        **options: further options of the data set, e.g. `patient="^(.+)_"` or `tumour=...`.

    Raises:
        InputError: when `source` is no data set of that layout, or `target` was begun with another layout or
            other options, or cannot be written to.
        ConfigError: for a wrong option.
        UnknownNameError: for an unknown layout.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder. Give the folder of the data set to import.")
    chosen = recognise(source) if layout == "auto" else {"pairs": "folder"}.get(layout, layout)
    if chosen not in registry.names("datasets"):
        raise UnknownNameError("layout", layout, ["auto", "pairs", *registry.names("datasets")])
    dataset: Dataset = registry.load("datasets", chosen).build(root=source, **options)
    return prepare(dataset, target, begun_with={"layout": chosen, "options": plain(options)}, say=say)


def prepare(dataset: Dataset, target: Path, *, begun_with: Mapping[str, Any], say: Say = _logger.info) -> ImportResult:
    """Write every case of a data set into a prepared folder, as `import_dataset` does.

    Args:
        dataset: what to write.
        target: the prepared folder, made or completed.
        begun_with: where the cases come from: `layout` and `options`, kept in the manifest.
        say: told one line a case.

    Raises:
        InputError: when `target` was begun with something else, or cannot be written to.
    """
    _begin(target, begun_with)
    done: list[PreparedCase] = []
    skipped: list[str] = []
    failed: dict[str, str] = {}
    entries = dataset.entries()
    for number, entry in enumerate(entries, start=1):
        record = finished_case(target, entry.case)
        if record is not None:
            skipped.append(entry.case)
        else:
            record = _import_case(dataset, entry.case, target, failed)
            say(f"{number}/{len(entries)} {entry.case}: {failed.get(entry.case, 'imported')}")
        if record is not None:
            done.append(record)
    excluded = dict(dataset.excluded) if isinstance(dataset, Excluding) else {}
    write_manifest(target, _manifest(dataset, begun_with, done, failed=failed, excluded=excluded))
    imported = tuple(c.case for c in done if c.case not in skipped)
    damaged = dict(dataset.damaged) if isinstance(dataset, Damaged) else {}
    return ImportResult(target, imported, tuple(skipped), failed, excluded, damaged)


def recognise(source: Path) -> str:
    """The data set that reads a folder.

    "nnunet", "msd", "dicom", one whose segmentations have names of their own ("brats21", "kits19", "lits") or, when it
    is none of them, "folder".

    Raises:
        InputError: when `dataset.json` is not JSON.
    """
    described = source / "dataset.json"
    if described.exists():
        content = read_json(described)
        return "nnunet" if isinstance(content, dict) and "file_ending" in content else "msd"
    for number, file in enumerate(p for p in source.rglob("*") if p.is_file()):
        if number == _LOOKED_AT:
            break
        if file.suffix.lower() == ".dcm" or (not file.suffix and read_header(file) is not None):
            return "dicom"
    return _by_names(source) or "folder"


def _by_names(source: Path) -> str | None:
    """The data set whose segmentations have names as the files below a folder have; None when there is none."""
    modules = {name: registry.load("datasets", name) for name in registry.names("datasets")}
    known = {name: module.SEGMENTATION for name, module in modules.items() if hasattr(module, "SEGMENTATION")}
    patterns = {name: re.compile(rf"(?:^|/){end}\.nii(\.gz)?$") for name, end in known.items()}
    for file in source.rglob("*.nii*"):
        path = file.relative_to(source).as_posix()
        found = next((name for name, pattern in patterns.items() if pattern.search(path)), None)
        if found is not None:
            return found
    return None


def _begin(target: Path, begun_with: Mapping[str, Any]) -> None:
    marker = target / SOURCE
    begun_with = json.loads(json.dumps(begun_with))  # as it will be read back
    if not marker.exists():
        write_json(marker, begun_with)
    elif (before := read_json(marker)) != begun_with:
        raise InputError(
            f"{target} was begun with {json.dumps(before)}, now {json.dumps(begun_with)} is asked for. "
            "Give another target folder, or remove this one."
        )


def _import_case(dataset: Dataset, case: str, target: Path, failed: dict[str, str]) -> PreparedCase | None:
    try:
        return write_case(target, dataset.load(case))
    except OncosegError as error:
        failed[case] = str(error)
        return None


def _manifest(
    dataset: Dataset,
    begun_with: Mapping[str, Any],
    done: Sequence[PreparedCase],
    *,
    failed: dict[str, str],
    excluded: dict[str, str],
) -> Manifest:
    info = dataset.info
    return Manifest(
        title=info.title,
        licence=info.licence,
        modality=info.modality,
        source=dict(begun_with),
        cases=sorted(done, key=lambda c: c.case),
        doi=info.doi,
        synthetic=info.synthetic,
        warning=info.warning,
        failed=failed,
        excluded=excluded,
    )
