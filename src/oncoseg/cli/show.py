"""How verbs print: tables for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from oncoseg.volume import Volume


def say(line: str) -> None:
    """One line for the user, on standard error so that results on standard output stay clean."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


def print_json(content: Any) -> None:
    """Plain data as indented JSON on standard output."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; numbers are right-aligned, only the last column wraps."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    last = len(columns) - 1
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows if row[number]]
        numeric = bool(cells) and all(c.lstrip("-").replace(",", "").replace(".", "").isdigit() for c in cells)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=number != last, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console(highlight=False).print(table)


def print_entries(rows: Sequence[tuple[str, Sequence[str], str]]) -> None:
    """A list on standard output: a name with short facts on one line, what it is indented below."""
    console = Console(highlight=False)
    for name, facts, what in rows:
        line = Text.assemble((name, "bold"), "  ", (" · ".join(f for f in facts if f), "cyan"))
        console.print(line)
        console.print(Padding(escape(what), (0, 0, 0, 4)))


def in_mm(volume: Volume) -> str:
    """The spacing of a volume, array order, e.g. "3 x 0.977 x 0.977"."""
    return " x ".join(f"{s:.3g}" for s in volume.spacing)
