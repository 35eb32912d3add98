"""Differences, rates and extremes that a text quotes, computed again from the printed cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oncoseg.evaluation.audit.cells import LOWER_IS_BETTER, TableCell, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.facts import Claim
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.pairing import paired
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS, Interval

FORMULAS = {
    "difference": "left - right",
    "rate": "100 (left - right) / right",
    "ratio": "100 left / right",
    "mean": "mean of the values",
    "each": "every value",
    "best": "value - best other value of the column",
    "top": "best of one group - best of the other",
}
_NOUNS = {
    "difference": "the difference is",
    "rate": "the rate 100 (a - b) / b is",
    "ratio": "the ratio 100 a / b is",
    "mean": "the mean is",
    "each": "the value is",
    "best": "the difference to the best other value of the column is",
    "top": "the difference between the best values is",
}
FORMULA = "what the text quotes, recomputed from the printed values"
_WORDS = {"=": "", ">": "above ", "<": "below "}


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for claim in subject.facts.claims:
        left, right = claim.left.of(subject.cells), claim.right.of(subject.cells)
        if not left:
            continue
        results = _computed(claim, left, right, subject.cells)
        broken = [r for r in results if not _agrees(claim, r[2])]
        if broken:
            yield _finding(claim, results, broken)
        else:
            numbers = {name: value for name, value, _, _ in results}
            yield InOrder("text_claims", f"the text and the table agree: {claim.says}", len(results), claim.id, numbers)


#: Name, value, interval over rounding, cells.
_Result = tuple[str, float, Interval, list[TableCell]]


def _computed(
    claim: Claim, left: Sequence[TableCell], right: Sequence[TableCell], cells: Sequence[TableCell]
) -> list[_Result]:
    if claim.kind == "each":
        return [(c.place, *_one(c), [c]) for c in left]
    if claim.kind == "mean":
        values, reach = [c.printed.value for c in left], max(c.printed.half_digit for c in left)
        mean = sum(values) / len(values)
        return [("mean", mean, Interval(mean - reach, mean + reach), list(left))]
    if claim.kind in ("best", "top"):
        column = list(right) or list(cells)
        down = left[0].quantity in LOWER_IS_BETTER
        best, other = _best(left, down), _best([c for c in column if c not in left or claim.kind == "top"], down)
        return [(best.place, *_two("difference", best, other), [best, other])]
    return [(_label(a, b), *_two(claim.kind, a, b), [a, b]) for a, b in paired(claim.left, claim.right, left, right)]


def _one(cell: TableCell) -> tuple[float, Interval]:
    value, reach = cell.printed.value, cell.printed.half_digit
    return value, Interval(value - reach, value + reach)


def _two(kind: str, a: TableCell, b: TableCell) -> tuple[float, Interval]:
    def computed(x: float, y: float) -> float:
        return x - y if kind == "difference" else 100 * (x - y) / y if kind == "rate" else 100 * x / y

    p, q = a.printed, b.printed
    ends = [computed(p.value + s * p.half_digit, q.value + t * q.half_digit) for s in (-1, 1) for t in (-1, 1)]
    return computed(p.value, q.value), Interval(min(ends), max(ends))


def _agrees(claim: Claim, found: Interval) -> bool:
    if claim.kind == "best":
        return found.high >= -EPSILON
    reach = 0.5 * 10.0**-claim.decimals
    if claim.relation == "=":
        return found.meets(Interval(claim.stated - reach, claim.stated + reach))
    return found.high > claim.stated if claim.relation == ">" else found.low < claim.stated


def _finding(claim: Claim, results: Sequence[_Result], broken: Sequence[_Result]) -> Finding:
    found = "; ".join(f"{value:.4g} ({name})" for name, value, _, _ in broken)
    stated = f"{_WORDS[claim.relation]}{claim.stated:.{claim.decimals}f}"
    against = "the column has a better value" if claim.kind == "best" else f"{stated} is stated"
    sentence = (
        f"The text and the table differ: {claim.says}. From the printed values {_NOUNS[claim.kind]} {found}, while "
        f"{against}.{' ' + claim.note if claim.note else ''}"
    )
    cells = short([c for _, _, _, involved in broken for c in involved])
    numbers = {"stated": claim.stated, **{name: value for name, value, _, _ in results}}
    return Finding("text_claims", "C", cells, FORMULAS[claim.kind], numbers, sentence, HALF_DIGITS, group=claim.id)


def _best(cells: Sequence[TableCell], down: bool) -> TableCell:
    ordered = sorted(cells, key=lambda c: c.printed.value)
    return ordered[0] if down else ordered[-1]


def _label(a: TableCell, b: TableCell) -> str:
    """What a pair has in common, and the column."""
    p, q = a.printed, b.printed
    same = [getattr(p, n) for n in ("dataset", "method", "setting") if getattr(p, n) == getattr(q, n) and getattr(p, n)]
    return ", ".join([*same, a.column])


CHECK = Check("text_claims", FORMULA, "C", "", "`claims` in the side file", _run)
