"""One method on one data set, printed in two tables or papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oncoseg.evaluation.audit.cells import SHARES, TableCell, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.facts import Comparison
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.pairing import paired
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS

FORMULA = "value here - value there, for one method on one data set"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    alike = 0
    for first, second in _same_names(subject.cells):
        finding = _compared(first, second, "method and data set have one name in both places")
        alike += finding is None
        if finding is not None:
            yield finding
    for same in subject.facts.same:
        left, right = same.left.of(subject.cells), same.right.of(subject.cells)
        for first, second in paired(same.left, same.right, left, right):
            finding = _compared(first, second, same.because, assumption=same.assumption, group=same.id)
            alike += finding is None
            if finding is not None:
                yield finding
    if alike:
        yield InOrder("cross_table", "values that agree wherever they are printed twice", alike)
    for comparison in subject.facts.comparisons:
        cells = [cell for where in comparison.cells for cell in where.of(subject.cells)]
        if len(cells) + len(comparison.elsewhere) > 1 and len(cells) >= len(comparison.cells):
            yield _spread(comparison, cells)


def _same_names(cells: Sequence[TableCell]) -> Iterator[tuple[TableCell, TableCell]]:
    """Shares with equal labels in several tables of one paper, each with the first such cell."""
    seen: dict[tuple[str, ...], TableCell] = {}
    for cell in (c for c in cells if c.quantity in SHARES and c.printed.method):
        p = cell.printed
        key = (p.paper, p.dataset, p.method, p.setting, p.target, p.metric)
        first = seen.setdefault(key, cell)
        if first.printed.table != p.table:
            yield first, cell


def _compared(
    first: TableCell, second: TableCell, because: str, *, assumption: str = "", group: str = ""
) -> Finding | None:
    difference = first.value - second.value
    if abs(difference) <= first.half_digit + second.half_digit + EPSILON:
        return None
    sentence = (
        f"{first.printed.method}: two values under one name: {first.text} ({_where(first)}) and {second.text} "
        f"({_where(second)}), {difference * first.scale:+.{first.printed.decimals}f} apart; {because}."
    )
    numbers = {"first": first.value, "second": second.value, "difference": difference}
    cells = short([first, second])
    return Finding("cross_table", "C", cells, FORMULA, numbers, sentence, HALF_DIGITS, assumption, group=group)


def _spread(comparison: Comparison, cells: Sequence[TableCell]) -> Finding:
    values = {_named(c): c.value for c in cells} | comparison.elsewhere
    spread = max(values.values()) - min(values.values())
    listed = "; ".join(f"{name} {value:.4f}" for name, value in values.items())
    sentence = comparison.sentence or f"The values lie {spread:.2f} apart."
    text = f"{comparison.what}: {listed}. {sentence}"
    assumption = comparison.assumption
    numbers = {**values, "spread": spread}
    return Finding(
        "cross_table", comparison.grade, short(cells), FORMULA, numbers, text, "", assumption, group=comparison.id
    )


def _where(cell: TableCell) -> str:
    p = cell.printed
    table = p.table if p.table.lower().startswith("text") else f"Table {p.table}"
    return ", ".join(part for part in (table, p.dataset, p.setting) if part)


def _named(cell: TableCell) -> str:
    p = cell.printed
    return " ".join(part for part in (p.paper, p.dataset, p.method, p.setting) if part)


CHECK = Check("cross_table", FORMULA, "C", "", "a value printed twice, or `same`/`comparisons` in the side file", _run)
