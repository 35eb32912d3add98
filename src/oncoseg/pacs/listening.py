"""Received studies become results, and results are sent on: what is on disk says how far each one is.

    received/STUDY/SERIES/OBJECT.dcm    what came
    results/STUDY-CONTENT/              one folder for each content that a study had
        result.json                     appears when the files beside it are whole
        done.json                       appears when the archive has them

A listener that was killed finds everything in these folders and goes on; nothing else is remembered.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg.errors import InputError, OncosegError
from oncoseg.files import read_json, sha256, write_json
from oncoseg.io.dicom import Series, find_series
from oncoseg.io.series_choice import candidates

RECEIVED, RESULTS = "received", "results"
_RESULT, _DONE = "result.json", "done.json"
#: Longest wait before a result that could not be sent is tried again, seconds.
LONGEST_WAIT_S = 300.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What is done with a study.

    Attributes:
        answer: given the chosen series and a folder, writes the result there, whole; returns its files and what the
            record shall say about them.
        send: brings files to the archive; None keeps them here.
        modality: of the images that are looked at.
        maker: names what makes the results; another maker makes them anew.
    """

    answer: Callable[[Series, Path], tuple[Sequence[Path], Mapping[str, Any]]]
    send: Callable[[Sequence[Path]], None] | None
    modality: str = "CT"
    maker: str = ""


class Desk:
    """Goes through the received studies.

    Args:
        out: folder of all of it.
        task: what is done with each.
        quiet_s: seconds without a new object after which a study is complete.
        last: when the newest object of a study (its folder's name) came, by `clock`; None for before the start.
        sending: whether somebody still sends to it.
        say: told what happens; no names or numbers of patients.
        clock: seconds.
    """

    def __init__(
        self,
        out: Path,
        task: Task,
        *,
        quiet_s: float,
        last: Callable[[str], float | None] = lambda study: None,
        sending: Callable[[str], bool] = lambda study: False,
        say: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.out, self.task = out, task
        self._quiet, self._last, self._sending, self._say, self._clock = quiet_s, last, sending, say, clock
        self._began = clock()
        #: study -> when its newest object came as it was settled; another one makes it due again.
        self._settled: dict[str, float] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    def studies(self) -> list[str]:
        """Names of the folders of all received studies."""
        received = self.out / RECEIVED
        return sorted(p.name for p in received.iterdir() if p.is_dir()) if received.is_dir() else []

    def due(self) -> list[str]:
        """Studies that are complete and not settled."""
        now, found = self._clock(), []
        for study in self.studies():
            newest = self._newest(study)
            _, again = self._failures.get(study, (0, 0.0))
            if self._settled.get(study) == newest:
                continue
            if newest + self._quiet <= now and again <= now and not self._sending(study):
                found.append(study)
        return found

    def work(self) -> int:
        """Settle what is due; returns the number of studies that are settled now. A failure leaves the others."""
        settled = 0
        for study in self.due():
            newest = self._newest(study)
            try:
                self._work_on(study)
            except OncosegError as error:
                count = self._failures.get(study, (0, 0.0))[0] + 1
                wait = min(max(self._quiet, 5.0) * 2.0**count, LONGEST_WAIT_S)
                self._failures[study] = (count, self._clock() + wait)
                reason = self._without_patient(study, str(error))
                _LOG.warning("study %s: %s", study, reason)
                self._say(f"study {study}: {reason} It stays here and is tried again in {wait:.0f} s.")
                continue
            self._failures.pop(study, None)
            self._settled[study] = newest
            settled += 1
        return settled

    def _without_patient(self, study: str, text: str) -> str:
        """A message without the names and free texts of its series, which some errors say."""
        try:
            series = find_series(self.out / RECEIVED / study)
        except InputError:
            return "it cannot be read."
        for private in sorted({t for s in series for t in (s.patient, s.description) if t}, key=len, reverse=True):
            text = text.replace(private, "(left out)")
        return text

    def _newest(self, study: str) -> float:
        came = self._last(study)
        return self._began if came is None else came

    def _work_on(self, study: str) -> None:
        series = self._chosen(study)
        if series is None:
            self._say(f"study {study}: no {self.task.modality} series that is a volume; nothing to do")
            return
        place = self.out / RESULTS / f"{study}-{_content(series, self.task.maker)}"
        if (place / _DONE).exists():
            return
        if not (place / _RESULT).exists():
            self._say(f"study {study}: {len(series.headers)} slices, looking for the tumour")
            files, about = self.task.answer(series, place)
            write_json(place / _RESULT, {**about, "files": {file.name: sha256(file) for file in files}})
        held = [place / name for name in read_json(place / _RESULT)["files"]]
        if self.task.send is not None:
            self.task.send(held)
        write_json(place / _DONE, {"sent": self.task.send is not None})
        self._say(
            f"study {study}: {', '.join(f.name for f in held)} {'sent' if self.task.send else 'in ' + str(place)}"
        )

    def _chosen(self, study: str) -> Series | None:
        """The best of the image series; None when there is none, or none that is a volume."""
        images = [s for s in find_series(self.out / RECEIVED / study) if s.modality == self.task.modality]
        if not images:
            return None
        best, *others = candidates(images)
        if best.problem is not None:
            raise InputError(f"its best {self.task.modality} series is no volume ({best.problem}).")
        if others:
            self._say(f"study {study}: the best of {len(images)} {self.task.modality} series is taken")
        return best.series


def _content(series: Series, maker: str) -> str:
    """Names what a series holds and who looks at it: a slice more is another content."""
    texts: Iterable[str] = [maker, series.uid, *sorted(header.text("SOPInstanceUID") for header in series.headers)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
