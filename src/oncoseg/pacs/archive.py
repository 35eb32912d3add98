"""What is asked of an archive, whichever protocol it speaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from oncoseg.errors import InputError

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_DATE = re.compile(r"\d{8}|\d{8}-\d{8}|-\d{8}|\d{8}-")


class TransientError(Exception):
    """The connection failed or the archive is busy: trying again may help."""


class RefusedError(Exception):
    """The archive says no, and will say it again."""


def is_uid(text: str) -> bool:
    """Whether a text is a UID (PS3.5, VR UI): digits and dots, 64 at most; the zeros that some systems lead with pass.

    Example:
        >>> is_uid("1.2.840.1"), is_uid("../../etc"), is_uid("")
        (True, False, False)
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


@dataclass(frozen=True)
class Query:
    """Which series are wanted; what is "" does not matter.

    Attributes:
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        patient: PatientID.
        modality: of the series: CT, RTSTRUCT ...
        date: StudyDate, YYYYMMDD or a range YYYYMMDD-YYYYMMDD with one end left out at will.

    Raises:
        InputError: when nothing is asked for, which would mean the whole archive, or a value is malformed.
    """

    study: str = ""
    series: str = ""
    patient: str = ""
    modality: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        if not (self.study or self.series or self.patient or self.date):
            raise InputError(
                "Say what is wanted: --study, --series, --patient or --date; else it is the whole archive."
            )
        for uid in (self.study, self.series):
            if uid and not is_uid(uid):
                raise InputError(f"'{uid}' is no UID: digits and dots, 64 at most.")
        if re.search(r"[*?\\]", self.patient) or len(self.patient) > 64:
            raise InputError(f"--patient '{self.patient}' is matched as it is: 64 characters at most, no * ? or \\.")
        if self.modality and not re.fullmatch(r"[A-Z0-9_]{1,16}", self.modality):
            raise InputError(f"--modality '{self.modality}' is none, such as CT, MR or RTSTRUCT.")
        if self.date and not _DATE.fullmatch(self.date):
            raise InputError(f"--date '{self.date}' is neither YYYYMMDD nor a range YYYYMMDD-YYYYMMDD.")

    @property
    def of_study(self) -> dict[str, str]:
        """What a study must fit: DICOM keyword -> value."""
        wanted = {"StudyInstanceUID": self.study, "PatientID": self.patient, "StudyDate": self.date}
        return {keyword: value for keyword, value in wanted.items() if value}

    @property
    def of_series(self) -> dict[str, str]:
        """What a series must fit: DICOM keyword -> value."""
        wanted = {"SeriesInstanceUID": self.series, "Modality": self.modality}
        return {keyword: value for keyword, value in wanted.items() if value}


class Answered(Protocol):
    """An answer: a data set, or a dictionary."""

    def get(self, keyword: str, default: str, /) -> Any:
        """The value of an element."""


def fits(wanted: Mapping[str, str], answer: Answered) -> bool:
    """Whether an answer is what was asked for: archives may leave filters that they do not know aside.

    Args:
        wanted: DICOM keyword -> value.
        answer: an element that is empty or absent passes, since archives need not return all.
    """
    for keyword, value in wanted.items():
        found = str(answer.get(keyword, "") or "")
        if not found:
            continue
        if keyword == "StudyDate":
            first, dash, last = value.partition("-")
            if not (first or "0") <= found <= ((last or "9") if dash else first):
                return False
        elif found != value:
            return False
    return True


@dataclass(frozen=True)
class SeriesFound:
    """A series that an archive has."""

    study: str
    series: str
    modality: str = ""


@dataclass(frozen=True)
class Instance:
    """One object that an archive has."""

    study: str
    series: str
    sop: str
    sop_class: str = ""


@dataclass(frozen=True)
class Outgoing:
    """A file that is to be sent.

    Attributes:
        path: of the file.
        instance: what it is.
        transfer_syntax: UID of its encoding.
        sha256: hex, of the file.
        size: bytes.
    """

    path: Path
    instance: Instance
    transfer_syntax: str
    sha256: str
    size: int


class Archive(Protocol):
    """An archive that is asked, fetched from and sent to; all methods may raise `TransientError` and `RefusedError`."""

    @property
    def name(self) -> str:
        """As the ledger calls it; no credentials."""

    def find(self, query: Query) -> list[SeriesFound]:
        """The series that fit."""

    def instances(self, series: SeriesFound) -> list[Instance]:
        """All objects of a series."""

    def present(self, series: SeriesFound) -> frozenset[str] | None:
        """SOPInstanceUIDs of a series that the archive has; None when it cannot be asked."""

    def fetch(self, wanted: Sequence[Instance], keep: Callable[[bytes], None]) -> None:
        """Give `keep` every object of one series, each as a whole DICOM file; an error leaves those before it kept."""

    def store(self, files: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, str]]:
        """Send files; yields each with "" once the archive says that it has it, or with the reason why not."""
