"""Fractions among percentages: a cell that was printed on another scale than its column."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import SHARES, TableCell, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "one scale in a column: all percentages, or all fractions"
ASSUMPTION = "a value of at most 1 with two digits more than its column's is a fraction"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    columns: dict[tuple[str, ...], list[TableCell]] = {}
    for cell in (c for c in subject.cells if c.quantity in SHARES and c.scale != 1 and c.stage != "delta"):
        p = cell.printed
        columns.setdefault((p.paper, p.table, p.metric), []).append(cell)
    in_order = 0
    for cells in columns.values():
        usual = max((c.printed.decimals for c in cells if c.printed.value > 1), default=0)
        odd = [c for c in cells if 0 < c.printed.value <= 1 and c.printed.decimals >= usual + 2]
        for cell in odd:
            sentence = f"{cell} reads as a fraction in a column of percentages ({100 * cell.printed.value:g} %?)."
            numbers = {"printed": cell.printed.value, "digits": float(cell.printed.decimals), "usual": float(usual)}
            yield Finding("percent", "I", short([cell]), FORMULA, numbers, sentence, assumption=ASSUMPTION)
        in_order += len(cells) - len(odd)
    if in_order:
        yield InOrder("percent", "percentages on the scale of their column", in_order)


CHECK = Check("percent", FORMULA, "I", ASSUMPTION, "a column of percentages", _run)
