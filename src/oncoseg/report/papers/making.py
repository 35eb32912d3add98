"""All tables and figures of a reproduction from what was run, with a page that leads to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoseg.errors import InputError
from oncoseg.experiments.local import RunSummary
from oncoseg.experiments.matrix import Cell, cell_text
from oncoseg.experiments.planning import Planned
from oncoseg.experiments.reproducing import Gathered, Scale
from oncoseg.experiments.store import CellResult, is_finished, read_cell
from oncoseg.files import write_text
from oncoseg.report.pages import environment
from oncoseg.report.papers.filling import NEVER, Ran
from oncoseg.report.papers.layout import Layout
from oncoseg.report.papers.writing import write_figure, write_table

TABLES, FIGURES = "tables", "figures"


@dataclass(frozen=True)
class Made:
    """What became of one table or figure: its files, or why there are none."""

    layout: Layout
    files: tuple[Path, ...] = ()
    reason: str = ""


def what_ran(summaries: Iterable[RunSummary]) -> dict[str, Ran]:
    """Every cell once, by what distinguishes it, with its result as read from disk."""
    read: dict[Path, CellResult] = {}
    found: dict[str, Ran] = {}
    for summary in summaries:
        for planned in summary.planned:
            found.setdefault(_text(planned.cell), _ran(planned, summary.output, read))
    return found


def cells_of(gathered: Gathered, ran: Mapping[str, Ran]) -> list[Ran]:
    """Those of the cells that a layout's own matrices name."""
    texts = dict.fromkeys(_text(cell) for matrix in gathered.matrices for cell in matrix.plan())
    return [ran[text] for text in texts if text in ran]


def make_all(
    layouts: Sequence[Layout],
    ran_for: Callable[[Layout], Sequence[Ran]],
    scale: Scale,
    *,
    out: Path,
) -> list[Made]:
    """Write every table and draw every figure; one that cannot be made says why and ends no other."""
    made = []
    for layout in layouts:
        ran = ran_for(layout)
        try:
            if layout.kind == "figure":
                written = write_figure(layout, ran, scale, folder=out / FIGURES)
            else:
                written = write_table(layout, ran, scale, folder=out / TABLES)
        except InputError as error:
            made.append(Made(layout, reason=str(error)))
        else:
            made.append(Made(layout, tuple(written)))
    return made


def write_index(made: Sequence[Made], scale: Scale, *, out: Path, told: Sequence[str] = ()) -> Path:
    """`index.html` of a reproduction: what was made, where it lies, what was not and why."""
    listed = [(one, [(f.suffix[1:], f.relative_to(out).as_posix()) for f in one.files]) for one in made]
    text = (
        environment()
        .get_template("paper_index.html.j2")
        .render(
            paper=made[0].layout.paper if made else "",
            scale=scale,
            never=NEVER if scale == "smoke" else "",
            listed=listed,
            told=told,
            report=(out / "report.html").exists(),
        )
    )
    write_text(out / "index.html", text)
    return out / "index.html"


def _text(cell: Cell) -> str:
    """What distinguishes a cell; whether its cost is measured changes no result."""
    return cell_text(dataclasses.replace(cell, cost=True))


def _ran(planned: Planned, output: Path, read: dict[Path, CellResult]) -> Ran:
    line = planned.line
    folder = output / line.folder if line.folder else None
    if folder is None or not is_finished(folder):
        return Ran(planned.cell, None, line.reason or line.status)
    if folder not in read:
        read[folder] = read_cell(folder)
    return Ran(planned.cell, read[folder])
