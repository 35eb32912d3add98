"""A filled table as texts in rows and columns, the same for a page, LaTeX and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from oncoseg.report.papers.filling import Filled, FilledTable
from oncoseg.report.papers.layout import Line

Part = Literal["ours", "printed", "difference", "words"]
#: Heads of the parts of a column; ours and what is printed never share one.
HEADS: dict[Part, str] = {"ours": "ours", "printed": "published", "difference": "difference", "words": ""}
#: Longer reasons for an empty place stand below the table, under a number.
_SHORT = 24
#: GMACs below which a figure printed in whole ones would be 0 or nearly so.
_SMALL = 10.0


@dataclass(frozen=True)
class GridCell:
    """A text, and a smaller one below it: the interval and the number of patients, or why there is no value."""

    text: str
    note: str = ""
    part: Part = "words"


@dataclass(frozen=True)
class GridColumn:
    """One column: its heads from the outermost to the innermost, and what stands in it."""

    heads: tuple[str, ...]
    part: Part


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        stub: heads of the rows' labels.
        columns: all have the same number of heads.
        labels: of the rows, as many as `stub` has heads.
        cells: row by row.
        flags: of the rows.
        reasons: why places are empty, in the order of the numbers that stand there.
    """

    stub: tuple[str, ...]
    columns: tuple[GridColumn, ...]
    labels: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[GridCell, ...], ...]
    flags: tuple[tuple[str, ...], ...]
    reasons: tuple[str, ...] = ()

    def spans(self, level: int) -> list[tuple[str, int]]:
        """Heads of one level with the number of columns each stands over; equal neighbours of one parent are one."""
        found: list[tuple[tuple[str, ...], int]] = []
        for column in self.columns:
            key = column.heads[: level + 1]
            if found and found[-1][0] == key and level < len(column.heads) - 1:
                found[-1] = (key, found[-1][1] + 1)
            else:
                found.append((key, 1))
        return [(key[-1], count) for key, count in found]


def grid_of(table: FilledTable) -> Grid:
    """The texts of a table; a column of which something is printed becomes ours, published and difference."""
    columns = table.layout.columns
    parts = [_parts([row.places[n] for row in table.rows]) for n in range(len(columns))]
    deep = max((len(column.label) for column in columns), default=0)
    heads = [
        GridColumn((*_filled_up(column, deep), HEADS[part]), part)
        for column, own in zip(columns, parts, strict=True)
        for part in own
    ]
    prompted = any(row.prompt not in ("", "none") for row in table.rows)
    if prompted:
        heads.append(GridColumn((*[""] * deep, "prompts"), "words"))
    empty = dict.fromkeys(p.reason for row in table.rows for p in row.places if p.value is None and p.reason)
    reasons = tuple(reason for reason in empty if len(reason) > _SHORT)
    cells = []
    for row in table.rows:
        texts = [_cell(place, part, reasons) for place, own in zip(row.places, parts, strict=True) for part in own]
        cells.append((*texts, GridCell(row.prompt)) if prompted else tuple(texts))
    labels = tuple(row.line.label for row in table.rows)
    flags = tuple(row.flags for row in table.rows)
    return Grid(table.layout.stub, tuple(heads), labels, tuple(cells), flags, reasons)


def numbered_reasons(grid: Grid) -> tuple[str, ...]:
    """Why places are empty, as sentences with their numbers."""
    return tuple(f"({place}) no value: {reason}" for place, reason in enumerate(grid.reasons, start=1))


def scored_by(table: FilledTable) -> tuple[str, ...]:
    """One sentence on the rules behind ours and the published values; none where nothing is scored."""
    if table.layout.kind == "facts":
        return ()
    return (
        f"Ours: means over patients with 95 % BCa intervals, scored by {table.layout.rule}. "
        f"Published: {table.layout.rule_published}. Difference: ours minus published.",
    )


def number(value: float | None, decimals: int) -> str:
    """A value with the digits that the paper prints; a dash where there is none."""
    return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")


def decimals_of(place: Filled) -> int:
    """Digits behind the point: the paper's, or where it prints nothing three for shares and one for the rest."""
    printed, wanted = place.place.printed, place.place.wanted
    if wanted.measure == "GMACs" and place.value is not None and place.value < _SMALL:
        return 3
    if printed is not None:
        return printed.decimals
    return 2 if wanted.times != 1 else 1 if wanted.measure == "GMACs" else 3


def _parts(places: Sequence[Filled]) -> tuple[Part, ...]:
    if any(p.text for p in places):
        return ("words",)
    return ("ours", "printed", "difference") if any(p.place.printed is not None for p in places) else ("ours",)


def _filled_up(column: Line, deep: int) -> tuple[str, ...]:
    """As many heads as the deepest column has."""
    return (*column.label, *[""] * (deep - len(column.label)))


def _cell(found: Filled, part: Part, reasons: Sequence[str]) -> GridCell:
    decimals = decimals_of(found)
    if part == "words":
        return GridCell(found.text)
    if part == "printed":
        printed = found.place.printed
        return GridCell("" if printed is None else number(printed.value, printed.decimals), part=part)
    if part == "difference":
        change = found.difference
        sign = "+" if change is not None and change > 0 else ""
        return GridCell("" if found.place.printed is None else f"{sign}{number(change, decimals)}", part=part)
    if found.value is None and found.reason in reasons:
        return GridCell(number(None, decimals), f"see ({reasons.index(found.reason) + 1})", part)
    return GridCell(number(found.value, decimals), _beside(found, decimals), part)


def _beside(found: Filled, decimals: int) -> str:
    """Interval and number of patients, or why there is none."""
    if found.value is None:
        return found.reason
    if not found.of:
        return ""
    counted = f"n = {found.n}" if found.n == found.of else f"n = {found.n} of {found.of}"
    if found.low is None or found.high is None:
        return f"{counted}; {found.reason}" if found.reason else counted
    return f"{number(found.low, decimals)} to {number(found.high, decimals)}; {counted}"
