"""Do all rows of a table average their parts by one rule?"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from oncoseg.evaluation.audit.averages import Averaged, averaged, common_rule
from oncoseg.evaluation.audit.cells import RowKey, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import HALF_DIGITS

FORMULA = "Avg = w T + (1 - w) L; w = (L - Avg) / (L - T), compared over rows and metrics"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    papers: dict[str, list[Averaged]] = {}
    for value in averaged(subject.cells):
        papers.setdefault(value.row.paper, []).append(value)
    for values in papers.values():
        rule = common_rule(values)
        yield from _without_rule(values) if rule is None else _against(values, rule)


def _against(values: list[Averaged], rule: Fraction) -> Iterator[Finding | InOrder]:
    obeying = [v for v in values if v.obeys(float(rule))]
    deviating: dict[RowKey, list[Averaged]] = {}
    for value in (v for v in values if v not in obeying):
        deviating.setdefault(value.row, []).append(value)
    for row in deviating.values():
        yield _finding(row, rule)
    for table in dict.fromkeys(v.row.table for v in values):
        held = sum(v.row.table == table for v in obeying)
        all_ = sum(v.row.table == table for v in values)
        if held:
            what = f"Table {table}: averages that are {_in_words(values[0], rule)}, of {all_}"
            yield InOrder("average_rule", what, held, numbers={"weight": float(rule)})


def _finding(row: list[Averaged], rule: Fraction) -> Finding:
    numbers: dict[str, float] = {}
    for v in row:
        low, high = v.weights
        numbers |= {f"weight {v.metric}": v.weight, f"weight {v.metric} at least": low}
        numbers |= {f"weight {v.metric} at most": high, f"by the rule {v.metric}": v.expected(float(rule))}
    given = " and ".join(f"{v.weight:.3f} ({v.metric})" for v in row)
    slip = all(abs(v.expected(float(rule)) - v.average.value) <= 3 * v.average.half_digit for v in row)
    expected = ", ".join(f"{v.expected(float(rule)) * v.average.scale:.5g} by the rule, {v.average.text}" for v in row)
    nature = "The difference is in the last digit. " if slip else ""
    sentence = (
        f"{row[0].average.place}: the average gives {row[0].minor.printed.target} the weight {given}, while most rows "
        f"give it {rule} ({_in_words(row[0], rule)}). {nature}Rows use different averages "
        f"({expected} printed), and the paper does not state its rule."
    )
    cells = short([c for v in row for c in v.cells])
    return Finding("average_rule", "C", cells, FORMULA, numbers, sentence, HALF_DIGITS)


def _without_rule(values: list[Averaged]) -> Iterator[Finding | InOrder]:
    """No rule of small numbers: the rows must at least have one weight in common."""
    low, high = max(v.weights.low for v in values), min(v.weights.high for v in values)
    if low <= high:
        yield InOrder("average_rule", "averages with one weight in common", len(values), numbers={"weight": low})
        return
    numbers = {"largest of the smallest weights": low, "smallest of the largest weights": high}
    sentence = (
        f"No single weight of {values[0].minor.printed.target} explains the {len(values)} averages: one row needs at "
        f"least {low:.3f}, another at most {high:.3f}. Rows use different averages."
    )
    cells = short([c for v in values for c in v.cells])
    yield Finding("average_rule", "C", cells, FORMULA, numbers, sentence, HALF_DIGITS)


def _in_words(value: Averaged, rule: Fraction) -> str:
    rest, low = rule.denominator - rule.numerator, rule.numerator
    parts = ((rest, value.major.printed.target), (low, value.minor.printed.target))
    sum_ = " + ".join(f"{n if n > 1 else ''}{' ' if n > 1 else ''}{name}" for n, name in parts if n)
    return f"({sum_}) / {rule.denominator}" if rule.denominator > 1 else sum_


CHECK = Check("average_rule", FORMULA, "C", "", "an average column beside two parts", _run)
