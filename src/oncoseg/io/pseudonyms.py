"""Names, identifiers and dates that stand for others: the same key always gives the same ones."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from oncoseg.errors import InputError
from oncoseg.files import require_file, require_writable

#: What a key file holds: 64 hexadecimal digits, 256 bits.
_KEY = re.compile(r"[0-9a-f]{64}")
#: A date, or a date and a time with fractions of seconds and offset from UTC.
_WHEN = re.compile(r"\d{8}(?:\d{0,6}(?:\.\d{1,6})?(?:[+-]\d{4})?)?")
#: UIDs under this root are defined by the standard and name nobody.
_STANDARD = "1.2.840.10008."
#: Dates move back by at most so many days (ten years) and at least one.
MAX_DAYS = 3652


@dataclass(frozen=True)
class Pseudonyms:
    """A keyed mapping (HMAC-SHA256): who lacks the key can neither undo it nor try names against it.

    Attributes:
        key: 32 random bytes.
    """

    key: bytes = field(repr=False)

    @property
    def mark(self) -> str:
        """16 hex digits that tell two keys apart and say nothing of the key."""
        return self._digest("mark", "")[:16]

    def uid(self, uid: str) -> str:
        """A UID of the form 2.25.N (PS3.5 B.2) for another; UIDs of the standard and empty ones stay."""
        uid = uid.strip(" \0")
        if not uid or uid.startswith(_STANDARD):
            return uid
        return f"2.25.{int(self._digest('uid', uid)[:32], 16)}"

    def patient(self, patient: str) -> str:
        """A patient's name and ID, e.g. "PAT-3f9a0c21d4"; spaces round an ID do not count."""
        return f"PAT-{self._digest('patient', patient.strip())[:10]}"

    def text(self, kind: str, text: str, length: int = 8) -> str:
        """Hex digits that stand for any other text; equal texts of different kinds get different ones."""
        return self._digest(kind, text)[:length]

    def days(self, patient: str) -> int:
        """By how many days a patient's dates move back: 1 to `MAX_DAYS`, the same for all of the patient's dates."""
        return 1 + int(self._digest("days", patient.strip())[:12], 16) % MAX_DAYS

    def moved(self, when: str, patient: str) -> str:
        """A DICOM date or date-time (YYYYMMDD, YYYYMMDDHHMMSS ...) moved back, time of day kept; "" when it is none."""
        digits = when.strip(" \0")
        if not _WHEN.fullmatch(digits):
            return ""
        try:
            day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
            return (day - timedelta(days=self.days(patient))).strftime("%Y%m%d").zfill(8) + digits[8:]
        except (ValueError, OverflowError):
            return ""

    def _digest(self, kind: str, text: str) -> str:
        return hmac.new(self.key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()


def with_key(file: Path | None) -> Pseudonyms:
    """The mapping of a key file, which is made (for its owner alone to read) when it does not exist.

    Args:
        file: None for a key that nobody keeps, so that the mapping can never be repeated.

    Raises:
        InputError: when the file holds no key or cannot be written.
    """
    if file is None:
        return Pseudonyms(secrets.token_bytes(32))
    if not file.exists():
        require_writable(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    return read_key(file)


def read_key(file: Path) -> Pseudonyms:
    """The mapping of a key file that is there.

    Raises:
        InputError: when the file is missing or holds no key.
    """
    require_file(file)
    text = file.read_bytes()[:200].decode("latin-1").strip()
    if not _KEY.fullmatch(text):
        raise InputError(
            f"{file} holds no key: 64 hexadecimal digits are needed. Leave the file away and oncoseg makes one."
        )
    return Pseudonyms(bytes.fromhex(text))
