"""The child's side of `isolation`: `python -m oncoseg.experiments.child` with a job on standard input.

A job is {"what": "cell", "cell": ..., "output": ..., "key": ...} or {"what": "cost", ...}, see `cost`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

from oncoseg.config import fill, plain
from oncoseg.errors import OncosegError
from oncoseg.experiments.events import Event


def main() -> None:
    """Do the job of standard input; standard output carries messages only, prints go to standard error."""
    # Ctrl-C reaches every process of a terminal; the parent decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    parent = FileIO(0, closefd=False)
    job = json.loads(parent.readline())
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        _send(channel, {"result": _do(job, channel)})
    except OncosegError as error:
        _send(channel, {"error": str(error), "kind": type(error).__name__})
        sys.exit(error.exit_code)


def _do(job: dict[str, Any], channel: TextIO) -> Any:
    if job["what"] == "cost":
        from oncoseg.experiments.cost import CostJob, measure_here

        return plain(measure_here(fill(CostJob, job["cost"], "cost job")))
    from oncoseg.experiments.cell import run_cell
    from oncoseg.experiments.matrix import Cell

    def tell(event: Event) -> None:
        _send(channel, {"event": dataclasses.asdict(event)})

    folder = run_cell(fill(Cell, job["cell"], "cell"), Path(job["output"]), progress=tell, key=job["key"])
    return folder.name


def _send(channel: TextIO, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")


def _end_with(parent: FileIO) -> None:
    """The parent holds the other end open as long as it lives and writes nothing more."""
    parent.read(1)
    os._exit(1)


if __name__ == "__main__":
    main()
