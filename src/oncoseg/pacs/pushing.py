"""Files into an archive: each once, and the ledger says when the archive had it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoseg.errors import InputError
from oncoseg.files import sha256
from oncoseg.io.dicom_header import read_header
from oncoseg.pacs.archive import Archive, Outgoing, RefusedError, SeriesFound, is_uid
from oncoseg.pacs.inbox import identify
from oncoseg.pacs.ledger import Ledger, Line, Outcome
from oncoseg.pacs.retry import Patience


@dataclass
class Pushed:
    """What a push did.

    Attributes:
        sent: objects that the archive took now.
        there: objects that it had.
        refused: file -> why the archive does not have it.
    """

    sent: int
    there: int
    refused: dict[Path, str]


def outgoing(paths: Iterable[Path]) -> list[Outgoing]:
    """The DICOM objects among files and in folders, sorted by place; each identifier once.

    Raises:
        InputError: when there is none, a path is missing, a named file is no DICOM object or damaged, or two files
            have one identifier and other contents.
    """
    found: dict[str, Outgoing] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist. Check the path.")
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            read = _read(file, named=file == path)
            if read is None:
                continue
            other = found.setdefault(read.instance.sop, read)
            if other.sha256 != read.sha256:
                raise InputError(f"{other.path} and {file} have one SOPInstanceUID and differ. Leave one away.")
    if not found:
        raise InputError("There is no DICOM object to send. Give files, or folders that hold some.")
    return list(found.values())


def _read(file: Path, *, named: bool) -> Outgoing | None:
    header = read_header(file)
    if header is None:
        if named:
            raise InputError(f"{file} is not a DICOM file (no DICM mark at byte 128).")
        return None
    try:
        with file.open("rb") as stream:
            instance = identify(stream)
    except RefusedError as error:
        raise InputError(f"{file} is {error}. Export it again.") from error
    if not is_uid(instance.sop_class):
        raise InputError(f"{file} has no SOPClassUID, so no archive takes it. Export it again.")
    return Outgoing(file, instance, header.transfer_syntax, sha256(file), file.stat().st_size)


def push(archive: Archive, files: Sequence[Outgoing], ledger: Ledger, patience: Patience | None = None) -> Pushed:
    """Send every file that the archive does not have.

    The archive is asked before anything is sent, and again after every failure; one that cannot be asked is taken to
    have what the ledger says that it took. So nothing is lost and nothing sent twice, whoever was killed and when.

    Args:
        archive: where to.
        files: from `outgoing`.
        ledger: is told of every object.
        patience: how often failing transfers are tried.

    Raises:
        FetchError: when the archive is out of reach.
        InputError: when the ledger cannot be written.
    """
    patience = patience or Patience()
    done = Pushed(0, 0, {})
    left = {file.instance.sop: file for file in files}

    def settle(file: Outgoing, outcome: Outcome, reason: str = "") -> None:
        about = file.instance
        ledger.add(Line("out", archive.name, about.study, about.series, about.sop, outcome, file.sha256, reason))
        del left[about.sop]

    def step() -> None:
        for file in _there(archive, list(left.values()), ledger):
            settle(file, "there")
            done.there += 1
        for file, reason in archive.store(list(left.values())):
            settle(file, "refused" if reason else "stored", reason)
            if reason:
                done.refused[file.path] = reason
            else:
                done.sent += 1

    total = len(left)
    patience.until_done(step, progress=lambda: total - len(left), what=archive.name)
    return done


def _there(archive: Archive, files: Sequence[Outgoing], ledger: Ledger) -> list[Outgoing]:
    """Those that the archive has."""
    present: dict[SeriesFound, frozenset[str] | None] = {}
    found = []
    for file in files:
        about = file.instance
        series = SeriesFound(about.study, about.series)
        if series not in present:
            present[series] = archive.present(series)
        known = present[series]
        if ledger.was_sent(archive.name, about.sop, file.sha256) if known is None else about.sop in known:
            found.append(file)
    return found
