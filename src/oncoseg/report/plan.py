"""What was planned and what became of it: the plan of a run and the attempts of cells that did not finish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oncoseg.config import fill
from oncoseg.experiments import store
from oncoseg.files import read_json
from oncoseg.report.tables import FailureRow
from oncoseg.score import Provenance


@dataclass(frozen=True)
class Plan:
    """The run as a whole.

    Attributes:
        name: of the matrix, "" when the run has no plan.
        planned: cells of the plan that make sense, None without a plan.
        skipped: combinations that make no sense, with the reason.
        inapplicable: models that have no form for the data, with the reason.
        missing: cells without a result, with what became of them and why.
        provenance: of the whole run, None when it wrote none.
    """

    name: str
    planned: int | None
    skipped: tuple[FailureRow, ...]
    inapplicable: tuple[FailureRow, ...]
    missing: tuple[FailureRow, ...]
    provenance: Provenance | None


def read_plan(run: Path) -> Plan:
    """Read what a run's folder says about its plan; missing files leave the fields empty.

    Raises:
        InputError: names a file that is damaged.
    """
    source = run / store.PROVENANCE
    provenance = fill(Provenance, read_json(source), str(source)) if source.exists() else None
    plan = store.read_plan(run)
    if plan is None:
        unfinished = [f for f in store.cell_folders(run) if not store.is_finished(f)]
        return Plan(
            "",
            None,
            (),
            (),
            tuple(FailureRow(f.name, "", _attempted(f, "not finished")) for f in unfinished),
            provenance,
        )
    sensible = [cell for cell in plan.cells if cell.status not in ("skipped", "not applicable")]
    return Plan(
        name=plan.name,
        planned=len(sensible),
        skipped=_with_status(plan, "skipped"),
        inapplicable=_with_status(plan, "not applicable"),
        missing=tuple(_missing(run, c) for c in sensible if not _has_result(run, c)),
        provenance=provenance,
    )


def _with_status(plan: store.RunPlan, status: store.Status) -> tuple[FailureRow, ...]:
    return tuple(FailureRow(c.label, "", c.reason or "") for c in plan.cells if c.status == status)


def _has_result(run: Path, cell: store.PlannedCell) -> bool:
    return cell.folder is not None and store.is_finished(run / cell.folder)


def _missing(run: Path, cell: store.PlannedCell) -> FailureRow:
    status = "not run yet" if cell.status in ("planned", "finished") else cell.status
    text = f"{status}: {cell.reason}" if cell.reason else status
    return FailureRow(cell.label, "", _attempted(run / cell.folder, text) if cell.folder else text)


def _attempted(folder: Path, text: str) -> str:
    """The text with the number of failed attempts, where there were any."""
    source = folder / store.ATTEMPTS
    attempts = len(source.read_text(encoding="utf-8").splitlines()) if source.exists() else 0
    return f"{text} (failed attempts: {attempts})" if attempts else text
