"""The ledger: one line of JSON for every object that came or went, on disk before anybody is told."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from oncoseg.errors import InputError

LEDGER = "ledger.jsonl"
#: "there" is an object that needed no transfer: it was whole on disk, or the archive had it.
Outcome = Literal["stored", "there", "refused"]


@dataclass(frozen=True)
class Line:
    """What happened to one object.

    Attributes:
        way: "in" or "out".
        peer: the archive; no credentials.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        sop: SOPInstanceUID.
        outcome: "stored", "there" or "refused".
        sha256: hex, of the file on this side; "" when there is none.
        reason: why it was refused.
        time: UTC, ISO 8601; filled when it is written.
    """

    way: Literal["in", "out"]
    peer: str
    study: str
    series: str
    sop: str
    outcome: Outcome
    sha256: str = ""
    reason: str = ""
    time: str = ""


class Ledger:
    """A file that is only ever added to; several threads may."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._hashes: dict[str, str] = {}
        self._sent: set[tuple[str, str, str]] = set()
        for line in self.lines():
            self._remember(line)

    def lines(self) -> Iterator[Line]:
        """What was written so far; half a line at the end, which a kill left, is passed over.

        Raises:
            InputError: for a line in between that is none of a ledger.
        """
        if not self.path.exists():
            return
        *whole, _ = self.path.read_bytes().split(b"\n")
        for number, text in enumerate(whole, start=1):
            try:
                yield Line(**json.loads(text))
            except (ValueError, TypeError) as error:
                raise InputError(f"{self.path}, line {number}, is none of a ledger. Move the file away.") from error

    def add(self, line: Line) -> None:
        """Write a line and flush it to disk.

        Raises:
            InputError: when it cannot be written.
        """
        stamped = {**asdict(line), "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        text = json.dumps({key: value for key, value in stamped.items() if value}) + "\n"
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab") as stream:
                    self._drop_half_a_line()
                    stream.write(text.encode())
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as error:
                raise InputError(f"Cannot write {self.path}: {error.strerror}. Free some space.") from error
            self._remember(line)

    def hash_of(self, sop: str) -> str:
        """SHA-256 of the file that an object came as; "" when it never came."""
        return self._hashes.get(sop, "")

    def was_sent(self, peer: str, sop: str, sha256: str) -> bool:
        """Whether a peer has taken this very file."""
        return (peer, sop, sha256) in self._sent

    def _remember(self, line: Line) -> None:
        if line.outcome == "refused":
            return
        if line.way == "in":
            self._hashes[line.sop] = line.sha256
        else:
            self._sent.add((line.peer, line.sop, line.sha256))

    def _drop_half_a_line(self) -> None:
        if not self.path.stat().st_size:
            return
        with self.path.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            if stream.read() == b"\n":
                return
        os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)
