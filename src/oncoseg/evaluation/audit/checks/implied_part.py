"""A part that an average needs, by the rule that the other rows follow."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.averages import Averaged, averaged, common_rule
from oncoseg.evaluation.audit.cells import short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS, over_rounding

FORMULA = "L = (Avg - w T) / (1 - w) for Avg = w T + (1 - w) L; L <= 1"
ASSUMPTION = "the row's average follows the rule of most other rows, as its other metric does"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    papers: dict[str, list[Averaged]] = {}
    for value in averaged(subject.cells):
        papers.setdefault(value.row.paper, []).append(value)
    for values in papers.values():
        rule = common_rule(values)
        if rule is None or not 0 < rule < 1:
            continue
        possible = 0
        followed = {v.row for v in values if v.obeys(float(rule))}
        for value in (v for v in values if v.row in followed):
            finding = _needed(value, float(rule))
            possible += finding is None
            if finding is not None:
                yield finding
        yield InOrder("implied_part", f"averages that need no part above 1 at weight {rule}", possible)


def _needed(value: Averaged, weight: float) -> Finding | None:
    """A finding when the first or second part would have to be above 1."""
    for part, other, share in ((value.major, value.minor, 1 - weight), (value.minor, value.major, weight)):

        def needed(average: float, known: float, share: float = share) -> float:
            return (average - (1 - share) * known) / share

        ends = over_rounding(needed, (value.average, other))
        if ends.low > 1 + EPSILON:
            found = needed(value.average.value, other.value)
            expected = value.expected(weight)
            numbers = {"part needed": found, "at least": ends.low, "average by the rule": expected}
            sentence = (
                f"{value.average.place}: by the rule of most rows an average {value.metric} of "
                f"{value.average.text} with {other.printed.target} {other.text} needs {part.printed.target} of "
                f"{found * part.scale:.4f}, above the largest possible value; the printed {part.text} gives an "
                f"average of {expected * part.scale:.4f}."
            )
            cells = short(value.cells)
            return Finding("implied_part", "I", cells, FORMULA, numbers, sentence, HALF_DIGITS, ASSUMPTION)
    return None


CHECK = Check("implied_part", FORMULA, "I", ASSUMPTION, "an average column whose rule most rows share", _run)
