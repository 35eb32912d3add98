"""`oncoseg bench`: run a matrix of models, data sets and prompts; resume it; report it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import print_json, print_table, say

if TYPE_CHECKING:
    from oncoseg.experiments.local import RunSummary
    from oncoseg.experiments.matrix import Matrix


def bench(
    matrix: Annotated[Path, typer.Argument(help="TOML file; docs/how-to/compare-models.md explains it.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/NAME.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cells at the same time, each in a process of its own.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the plan: cells, cases, estimated time.")
    ] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. dataset.lung1.options.root=/data. Repeatable.")
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print the plan as JSON.")] = False,
) -> None:
    """Run every cell of a matrix that is not finished yet.

    Can be killed at any time; the same command goes on. A cell that fails does not end the others.
    """
    from oncoseg.experiments.matrix import load_matrix

    loaded = load_matrix(matrix, settings or [])
    place = out or Path("runs") / loaded.name
    if dry_run:
        from oncoseg.experiments.local import run_matrix

        show_plan(run_matrix(loaded, place, dry_run=True), as_json=as_json)
        return
    run_and_report(loaded, place, workers=workers, report=report)


def run_and_report(
    matrix: Matrix, out: Path, *, workers: int = 1, report: bool = True, title: str | None = None
) -> None:
    """Run a matrix under progress bars, write the report, and fail at the end if anything failed."""
    from oncoseg.cli.progress import RunBars, bars
    from oncoseg.experiments.local import run_matrix
    from oncoseg.report.html import write_report

    cells = matrix.plan()
    with bars() as shown:
        progress = RunBars(shown, len(cells))
        summary = run_matrix(matrix, out, workers=workers, progress=progress, command=command_line())
    reasons = [str(line.reason) for line in summary.having("left out")]
    for reason in dict.fromkeys(reasons):
        say(f"left out: {reasons.count(reason)} cells, because: {reason}")
    if report and summary.having("finished"):
        say(f"report: {write_report(out, out / 'report.html', title=title)}")
    summary.raise_if_failed()


def show_plan(summary: RunSummary, *, as_json: bool = False) -> None:
    """Print what a run would do, and fail when a cell could not run."""
    from oncoseg.config import plain
    from oncoseg.errors import PartialFailureError

    if as_json:
        print_json([{**plain(p.line), "seconds": p.seconds} for p in summary.planned])
    else:
        _print_plan(summary)
    if failed := summary.having("failed", "quarantined"):
        raise PartialFailureError(
            f"{len(failed)} of {len(summary.planned)} cells cannot run as planned:\n"
            + "\n".join(f"  {c.label}: {c.reason}" for c in failed)
        )


def _print_plan(summary: RunSummary) -> None:
    rows = [
        [p.line.label, p.line.status, str(p.line.predictions or ""), _seconds(p.seconds), p.line.reason or ""]
        for p in summary.planned
    ]
    print_table("Plan", ["cell", "status", "predictions", "estimate", "why"], rows)
    missing = len(summary.having("planned"))
    say(f"{len(rows)} cells, {missing} to run; estimated time: {_seconds(summary.seconds)} on one worker")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def command_line() -> str:
    """The command line without places, which may be named after patients; of configurations the file's name stays."""
    return shlex.join([Path(sys.argv[0]).name, *map(_without_place, sys.argv[1:])])


def _without_place(argument: str) -> str:
    """One argument with "PATH" for a place.

    Example:
        >>> [_without_place(a) for a in ("bench", "a/m.toml", "root=/data/Doe/ct", "--out=/x", "lr=3e-4")]
        ['bench', 'm.toml', 'root=PATH', '--out=PATH', 'lr=3e-4']
    """
    if "/" not in argument:
        return argument
    name, sign, value = argument.rpartition("=")
    if "/" in name:  # a place with such a sign in it
        name, sign, value = "", "", argument
    return f"{name}{sign}{Path(value).name if value.endswith('.toml') else 'PATH'}"
