"""`oncoseg reproduce`: the tables and figures of three papers, ours beside what is printed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oncoseg.cli.show import print_entries, say
from oncoseg.evaluation.published import PAPERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oncoseg.experiments.effort import Effort
    from oncoseg.experiments.local import RunSummary
    from oncoseg.experiments.matrix import Matrix
    from oncoseg.experiments.reproducing import Gathered, Scale
    from oncoseg.report.papers.layout import Layout
    from oncoseg.report.papers.making import Made


class ScaleName(StrEnum):
    """How much is run."""

    smoke = "smoke"
    full = "full"


_SIZES: dict[ScaleName, Literal["smoke", "full"]] = {ScaleName.smoke: "smoke", ScaleName.full: "full"}
PaperName = StrEnum("PaperName", [(name.replace("-", "_"), name) for name in PAPERS])  # type: ignore[misc]


def reproduce(
    paper: Annotated[PaperName, typer.Argument(help="Which paper.")],
    table: Annotated[
        list[str] | None, typer.Option(help="A table or figure, e.g. II or fig-2. Repeatable. Default: all.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds the paper's data sets, at any place below it.")
    ] = None,
    scale: Annotated[
        ScaleName, typer.Option(help="full: the paper's protocol. smoke: every cell as small as possible, on phantoms.")
    ] = ScaleName.full,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print cells, epochs, hours by what was measured, and disk.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/reproduce/PAPER-SCALE.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cells at the same time, each in a process of its own.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. dataset.lung1.lungs=r231.pth. Repeatable.")
    ] = None,
) -> None:
    """Run a paper's tables and write them in its own layout: HTML, LaTeX, CSV; figures as PNG and SVG.

    Can be killed at any time; the same command goes on. Splits by slice and prompts from the reference run only under
    their names and are flagged.
    """
    from oncoseg.experiments.reproducing import gather
    from oncoseg.report.papers.layout import layout_of, layouts

    name, size = PAPERS[list(PaperName).index(paper)], _SIZES[scale]
    chosen = [layout_of(name, one) for one in table] if table else list(layouts(name))
    needed = tuple(dict.fromkeys(m for layout in chosen for m in layout.matrices))
    place = out or Path("runs/reproduce") / f"{name}-{size}"

    def gathered_for(matrices: Sequence[str]) -> Gathered:
        return gather(name, matrices, size, data=data, overrides=settings or [])

    gathered = gathered_for(needed) if needed else None
    if dry_run:
        _print_efforts(gathered, place)
        return
    summaries = [] if gathered is None else _run(gathered, place, workers=workers)
    _write(chosen, gathered_for, size, summaries=summaries, place=place, told=gathered.told if gathered else ())


def _run(gathered: Gathered, place: Path, *, workers: int) -> list[RunSummary]:
    from oncoseg.experiments.store import write_plan
    from oncoseg.report.html import write_report

    gathered.require_data()
    for sentence in gathered.told:
        say(sentence)
    summaries = [_cells(matrix, place, workers=workers) for matrix in gathered.matrices]
    lines = {line.folder or line.label: line for s in summaries for line in (p.line for p in s.planned)}
    write_plan(place, gathered.matrices[0].name, list(lines.values()))
    reasons = [line.reason for line in lines.values() if line.status == "left out"]
    for reason in dict.fromkeys(reasons):
        say(f"left out: {reasons.count(reason)} cells, because: {reason}")
    if any(line.status == "finished" for line in lines.values()):
        say(f"report: {write_report(place, place / 'report.html', title=gathered.matrices[0].name)}")
    return summaries


def _cells(matrix: Matrix, place: Path, *, workers: int) -> RunSummary:
    from oncoseg.cli.bench import command_line
    from oncoseg.cli.progress import RunBars, bars
    from oncoseg.experiments.local import run_matrix

    cells = matrix.plan()
    with bars() as shown:
        return run_matrix(matrix, place, workers=workers, progress=RunBars(shown, len(cells)), command=command_line())


def _write(
    chosen: Sequence[Layout],
    gathered_for: Callable[[Sequence[str]], Gathered],
    size: Scale,
    *,
    summaries: Sequence[RunSummary],
    place: Path,
    told: Sequence[str],
) -> None:
    from oncoseg.report.papers.making import cells_of, make_all, what_ran, write_index

    ran = what_ran(summaries)
    made = make_all(
        chosen, lambda layout: cells_of(gathered_for(layout.matrices), ran) if layout.matrices else [], size, out=place
    )
    for one in made:
        say(f"{one.layout.title}: {one.files[0] if one.files else 'not made: ' + one.reason}")
    say(f"everything: {write_index(made, size, out=place, told=told)}")
    for summary in summaries:
        summary.raise_if_failed()
    _raise_if_missing(made)


def _raise_if_missing(made: Sequence[Made]) -> None:
    from oncoseg.errors import PartialFailureError

    missing = [f"  {one.layout.title}: {one.reason}" for one in made if one.reason]
    if missing:
        raise PartialFailureError(f"{len(missing)} of {len(made)} could not be made:\n" + "\n".join(missing))


def _print_efforts(gathered: Gathered | None, place: Path) -> None:
    from oncoseg.experiments.effort import efforts, total

    if gathered is None:
        say("0 cells: this table is made from the models' metadata")
        return
    cells = gathered.untouched()
    found = efforts(cells, place)
    print_entries([_line(one, gathered) for one in found])
    for cell in cells:
        if cell.skipped:
            say(f"skipped: {cell.label}: {cell.skipped}")
    for sentence in (*gathered.told, *(f"missing: {m}" for m in gathered.missing)):
        say(sentence)
    sums = total(found)
    hours = "not measured" if sums["gpu_hours"] is None else f"{sums['gpu_hours']:.1f}"
    say(
        f"{sums['cells']} cells, {sums['trainings']} trainings, {sums['steps']:,} steps; GPU-hours: {hours} "
        f"({sums['not_measured_on_gpu']} trainings not measured on an accelerator); "
        f"{sums['gigabytes']:.1f} GB of weights"
    )
    if any(one.expected and one.cases for one in found):
        say("~: cases of the published data set, as its files were not found")


def _line(one: Effort, gathered: Gathered) -> tuple[str, list[str], str]:
    model = one.cell.model
    weights = "" if model is None else gathered.begins_with.get(model.name, "")
    begins = f"begins with {weights}" if weights else ""
    if one.epochs is None:
        return one.cell.label, [begins], "no training of its own"
    facts = [
        f"{'~' if one.expected else ''}{one.cases} cases",
        f"{one.epochs:g} epochs",
        f"{one.steps:,} steps" if one.steps else "steps of its own counting",
        f"{one.megabytes:,.0f} MB",
        begins,
    ]
    hours = "" if one.seconds is None else f"{one.seconds / 3600:,.1f} hours, as measured on {one.measured}"
    return one.cell.label, facts, hours or "hours: not measured"
