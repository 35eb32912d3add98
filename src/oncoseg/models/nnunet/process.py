"""The child process that runs nnU-Net, and how it is spoken with: JSON lines in, JSON lines out, prints to a log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

from oncoseg.errors import ConfigError, InputError, NotApplicableError, OncosegError, UnsafeFileError

Told = dict[str, Any]
#: Below the folder that holds the `oncoseg` package: the child sees it last, so that its own packages come first.
_ROOT = Path(__file__).resolve().parents[3]
_START = f"import sys; sys.path.append({str(_ROOT)!r}); from oncoseg.models.nnunet.child.main import main; main()"
_KINDS: dict[str, type[OncosegError]] = {
    kind.__name__: kind for kind in (InputError, NotApplicableError, UnsafeFileError)
}
#: What nnU-Net says when memory is short, and what helps.
_MEMORY = ("out of memory", "unable to allocate", "not enough memory", "can't allocate memory", "6 feet under")


class Child:
    """A Python that has `nnunetv2`, waiting for jobs; it ends with `close`, with this object, or with this process.

    Args:
        python: its interpreter.
        log: file that receives everything nnU-Net prints; appended to.
        processes: nnU-Net may use beside it.
        device: `auto`, `cpu`, `cuda`, `cuda:1` ...; nnU-Net knows no numbers, so the child sees that one alone.
        folders: nnU-Net's three folders, by the names of their variables.
        compile: whether networks are compiled.
    """

    def __init__(
        self,
        python: Path,
        log: Path,
        *,
        processes: int,
        device: str = "auto",
        folders: Mapping[str, Path] | None = None,
        compile: bool = False,
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                [str(python), "-u", "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**_environment(processes, folders or {}, compile), **_visible(device)},
                text=True,
                start_new_session=True,
            )
        self.device = device.partition(":")[0]
        self._end = weakref.finalize(self, _kill, self._process)
        threading.Thread(target=_clear_up_after, args=(self._process,), daemon=True).start()

    def ask(self, what: str, tell: Callable[[Told], None] = lambda told: None, /, **job: Any) -> Any:
        """Have a job done.

        Args:
            what: name of the job, see `oncoseg.models.nnunet.child.main`.
            tell: told what the child tells on its way.
            **job: plain data.

        Returns:
            Plain data.

        Raises:
            OncosegError: with the child's error and the place of its log.
        """
        outcome: Told = {}
        try:
            job_in, answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
            job_in.write(json.dumps({"what": what, **job}) + "\n")
            job_in.flush()
            for line in answers:
                message = json.loads(line)
                if "told" not in message:
                    outcome = message
                    break
                tell(message["told"])
        except BrokenPipeError:
            outcome = {}
        except BaseException:
            self.close()
            raise
        if "done" in outcome:
            return outcome["done"]
        self._fail(outcome)

    def close(self) -> None:
        """End it and everything it started."""
        self._end()

    def _fail(self, outcome: Told) -> None:
        if outcome:
            self.close()
            raise failure(outcome["kind"], outcome["error"], outcome.get("doing", ""), self.log)
        code = self._process.wait()
        self.close()
        if code < 0:
            name = signal.Signals(-code).name
            raise failure("", f"ended by {name}{' (often: out of memory)' if name == 'SIGKILL' else ''}", "", self.log)
        raise failure("", f"ended with code {code}: {_last_line(self.log)}", "", self.log)


def failure(kind: str, error: str, doing: str, log: Path) -> OncosegError:
    """The child's error as one of ours.

    Args:
        kind: name of the error's class in the child.
        error: its text.
        doing: what the child was doing, e.g. "planning".
        log: its log.
    """
    if kind in _KINDS:
        return _KINDS[kind](error)
    lines = [line.strip() for line in error.splitlines() if line.strip()] or [kind or "no reason was given"]
    where = f" while {doing}" if doing else ""
    advice = ""
    if kind == "MemoryError" or any(sign in error.lower() for sign in _MEMORY):
        advice = " Memory was short: lower --set memory_gb, or --set processes."
    return OncosegError(f"nnU-Net failed{where}: {lines[-1]}.{advice} Everything it said is in {log}.")


def _environment(processes: int, folders: Mapping[str, Path], compile: bool) -> dict[str, str]:
    """That of this process with nnU-Net's own variables; none of the user's reach it."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith("nnunet")}
    return {
        **kept,
        **{name: str(folder.resolve()) for name, folder in folders.items()},
        "nnUNet_n_proc_DA": str(processes),
        "nnUNet_def_n_proc": str(max(1, processes)),
        "nnUNet_compile": "true" if compile else "false",
        "nnUNet_wandb_enabled": "0",
        "MPLBACKEND": "agg",
    }


def _visible(device: str) -> dict[str, str]:
    """Variables that leave one accelerator of several to see."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not number.isdigit():
        return {}
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    place = int(number)
    if seen and place >= len(seen):
        raise ConfigError(f"Device '{device}' cannot be used here: CUDA_VISIBLE_DEVICES shows {len(seen)}.")
    return {"CUDA_VISIBLE_DEVICES": seen[place] if seen else number}


def _clear_up_after(process: subprocess.Popen[str]) -> None:
    """When the child has died, end what it started: that holds the pipe open on which its parent waits."""
    process.wait()
    _kill_session(process)


def _kill_session(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # everything has ended already


def _kill(process: subprocess.Popen[str]) -> None:
    """The child leads a session: its own workers end with it."""
    _kill_session(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None and not stream.closed:
            try:
                stream.close()
            except BrokenPipeError:
                continue
    process.wait()


def _last_line(log: Path) -> str:
    return (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
