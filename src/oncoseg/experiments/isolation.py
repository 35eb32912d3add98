"""Work in a process of its own, so that a crash, a kill or exhausted memory ends that work and nothing else.

The job goes in as one line of JSON, events and the result come back as JSON Lines. The child ends
by itself when its parent is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from oncoseg.config import fill
from oncoseg.errors import FetchError, OncosegError
from oncoseg.experiments.events import Event, Progress, silent

#: Environment variables that numerical libraries take their number of threads from.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ChildError(OncosegError):
    """The work failed with an error or a bug of its own; trying again will not help.

    Attributes:
        kind: name of the error's class; "" for a bug.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class CrashError(OncosegError):
    """The process was ended from outside, e.g. for want of memory; trying again may help."""


class Stop:
    """Ends the children of a run at once, from another thread than those that wait for them."""

    def __init__(self) -> None:
        self._lock, self._asked = threading.Lock(), False
        self._children: set[subprocess.Popen[str]] = set()

    @property
    def asked(self) -> bool:
        """Whether the run is being stopped: a child that ended then did not fail."""
        return self._asked

    def ask(self) -> None:
        """Kill the children that run and those that are still to be started."""
        with self._lock:
            self._asked = True
            for child in self._children:
                child.kill()

    @contextmanager
    def holding(self, child: subprocess.Popen[str]) -> Iterator[None]:
        """Answer for a child until it has ended."""
        with self._lock:
            self._children.add(child)
            if self._asked:
                child.kill()
        try:
            yield
        finally:
            with self._lock:
                self._children.discard(child)


def in_child(
    job: Mapping[str, Any],
    *,
    log: Path,
    progress: Progress = silent,
    threads: int | None = None,
    stop: Stop | None = None,
) -> Any:
    """Do a job in a child process and return its result, plain data.

    Args:
        job: see `oncoseg.experiments.child`.
        log: file that receives what the child prints; its folder exists.
        progress: told every event of the child.
        threads: of numerical libraries in the child; None leaves the choice to them.
        stop: ends the child when it is asked to.

    Raises:
        ChildError: with the message of the error the job ended with, or the last line of the log.
        FetchError: when something could not be fetched.
        CrashError: when the child was ended by a signal.
    """
    environment = {**os.environ, **({} if threads is None else dict.fromkeys(_THREADS, str(threads)))}
    command = [sys.executable, "-P", "-m", "oncoseg.experiments.child"]
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        ) as child,
        (stop or Stop()).holding(child),
    ):
        job_in, messages = cast("IO[str]", child.stdin), cast("IO[str]", child.stdout)
        outcome: dict[str, Any] = {}
        try:
            job_in.write(json.dumps(job) + "\n")
            job_in.flush()
            for line in messages:
                message = json.loads(line)
                if "event" in message:
                    progress(fill(Event, message["event"], "event of a child process"))
                else:
                    outcome = message
        except BrokenPipeError:
            outcome = {}
        except BaseException:
            child.kill()
            raise
        code = child.wait()
    return _result(outcome, code, log)


def _result(outcome: dict[str, Any], code: int, log: Path) -> Any:
    if "result" in outcome:
        return outcome["result"]
    if "error" in outcome:
        if outcome["kind"] == "FetchError":
            raise FetchError(outcome["error"])
        raise ChildError(outcome["error"], outcome["kind"])
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (often: out of memory)" if name == "SIGKILL" else ""
        raise CrashError(f"The process was ended by {name}{hint}.")
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
    raise ChildError(f"The process ended with code {code}: {last}")
