"""What a matrix would do: every cell with its key, whether it is finished, and what it may cost."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg.contracts import Damaged, Dataset
from oncoseg.errors import FetchError, OncosegError
from oncoseg.experiments.identity import Identity, folder_name, identify
from oncoseg.experiments.matrix import Cell, Matrix
from oncoseg.experiments.provenance import code_hash
from oncoseg.experiments.store import (
    ATTEMPTS,
    CELL,
    NOT_APPLICABLE,
    CellRecord,
    PlannedCell,
    Status,
    is_finished,
    read_cell,
)
from oncoseg.files import read_json

#: Failures after which a cell is no longer tried.
ATTEMPT_LIMIT = 3


@dataclass(frozen=True, eq=False)
class Planned:
    """A cell on its way through a run.

    Attributes:
        cell: what to run.
        line: what `matrix.json` says about it.
        seconds: estimate from earlier results, None when unknown.
        damaged: "data set: case: reason" of what its data set could not read.
    """

    cell: Cell
    line: PlannedCell
    seconds: float | None = None
    damaged: tuple[str, ...] = ()


def survey(matrix: Matrix, output: Path) -> list[Planned]:
    """The plan of a matrix against what is finished in `output`; nothing is fetched, trained or predicted.

    A data set that cannot be opened takes its cells out of the plan, with the reason, and no others.

    Raises:
        UnknownNameError: for a name that is on no shelf.
    """
    code_hash.cache_clear()  # of the sources as they are now: that is what child processes will load
    opened: dict[str, Dataset | OncosegError] = {}
    history = _history(output)
    return [_plan(cell, opened, output, history) for cell in matrix.plan()]


def failures(folder: Path) -> list[str]:
    """Messages of the failed attempts at a cell, oldest first."""
    source = folder / ATTEMPTS
    lines = source.read_text(encoding="utf-8").splitlines() if source.exists() else []
    return [json.loads(line)["error"] for line in lines]


def quarantine_reason(errors: list[str]) -> str:
    """What is said about a cell that failed too often."""
    return f"failed {len(errors)} times and is no longer tried (delete {ATTEMPTS} to try again): {errors[-1]}"


def _plan(cell: Cell, opened: dict[str, Dataset | OncosegError], output: Path, history: list[CellRecord]) -> Planned:
    if cell.skipped:
        return Planned(cell, PlannedCell(cell.label, "skipped", cell.skipped))
    try:
        dataset, source = _open(cell, opened), None if cell.source is None else _open(cell.at_home, opened)
        identity = identify(cell, dataset, source)
    except OncosegError as error:
        status: Status = "left out" if isinstance(error, FetchError) else "failed"
        return Planned(cell, PlannedCell(cell.label, status, str(error)))
    folder = folder_name(cell, identity.key)
    status, reason = _state(output / folder)
    predictions = len(identity.sides.test) * cell.prompt.repeats
    line = PlannedCell(cell.label, status, reason, identity.key, folder, predictions, identity.configuration)
    seconds = 0.0 if status == "finished" else _estimate(identity, predictions, history)
    damaged = _damaged(cell.dataset_id, dataset) + (() if source is None else _damaged(cell.source_id, source))
    return Planned(cell, line, seconds, damaged)


def _damaged(name: str, dataset: Dataset) -> tuple[str, ...]:
    found = dataset.damaged if isinstance(dataset, Damaged) else {}
    return tuple(f"{name}: {case}: {reason}" for case, reason in found.items())


def _open(cell: Cell, opened: dict[str, Dataset | OncosegError]) -> Dataset:
    if cell.dataset_id not in opened:
        try:
            opened[cell.dataset_id] = cell.dataset.open()
        except OncosegError as error:
            opened[cell.dataset_id] = error
    held = opened[cell.dataset_id]
    if isinstance(held, OncosegError):
        raise held
    return held


def _state(folder: Path) -> tuple[Status, str | None]:
    if is_finished(folder):
        return "finished", None
    inapplicable = folder / NOT_APPLICABLE
    if inapplicable.exists():
        return "not applicable", str(read_json(inapplicable)["reason"])
    errors = failures(folder)
    if len(errors) >= ATTEMPT_LIMIT:
        return "quarantined", quarantine_reason(errors)
    return "planned", None


def _estimate(identity: Identity, predictions: int, history: Iterable[CellRecord]) -> float | None:
    """Median over earlier cells of the same model on the same kind of data, scaled to the number of predictions."""
    wanted = identity.configuration
    alike = [r for r in history if _same_work(r.configuration, wanted)]
    if not alike:
        return None
    if wanted["train"] is not None:
        return statistics.median(r.provenance.seconds for r in alike)
    per_prediction: list[float] = [
        r.provenance.seconds / max(1, r.cases * r.configuration["prompt"]["repeats"]) for r in alike
    ]
    return float(statistics.median(per_prediction)) * predictions


def _same_work(one: dict[str, Any], other: dict[str, Any]) -> bool:
    names = ("model", "variant", "options", "train", "fraction")
    return one["dataset"]["use"] == other["dataset"]["use"] and all(one.get(n) == other.get(n) for n in names)


def _history(output: Path) -> list[CellRecord]:
    """Records of finished cells in this run and in the runs beside it; those of other versions are passed over."""
    records = []
    for source in sorted([*output.glob(f"*/{CELL}"), *output.parent.glob(f"*/*/{CELL}")]):
        if is_finished(source.parent):
            try:
                record = read_cell(source.parent).record
                _same_work(record.configuration, record.configuration)
                records.append(record)
            except (OncosegError, KeyError, TypeError):
                continue
    return records
