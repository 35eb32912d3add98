"""Tables and figures of a paper written into a folder: HTML, LaTeX, CSV and Markdown; PNG and SVG."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oncoseg.errors import InputError
from oncoseg.experiments.reproducing import Scale
from oncoseg.files import write_text
from oncoseg.report.drawing import choices_of, draw, save
from oncoseg.report.pages import environment
from oncoseg.report.papers.filling import NEVER, Derived, FilledTable, Ran, fill_layout
from oncoseg.report.papers.grid import grid_of, number, numbered_reasons, scored_by
from oncoseg.report.papers.latex import as_latex
from oncoseg.report.papers.layout import Layout
from oncoseg.report.papers.plain import as_csv, as_markdown
from oncoseg.report.papers.sanity import sanity


def write_table(layout: Layout, ran: Sequence[Ran], scale: Scale, *, folder: Path) -> list[Path]:
    """Write a table in four formats; returns the files, the page first.

    Args:
        layout: of scores or facts.
        ran: cells of its matrices.
        scale: they were run in.
        folder: to write into, made if necessary.
    """
    table = fill_layout(layout, ran, scale)
    told = sanity(table)
    scored = {score.protocol for one in ran if one.result for score in one.result.scores}
    others = sorted(scored - {layout.rule}) if layout.kind == "scores" else []
    by_rule = {layout.rule: table}
    by_rule |= {rule: fill_layout(dataclasses.replace(layout, rule=rule), ran, scale) for rule in others}
    written = {
        "html": _page(table, told, others),
        "tex": as_latex(table, told),
        "csv": as_csv(by_rule),
        "md": as_markdown(table, told),
    }
    stem = folder / f"{layout.paper}-{layout.name}"
    for suffix, text in written.items():
        write_text(stem.with_name(f"{stem.name}.{suffix}"), text)
    return [stem.with_name(f"{stem.name}.{suffix}") for suffix in written]


def write_figure(layout: Layout, ran: Sequence[Ran], scale: Scale, *, folder: Path) -> list[Path]:
    """Draw a figure from the finished cells of its matrices; returns the files.

    Raises:
        InputError: when no cell is finished, or the results do not hold what the figure shows.
    """
    results = [one.result for one in ran if one.result is not None]
    if not results:
        raise InputError(f"{layout.paper} {layout.name}: no cell of {', '.join(layout.matrices)} is finished.")
    drawn = draw(layout.draw, results, **layout.choices, **_where_data_lie(layout, ran))
    head = NEVER if scale == "smoke" else ""
    drawn.words = "\n".join(filter(None, (layout.title, head, *layout.notes, drawn.words)))
    return list(save(drawn, folder / f"{layout.paper}-{layout.name}"))


def _where_data_lie(layout: Layout, ran: Sequence[Ran]) -> dict[str, Any]:
    """The folder of the data set, for figures that look at its cases again: results keep no places."""
    chosen = [one.cell.dataset for one in ran if one.cell.dataset_id == layout.choices.get("dataset")]
    asks = any(choice.startswith("data=") for choice in choices_of(layout.draw))
    if not asks or not chosen or "root" not in chosen[0].options:
        return {}
    return {"data": {"root": chosen[0].options["root"]}}


def _page(table: FilledTable, told: Sequence[str], others: Sequence[str]) -> str:
    grid = grid_of(table)
    flags = dict.fromkeys(flag for flags in grid.flags for flag in flags)
    return (
        environment()
        .get_template("paper_table.html.j2")
        .render(
            layout=table.layout,
            scale=table.scale,
            never=NEVER if NEVER in table.notes else "",
            grid=grid,
            levels=len(grid.columns[0].heads) if grid.columns else 0,
            marks={flag: place for place, flag in enumerate(flags, start=1)},
            notes=[note for note in table.notes if note != NEVER],
            derived=[_derived(line) for line in table.derived],
            told=told,
            scored=scored_by(table),
            reasons=numbered_reasons(grid),
            others=others,
        )
    )


def _derived(line: Derived) -> tuple[str, ...]:
    texts = [number(v, 4) for v in (line.ours, line.ours_derived, line.printed, line.printed_derived)]
    return (" / ".join(line.row.label), " / ".join(filter(None, line.column.label)), *texts)
