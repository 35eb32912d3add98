"""What can safely be mended in a folder of DICOM files, in a new folder: some files stay away, none is changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoseg.config import plain
from oncoseg.errors import InputError
from oncoseg.fetch import Say
from oncoseg.files import remove_partial, sha256, write_bytes, write_json
from oncoseg.io.dicom import IMAGE_MODALITIES, group_headers, headers_of
from oncoseg.io.dicom_grid import order_slices
from oncoseg.io.dicom_header import Header

#: Says in the new folder what was left out and why.
RECORD = "repaired.json"
#: So many slices in another direction beside a volume are pictures to find one's way (localisers, scouts).
MOST_LOCALISERS = 3
#: ... where the volume has at least so many.
FEWEST_SLICES = 5

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeftOut:
    """A file that is not in the new folder.

    Attributes:
        file: relative to the old folder.
        reason: why nothing is lost without it.
    """

    file: str
    reason: str


@dataclass(frozen=True)
class Repair:
    """A repaired folder.

    Attributes:
        target: the new folder.
        copied: how many files are in it, each byte for byte as it was.
        left_out: the others.
    """

    target: Path
    copied: int
    left_out: tuple[LeftOut, ...]


def repair_folder(source: Path, target: Path, say: Say = _logger.info) -> Repair:
    """Copy a folder of DICOM files without what only disturbs; files keep names and content.

    Left out are: files that are no DICOM; copies of an instance, and slices in the same place, with the same pixels
    and scaling; up to `MOST_LOCALISERS` slices in another direction or size than the volume whose series they are in.
    Nothing else is safe: missing, damaged or contradictory slices stay as they are, for you to export again.

    Files that are there already with the same content are not copied again.

    Args:
        source: folder, only read.
        target: folder outside it, made or completed.
        say: told what is left out.

    Raises:
        InputError: when `source` is no folder, the folders lie in each other, or `target` has other files.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder. Give the folder of DICOM files to mend.")
    inside, outside = target.resolve(), source.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise InputError(f"{target} and {source} lie in each other. Nothing is mended in place: give a new folder.")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    reasons = _reasons(files)
    kept = {path.relative_to(source) for path in files if path not in reasons}
    _require_ours(target, kept)
    left_out = tuple(LeftOut(path.relative_to(source).as_posix(), reason) for path, reason in sorted(reasons.items()))
    for item in left_out:
        say(f"left out {item.file}: {item.reason}")
    for name in sorted(kept):
        _copy(source / name, target / name)
    write_json(target / RECORD, {"left_out": plain(left_out)})
    return Repair(target, len(kept), left_out)


def _reasons(files: Iterable[Path]) -> dict[Path, str]:
    """The files to leave out, and why."""
    reasons: dict[Path, str] = {}
    readable: list[Header] = []
    for path in files:
        try:
            headers = headers_of(path)
        except InputError:
            continue  # damaged: kept, so that checking names it
        if not headers:
            reasons[path] = "it is no DICOM object"
        readable += headers
    for series in group_headers(readable):
        if series.modality in IMAGE_MODALITIES:
            copies = _copies(series.headers)
            reasons |= copies
            reasons |= _localisers([h for h in series.headers if h.path not in copies and h.frame is None])
    return reasons


def _copies(headers: Sequence[Header]) -> dict[Path, str]:
    """Slices that another one repeats."""
    first: dict[tuple[str, ...], Header] = {}
    found: dict[Path, str] = {}
    for header in headers:
        keys: list[tuple[str, ...]] = [("instance", header.text("SOPInstanceUID"))]
        if header.frame is None:  # a file goes as a whole, never for one of its frames
            keys.append(("place", *_place(header)))
        for key in keys:
            other = first.setdefault(key, header)
            if other.path != header.path and all(key[1:]) and _same_image(other, header):
                found[header.path] = f"its {key[0]}, pixels and scaling are those of {other.path.name}"
                break
    return found


def _place(header: Header) -> tuple[str, str]:
    return header.text("ImagePositionPatient"), header.text("ImageOrientationPatient")


def _same_image(one: Header, other: Header) -> bool:
    if sha256(one.path) == sha256(other.path):
        return True
    scaling = (
        "Rows",
        "Columns",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "BitsStored",
        "PixelRepresentation",
    )
    same = _place(one) == _place(other) and all(one.text(key) == other.text(key) for key in scaling)
    return same and _pixels(one) is not None and _pixels(one) == _pixels(other)


def _pixels(header: Header) -> bytes | None:
    """The stored bytes; None when they are compressed."""
    if header.pixel_offset is None or header.pixel_length is None:
        return None
    with header.path.open("rb") as stream:
        stream.seek(header.pixel_offset)
        return stream.read(header.pixel_length)


def _localisers(headers: Sequence[Header]) -> dict[Path, str]:
    """A few slices in another direction or size than all the others, which form a volume."""
    groups: dict[tuple[str, ...], list[Header]] = {}
    for header in headers:
        keys = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")
        groups.setdefault(tuple(header.text(key) for key in keys), []).append(header)
    volume = max(groups.values(), key=len, default=[])
    others = [h for group in groups.values() if group is not volume for h in group]
    if not others or len(others) > MOST_LOCALISERS or len(volume) < FEWEST_SLICES:
        return {}
    try:
        order_slices(volume)
    except InputError:
        return {}
    return {h.path: f"it has another direction or size than the volume of {len(volume)} slices" for h in others}


def _require_ours(target: Path, kept: set[Path]) -> None:
    if not target.exists():
        return
    for path in sorted(p for p in target.rglob("*") if p.is_file()):
        name = path.relative_to(target)
        if name not in kept and name.name != RECORD and not name.name.startswith(".partial"):
            raise InputError(f"{target} holds {name}, which is not from the folder to mend. Give a new folder.")


def _copy(source: Path, target: Path) -> None:
    if target.exists() and target.stat().st_size == source.stat().st_size and sha256(target) == sha256(source):
        return
    if target.parent.exists():
        remove_partial(target.parent)
    write_bytes(target, source.read_bytes())
