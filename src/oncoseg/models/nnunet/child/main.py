"""The child's side of `oncoseg.models.nnunet.process`: reads jobs, does them, answers.

A job is a line {"what": "plan" | "train" | "open" | "predict" | "count" | "memory" | "unpickle", ...}; answers are
any number of {"told": ...} and then {"done": ...} or {"error": ..., "kind": ..., "doing": ...}. What nnU-Net prints
goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """Answer jobs until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what becomes of this process
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    # Not sys.stdin: nnU-Net forks, and its children would wait for ever for the lock that a reader of it holds.
    parent = os.fdopen(os.dup(0), "rb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    jobs: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(parent, jobs), daemon=True).start()
    _declare_operators()
    held: dict[str, Any] = {}
    while True:
        _answer(json.loads(jobs.get()), answers, held)


def _answer(job: dict[str, Any], answers: TextIO, held: dict[str, Any]) -> None:
    doing = [""]

    def tell(told: dict[str, Any]) -> None:
        doing[0] = told.get("doing", doing[0])
        _send(answers, {"told": told})

    try:
        _send(answers, {"done": _do(job, tell, held)})
    except Exception as error:  # noqa: BLE001 - whatever nnU-Net raises must reach the user as one message
        traceback.print_exc()
        _send(answers, {"error": str(error), "kind": type(error).__name__, "doing": doing[0]})


def _do(job: dict[str, Any], tell: Tell, held: dict[str, Any]) -> Any:
    what = job.pop("what")
    if job.get("device") == "auto":
        job["device"] = _accelerator()
    if what in ("plan", "train"):
        from oncoseg.models.nnunet.child import training

        return {"plan": training.plan, "train": training.train}[what](job, tell)
    from oncoseg.models.nnunet.child import predicting

    if what == "unpickle":
        return predicting.unpickle(Path(job["source"]), Path(job["target"]))
    if what == "open":
        held["stages"] = predicting.opened(job)
        return None
    if what == "memory":
        return predicting.peak_memory_bytes()
    work = predicting.counted if what == "count" else predicting.predict
    return work(held["stages"], Path(job["image"]), job["spacing"], Path(job["folder"]))


def _accelerator() -> str:
    """What nnU-Net can use of what torch sees."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _send(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")


def _listen(parent: FileIO, jobs: queue.Queue[bytes]) -> None:
    """The parent holds the other end open as long as it lives."""
    for line in parent:
        jobs.put(line)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)  # this process leads a session: its workers end with it
    os._exit(1)


def _declare_operators() -> None:
    """Let torchvision be imported beside a torch that it was not built for.

    Some of nnU-Net's trainers import timm, and that torchvision, whose Python code registers properties of operators
    that its library defines. Where the library does not load (it is built for CUDA), declaring their schemas is
    enough: nothing in nnU-Net calls them.
    """
    import importlib.util

    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return
    try:
        for library in sorted(Path(found.origin).parent.glob("_C*.so")):
            torch.ops.load_library(library)
    except OSError:
        schemas = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            schemas.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(schemas)


#: Declarations last as long as the object that made them.
_declared: list[Any] = []
