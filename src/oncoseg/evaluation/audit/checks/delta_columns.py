"""A difference column is After - Before, a rate column 100 times that over Before."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import TableCell, rows_of, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS, Interval

FORMULA = "delta = After - Before; rate = 100 delta / Before"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    right = 0
    for row in rows_of(subject.cells).values():
        stages: dict[tuple[str, str], dict[str, TableCell]] = {}
        for cell in (c for c in row if c.stage):
            stages.setdefault((cell.printed.target, cell.quantity), {})[cell.stage] = cell
        for held in stages.values():
            if not {"before", "after"} <= held.keys():
                continue
            for stage in ("delta", "rate"):
                if stage in held and (finding := _checked(held, stage)) is not None:
                    yield finding
                right += stage in held and finding is None
    if right:
        yield InOrder("delta_columns", "differences and rates that follow from Before and After", right)


def _checked(held: dict[str, TableCell], stage: str) -> Finding | None:
    before, after, told = held["before"], held["after"], held[stage]
    b, a = before.printed, after.printed
    expected = _expected(stage, b.value, a.value)
    ends = [_expected(stage, b.value + s * b.half_digit, a.value + t * a.half_digit) for s in (-1, 1) for t in (-1, 1)]
    reach, value = told.printed.half_digit, told.printed.value
    if Interval(min(ends) - EPSILON, max(ends) + EPSILON).meets(Interval(value - reach, value + reach)):
        return None
    numbers = {"before": b.value, "after": a.value, "printed": value, "recomputed": expected}
    word = {"delta": "difference After - Before", "rate": "rate 100 (After - Before) / Before"}[stage]
    sentence = (
        f"{told.place}: the printed values cannot all hold: Before {before.text} and After {after.text} give a {word} "
        f"of {expected:.{told.printed.decimals}f}; {told.text} is printed."
    )
    return Finding("delta_columns", "C", short([before, after, told]), FORMULA, numbers, sentence, HALF_DIGITS)


def _expected(stage: str, before: float, after: float) -> float:
    return after - before if stage == "delta" else 100 * (after - before) / before


CHECK = Check("delta_columns", FORMULA, "C", "", "columns before, after, and delta or rate", _run)
