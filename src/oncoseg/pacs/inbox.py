"""What came from archives, on disk: whole files under names of our own making."""

from __future__ import annotations

import hashlib
import threading
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom

from oncoseg.errors import InputError
from oncoseg.files import remove_partial, sha256, write_bytes
from oncoseg.io.dicom_header import UNREADABLE, read_header
from oncoseg.pacs.archive import Instance, RefusedError, is_uid
from oncoseg.pacs.ledger import Ledger, Line

_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def own_name(uid: str, length: int = 16) -> str:
    """A file name for a UID: hexadecimal digits, so nothing that an archive says ever reaches a path."""
    return hashlib.sha256(uid.encode()).hexdigest()[:length]


def identify(stream: BinaryIO) -> Instance:
    """What a DICOM file is.

    Raises:
        RefusedError: when it cannot be read, or lacks an identifier.
    """
    try:
        found = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_IDENTIFIERS))
        texts = {keyword: str(found.get(keyword, "")) for keyword in _IDENTIFIERS}
    except UNREADABLE as error:
        raise RefusedError(f"an object that cannot be read: {type(error).__name__}") from error
    for keyword, text in texts.items():
        if not is_uid(text):
            raise RefusedError(f"an object whose {keyword} is no UID")
    return Instance(
        texts["StudyInstanceUID"], texts["SeriesInstanceUID"], texts["SOPInstanceUID"], texts["SOPClassUID"]
    )


class Inbox:
    """A folder of objects, `STUDY/SERIES/OBJECT.dcm`, each there whole or not at all; several threads may keep.

    Args:
        folder: of the objects.
        ledger: is told of every one of them.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.folder = folder
        self.ledger = ledger
        self._lock = threading.Lock()
        for place in (folder, *folder.glob("*"), *folder.glob("*/*")):
            if place.is_dir():
                remove_partial(place)

    def study_folder(self, study: str) -> Path:
        """Where the objects of a study lie."""
        return self.folder / own_name(study)

    def path(self, instance: Instance) -> Path:
        """Where an object lies, or would."""
        return self.study_folder(instance.study) / own_name(instance.series) / f"{own_name(instance.sop, 32)}.dcm"

    def has(self, instance: Instance) -> bool:
        """Whether an object is here as it came: its hash is the ledger's, or the ledger was killed before it heard."""
        path = self.path(instance)
        if not path.is_file():
            return False
        known = self.ledger.hash_of(instance.sop)
        if known:
            return sha256(path) == known
        try:
            header = read_header(path)
        except InputError:
            return False
        return header is not None and header.text("SOPInstanceUID") == instance.sop

    def enter(self, instance: Instance, peer: str) -> None:
        """Tell the ledger of an object that is here and that it never heard of: a kill came between the two."""
        if not self.ledger.hash_of(instance.sop):
            digest = sha256(self.path(instance))
            self.ledger.add(Line("in", peer, instance.study, instance.series, instance.sop, "there", digest))

    def keep(self, content: bytes, peer: str, expected: Instance | None = None) -> Instance:
        """Write an object that came, unless it is here.

        Args:
            content: a whole DICOM file.
            peer: who sent it.
            expected: what was asked for; None for whatever comes.

        Returns:
            What it is; on disk and in the ledger by now.

        Raises:
            RefusedError: for something else than was expected, an unreadable object, or one that differs from the one
                of the same identifier that is here; the ledger says so.
            InputError: when it cannot be written.
        """
        found = identify(BytesIO(content))
        digest = hashlib.sha256(content).hexdigest()
        try:
            if expected is not None and (expected.study, expected.series, expected.sop) != (
                found.study,
                found.series,
                found.sop,
            ):
                raise RefusedError("another object than was asked for")
            with self._lock:
                outcome = self._write(found, content, digest)
        except RefusedError as error:
            about = expected or found
            self.ledger.add(Line("in", peer, about.study, about.series, about.sop, "refused", digest, str(error)))
            raise
        self.ledger.add(
            Line("in", peer, found.study, found.series, found.sop, "there" if outcome else "stored", digest)
        )
        return found

    def _write(self, found: Instance, content: bytes, digest: str) -> bool:
        """Whether it was there."""
        path = self.path(found)
        if self.has(found):
            if sha256(path) != digest:
                raise RefusedError(f"object {found.sop} differs from the one of that identifier that came before")
            return True
        write_bytes(path, content)
        return False
