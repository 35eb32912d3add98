"""The local runner: every cell in a process of its own, resumed by what is missing.

A cell that fails, crashes or is killed ends alone. What is done is decided by the files in the
output folder, so a run may be stopped at any time, started again, or shared by several runners.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from oncoseg.config import content_key, plain
from oncoseg.contracts import DatasetInfo
from oncoseg.errors import FetchError, NotApplicableError, OncosegError, PartialFailureError
from oncoseg.experiments.cell import ChangedError
from oncoseg.experiments.events import Event, Kind, Progress, silent
from oncoseg.experiments.isolation import ChildError, CrashError, Stop, in_child
from oncoseg.experiments.lease import leased, release, wait_for
from oncoseg.experiments.matrix import Cell, Matrix
from oncoseg.experiments.planning import ATTEMPT_LIMIT, Planned, failures, quarantine_reason, survey
from oncoseg.experiments.provenance import Clock, now, provenance, without_folders
from oncoseg.experiments.sides import chosen_entries, splits_of
from oncoseg.experiments.specs import DatasetSpec
from oncoseg.experiments.splits import save_splits
from oncoseg.experiments.store import (
    ATTEMPTS,
    NOT_APPLICABLE,
    PREDICTIONS,
    PROVENANCE,
    SPLITS,
    PlannedCell,
    Status,
    is_finished,
    write_plan,
)
from oncoseg.files import write_json, write_text
from oncoseg.score import read_predictions

LOG = "log.txt"
#: How the end of a cell is told.
_KINDS: dict[Status, Kind] = {
    "planned": "note",
    "finished": "finished",
    "failed": "failed",
    "quarantined": "failed",
    "skipped": "skipped",
    "not applicable": "not applicable",
    "left out": "left out",
}


@dataclass(frozen=True)
class RunSummary:
    """What became of a matrix.

    Attributes:
        output: folder of the run.
        planned: every cell with its line and its estimate, in the order of the matrix.
        ran: labels of the cells that were finished by this call.
        failed_cases: "cell: case: error" of every failed case in finished cells, "data set: case: error" of those
            that the data set left out because their files are damaged.
    """

    output: Path
    planned: tuple[Planned, ...]
    ran: tuple[str, ...] = ()
    failed_cases: tuple[str, ...] = ()

    def having(self, *statuses: Status) -> list[PlannedCell]:
        """The cells with one of these statuses."""
        return [p.line for p in self.planned if p.line.status in statuses]

    @property
    def seconds(self) -> float | None:
        """Estimated time of what is not finished, on one worker; None when any of it is unknown."""
        estimates = [p.seconds for p in self.planned if p.line.status == "planned"]
        return None if None in estimates else sum(s for s in estimates if s is not None)

    def raise_if_failed(self) -> None:
        """Raise PartialFailureError when a cell or a case failed; a missing network alone is no failure."""
        failed = self.having("failed", "quarantined")
        if not failed and not self.failed_cases:
            return
        lines = [f"  {c.label}: {c.reason}" for c in failed] + [f"  {line}" for line in self.failed_cases]
        raise PartialFailureError(
            f"{len(failed)} cells and {len(self.failed_cases)} cases failed; everything else is finished and kept in "
            f"{self.output}. Run the same command again to try them once more.\n" + "\n".join(lines)
        )


def run_matrix(
    matrix: Matrix,
    output: Path,
    *,
    workers: int = 1,
    progress: Progress = silent,
    dry_run: bool = False,
    command: str | None = None,
) -> RunSummary:
    """Run what is missing of a matrix.

    Args:
        matrix: what to run.
        output: folder of the run, made if necessary.
        workers: cells at the same time; the cores are shared between them.
        progress: told what happens, from one thread at a time.
        dry_run: only plan: nothing is fetched, written or run.
        command: for the provenance.

    Returns:
        What became of every cell; call `raise_if_failed` once the results have been looked at.

    Raises:
        UnknownNameError: for a name that is on no shelf.
        InputError: when `output` cannot be written to.
    """
    planned = survey(matrix, output)
    if dry_run:
        return RunSummary(output, tuple(planned))
    return _Run(matrix, output, planned, workers, progress).go(command)


class _Run:
    def __init__(
        self, matrix: Matrix, output: Path, planned: Sequence[Planned], workers: int, progress: Progress
    ) -> None:
        self.matrix, self.output, self.planned, self.workers = matrix, output, list(planned), workers
        self._progress, self._lock = progress, threading.Lock()
        self._unreachable: dict[str, str] = {}
        self._stop = Stop()

    def go(self, command: str | None) -> RunSummary:
        clock = Clock()
        self._write_plan()
        self._write_splits()
        for item in self.planned:
            if item.line.status in ("skipped", "not applicable", "left out", "failed", "quarantined"):
                self._tell_end(item.line)
            elif item.line.status == "finished":
                release(self.output / str(item.line.folder))
        missing = [n for n, item in enumerate(self.planned) if item.line.status == "planned"]
        self._fetch(missing)
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                list(pool.map(self._run, missing))
            except BaseException:
                self._stop.ask()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self._write_plan()
        ran = [self.planned[n].line.label for n in missing if self.planned[n].line.status == "finished"]
        if ran or not (self.output / PROVENANCE).exists():
            self._write_provenance(clock, command)
        return RunSummary(self.output, tuple(self.planned), tuple(ran), tuple(self._failed_cases()))

    def _run(self, number: int) -> None:
        cell, line = self.planned[number].cell, self.planned[number].line
        folder = self.output / str(line.folder)
        while not is_finished(folder):
            if self._stop.asked:
                return
            reason = self._why_unreachable(cell)
            if reason is not None:
                return self._end(number, "left out", reason)
            with leased(folder) as ours:
                if ours and not is_finished(folder) and not self._attempt(number, folder):
                    return
            if not ours:
                wait_for(folder, give_up=lambda: self._stop.asked)
        self._end(number, "finished", None)

    def _attempt(self, number: int, folder: Path) -> bool:
        """Try once; False when there is no point in trying again now."""
        cell = self.planned[number].cell
        job = {"what": "cell", "cell": plain(cell), "output": str(self.output), "key": self.planned[number].line.key}
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        try:
            in_child(job, log=folder / LOG, progress=self._tell, threads=threads, stop=self._stop)
        except FetchError as error:
            self._end(number, "left out", str(error))
        except (ChildError, CrashError) as error:
            if self._stop.asked:
                return False
            if isinstance(error, ChildError) and error.kind == ChangedError.__name__:
                # Nothing is wrong with the cell: the next call plans it anew.
                self._end(number, "failed", str(error))
                return False
            if isinstance(error, ChildError) and error.kind == NotApplicableError.__name__:
                write_json(folder / NOT_APPLICABLE, {"reason": without_folders(str(error))})
                self._end(number, "not applicable", str(error))
                return False
            tries = self._note_failure(folder, error)
            if len(tries) >= ATTEMPT_LIMIT:
                self._end(number, "quarantined", quarantine_reason(tries))
            elif isinstance(error, CrashError):
                self._tell(Event("note", cell.label, message=f"{error} Trying again."))
                return True
            else:
                self._end(number, "failed", str(error))
        else:
            return True
        return False

    def _note_failure(self, folder: Path, error: OncosegError) -> list[str]:
        kind = "crash" if isinstance(error, CrashError) else "error"
        record = {"at": now(), "kind": kind, "error": without_folders(str(error))}
        target = folder / ATTEMPTS
        before = target.read_text(encoding="utf-8") if target.exists() else ""
        write_text(target, before + json.dumps(record) + "\n")
        return failures(folder)

    def _fetch(self, missing: Sequence[int]) -> None:
        """Fetch once, before cells ask for it at the same time; what cannot be had leaves its cells out."""
        for number in missing:
            cell = self.planned[number].cell
            for what, get in _wanted(cell, self._say):
                if what not in self._unreachable:
                    try:
                        get()
                        self._unreachable[what] = ""
                    except FetchError as error:
                        self._unreachable[what] = str(error)
                    except OncosegError:
                        # Not about the network: the cells will meet it and report it case by case.
                        self._unreachable[what] = ""

    def _why_unreachable(self, cell: Cell) -> str | None:
        reasons = [self._unreachable.get(what, "") for what, _ in _wanted(cell, self._say)]
        return next((r for r in reasons if r), None)

    def _end(self, number: int, status: Status, reason: str | None) -> None:
        item = self.planned[number]
        line = replace(item.line, status=status, reason=None if reason is None else without_folders(reason))
        self.planned[number] = replace(item, line=line)
        self._tell_end(line)

    def _tell_end(self, line: PlannedCell) -> None:
        self._tell(Event(_KINDS[line.status], line.label, message=line.reason or ""))

    def _say(self, text: str) -> None:
        self._tell(Event("note", message=text))

    def _tell(self, event: Event) -> None:
        with self._lock:
            self._progress(event)

    def _write_plan(self) -> None:
        write_plan(self.output, self.matrix.name, [item.line for item in self.planned])

    def _write_splits(self) -> None:
        """Whoever is trained on and tested now; an earlier plan may have split otherwise."""
        cells = [c for i in self.planned if i.line.key is not None for c in (i.cell, i.cell.at_home)]
        for name, spec in {c.dataset_id: c.dataset for c in cells}.items():
            splits = splits_of(spec, chosen_entries(spec, spec.open()))
            save_splits(self.output / SPLITS / f"{name}.json", splits)

    def _write_provenance(self, clock: Clock, command: str | None) -> None:
        left_out = [f"{i.line.label}: {i.line.reason}" for i in self.planned if i.line.status == "left out"]
        record = provenance(
            clock,
            hashes={"matrix": content_key([item.line.key for item in self.planned])},
            seeds={"matrix": self.matrix.seed},
            command=command,
            fallbacks=tuple(left_out),
        )
        write_json(self.output / PROVENANCE, plain(record))

    def _failed_cases(self) -> list[str]:
        found = list(dict.fromkeys(line for item in self.planned for line in item.damaged))
        for item in self.planned:
            if item.line.status == "finished":
                predictions = read_predictions(self.output / str(item.line.folder) / PREDICTIONS)
                found += [f"{item.line.label}: {p.case}: {p.error}" for p in predictions if p.error is not None]
        return found


def _wanted(cell: Cell, say: Callable[[str], None]) -> list[tuple[str, Callable[[], object]]]:
    """What a cell needs from the network: a name, and a call that fetches it."""
    from oncoseg import registry

    wanted: list[tuple[str, Callable[[], object]]] = []
    for name, spec in {c.dataset_id: c.dataset for c in (cell, cell.at_home)}.items():
        info = registry.load("datasets", spec.use).INFO
        if info.downloads:

            def load(spec: DatasetSpec = spec, info: DatasetInfo = info) -> None:
                say(f"{info.title}: {info.downloads} (licence: {info.licence}), kept in the cache")
                dataset = spec.open()
                dataset.load(chosen_entries(spec, dataset)[0].case)

            wanted.append((f"data set {name}", load))
    model = cell.model
    if model is not None and model.weights is None and model.info.weights is not None:
        identifier = model.info.weights

        def locate() -> None:
            from oncoseg.weights.catalogue import locate as find

            find(identifier, say)

        wanted.append((f"weights {identifier}", locate))
    return wanted
