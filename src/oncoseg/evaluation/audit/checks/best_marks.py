"""Bold marks the best of a column, underlining the second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oncoseg.evaluation.audit.cells import LOWER_IS_BETTER, TableCell, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "bold = best, underlined = second best, per column and direction"
_WORDS = {"best": "printed in bold", "second": "underlined as second best"}


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    right = 0
    asked = [(m.where.of(subject.cells), m.mark, m.column.of(subject.cells), m.id) for m in subject.facts.marks]
    for cells, mark, column, group in [*asked, *_printed(subject.cells)]:
        for cell in cells:
            ranked = sorted({c.value for c in column}, reverse=cell.quantity not in LOWER_IS_BETTER)
            position = ranked.index(cell.value)
            if position == {"best": 0, "second": 1}[mark]:
                right += 1
            else:
                yield _finding(cell, mark, ranked, column, group=group)
    if right:
        yield InOrder("best_marks", "marks on the values they belong to", right)


def _printed(cells: Sequence[TableCell]) -> Iterator[tuple[list[TableCell], str, list[TableCell], str]]:
    """Marks that the table itself carries."""
    for cell in (c for c in cells if c.mark):
        p = cell.printed
        wanted = (p.paper, p.table, p.dataset, p.target, p.metric)
        column = [c for c in cells if _column(c) == wanted]
        yield [cell], cell.mark, column, ""


def _column(cell: TableCell) -> tuple[str, ...]:
    p = cell.printed
    return p.paper, p.table, p.dataset, p.target, p.metric


def _finding(
    cell: TableCell, mark: str, ranked: Sequence[float], column: Sequence[TableCell], *, group: str
) -> Finding:
    position = ranked.index(cell.value) + 1
    best = next(c for c in column if c.value == ranked[0])
    sentence = (
        f"{cell} is {_WORDS[mark]}, and it is number {position} of the distinct values of its column; the best is "
        f"{best.text} ({best.place})."
    )
    numbers = {"value": cell.value, "position": float(position), "best of the column": best.value}
    return Finding("best_marks", "C", short([cell, best]), FORMULA, numbers, sentence, group=group)


CHECK = Check("best_marks", FORMULA, "C", "", "marks in the table or `marks` in the side file", _run)
