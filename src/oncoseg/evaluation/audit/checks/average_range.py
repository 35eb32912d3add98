"""An average lies between its smallest and its largest part."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.averages import parts_of
from oncoseg.evaluation.audit.cells import SHARES, rows_of, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS

FORMULA = "min(parts) <= Avg <= max(parts)"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    inside = 0
    for row in rows_of(subject.cells).values():
        for average in (c for c in row if c.is_average and c.quantity in SHARES):
            parts = parts_of(average, row)
            if len(parts) < 2:
                continue
            low = min(p.value - p.half_digit for p in parts) - average.half_digit
            high = max(p.value + p.half_digit for p in parts) + average.half_digit
            if low - EPSILON <= average.value <= high + EPSILON:
                inside += 1
                continue
            listed = ", ".join(f"{p.printed.target} {p.text}" for p in parts)
            sentence = (
                f"{average.place}: the average {average.printed.metric} of {average.text} lies outside its parts "
                f"({listed}): a further part must be in it."
            )
            numbers = {"average": average.value, **{p.printed.target: p.value for p in parts}}
            cells = short([*parts, average])
            assumption = "which part that is stays open (I: the background?)"
            yield Finding("average_range", "C", cells, FORMULA, numbers, sentence, HALF_DIGITS, assumption)
    if inside:
        yield InOrder("average_range", "averages within their parts", inside)


CHECK = Check("average_range", FORMULA, "C", "", "an average column beside two or more parts", _run)
