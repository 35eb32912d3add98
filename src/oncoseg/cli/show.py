"""How verbs print: tables for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def say(line: str) -> None:
    """One line for the user, on standard error so that results on standard output stay clean."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


def print_json(content: Any) -> None:
    """Plain data as indented JSON on standard output."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; columns whose cells are all numbers are right-aligned."""
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows if row[number]]
        numeric = bool(cells) and all(c.lstrip("-").replace(",", "").replace(".", "").isdigit() for c in cells)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table, markup=False)
