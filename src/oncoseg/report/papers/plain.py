"""A table as CSV, one line a place, and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from oncoseg.report.papers.filling import Filled, FilledTable
from oncoseg.report.papers.grid import grid_of, numbered_reasons, scored_by

HEAD = (
    "paper",
    "table",
    "scale",
    "row",
    "column",
    "rule",
    "ours",
    "low",
    "high",
    "n",
    "of",
    "published",
    "difference",
    "comparable",
    "prompts",
    "flags",
    "reason",
)


def as_csv(tables: Mapping[str, FilledTable]) -> str:
    """One line a place and scoring rule; intervals are of 95 %, empty where there is none.

    Args:
        tables: the same table scored by several rules; the first is the one that is shown.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for rule, table in tables.items():
        for row in table.rows:
            for place in row.places:
                head = (table.layout.paper, table.layout.name, table.scale)
                comparable = "never (smoke scale)" if table.scale == "smoke" else "see notes"
                labels = (" / ".join(row.line.label), " / ".join(filter(None, place.place.column.label)))
                given = (row.prompt, "; ".join(row.flags), place.reason)
                writer.writerow([*head, *labels, rule, *_numbers(place), comparable, *given])
    return text.getvalue()


def as_markdown(table: FilledTable, told: tuple[str, ...] = ()) -> str:
    """The table with its notes; heads of several levels are joined."""
    grid = grid_of(table)
    heads = [*grid.stub, *(" ".join(filter(None, column.heads)) for column in grid.columns)]
    lines = [f"## {table.layout.title}", "", *(f"- {_safe(note)}" for note in table.notes), ""]
    lines += [_line(heads), _line(["---"] * len(heads))]
    for labels, cells, flags in zip(grid.labels, grid.cells, grid.flags, strict=True):
        marked = [*labels[:-1], labels[-1] + (f" ({'; '.join(flags)})" if flags else "")]
        lines.append(_line([*marked, *(f"{c.text} ({c.note})" if c.note else c.text for c in cells)]))
    return "\n".join(
        [
            *lines,
            "",
            *scored_by(table),
            "",
            *(f"- {_safe(r)}" for r in numbered_reasons(grid)),
            *(f"- {_safe(sentence)}" for sentence in told),
            "",
        ]
    )


def _numbers(place: Filled) -> tuple[str, ...]:
    if place.text:
        return (place.text, *[""] * 6)
    printed = place.place.printed
    shown = [f"{v:.6g}" if v is not None else "" for v in (place.value, place.low, place.high)]
    published = "" if printed is None else f"{printed.value:.{printed.decimals}f}"
    difference = "" if place.difference is None else f"{place.difference:.6g}"
    return (*shown, str(place.n or ""), str(place.of or ""), published, difference)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(_safe(cell) for cell in cells) + " |"


def _safe(text: str) -> str:
    return text.replace("|", r"\|")
