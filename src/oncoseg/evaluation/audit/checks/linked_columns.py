"""Two columns that move together more than independent measurements do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from oncoseg.evaluation.audit.cells import SHARES, TableCell, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "Pearson r and T / L of two columns over the same rows"
#: Above this correlation two columns are told, on `FEWEST` rows or more.
LIMIT = 0.999
FEWEST = 6

Column = dict[tuple[str, ...], TableCell]


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    asked = [(linked.rows.of(subject.cells), linked.id) for linked in subject.facts.linked]
    told: set[frozenset[str]] = set()
    looked_at = 0
    for cells, group in [*asked, (list(subject.cells), "")]:
        for first, second in _column_pairs(cells):
            rows = [row for row in first if row in second]
            if len(rows) < FEWEST:
                continue
            looked_at += 1
            left, right = [first[row] for row in rows], [second[row] for row in rows]
            names = frozenset(_name(c) for c in (left[0], right[0]))
            r = _correlation(left, right)
            # Rows that a side file asks for are told whatever their correlation, all rows only above the limit.
            if r is None or names in told or (not group and r <= LIMIT):
                continue
            told.add(names)
            yield _finding(left, right, r, group=group)
    if looked_at:
        yield InOrder("linked_columns", "pairs of columns that are not told here", looked_at - len(told))


def _finding(left: Sequence[TableCell], right: Sequence[TableCell], r: float, *, group: str) -> Finding:
    ratios = [b.value / a.value for a, b in zip(left, right, strict=True) if a.value]
    differences = [a.value - b.value for a, b in zip(left, right, strict=True)]
    numbers = {
        "r": r,
        "rows": float(len(left)),
        "ratio at least": min(ratios),
        "ratio at most": max(ratios),
        "difference at least": min(differences),
        "difference at most": max(differences),
    }
    sentence = (
        f"{_name(left[0])} and {_name(right[0])}: over {len(left)} rows the columns correlate with r = {r:.5f}, and "
        f"their ratio stays between {min(ratios):.4f} and {max(ratios):.4f}. Such columns are hardly independent "
        "measurements; the cause is open."
    )
    return Finding("linked_columns", "K", short([*left, *right]), FORMULA, numbers, sentence, group=group)


def _column_pairs(cells: Sequence[TableCell]) -> Iterator[tuple[Column, Column]]:
    """Columns of one metric for two targets or data sets of one table."""
    columns: dict[tuple[str, ...], Column] = {}
    for cell in (c for c in cells if c.quantity in SHARES and not c.is_average):
        p = cell.printed
        columns.setdefault((p.paper, p.table, p.metric, p.dataset, p.target), {})[p.method, p.setting] = cell
    for one, other in itertools.combinations(columns, 2):
        if one[:3] == other[:3] and (one[3] == other[3]) != (one[4] == other[4]):
            yield columns[one], columns[other]


def _correlation(left: Sequence[TableCell], right: Sequence[TableCell]) -> float | None:
    """Pearson's r; None when a column does not vary."""
    x, y = np.array([c.value for c in left]), np.array([c.value for c in right])
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _name(cell: TableCell) -> str:
    p = cell.printed
    return ", ".join(part for part in (f"Table {p.table}" if p.table else "", p.dataset, cell.column) if part)


CHECK = Check("linked_columns", FORMULA, "K", "", "two columns of one metric over six rows", _run)
