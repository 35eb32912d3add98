"""Parts sum to totals, stated proportions are those of the numbers, and references exist for what is counted."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.facts import Count
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "sum of parts = total; first part / second part; part / total"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for count in subject.facts.counts:
        yield from _parts(count)
        if count.available and max(count.available) < count.total:
            yield _unavailable(count)
        elif count.available:
            yield InOrder("counts", f"{count.what}: references are available for all {count.total:g}", 1, count.id)
        if count.ratio is not None:
            yield _ratio(count)
        if count.tell:
            yield _share(count)


def _parts(count: Count) -> Iterator[Finding | InOrder]:
    if not count.parts or not count.whole:
        return
    total = sum(count.parts.values())
    listed = " + ".join(f"{n:g}" for n in count.parts.values())
    if total == count.total:
        yield InOrder("counts", f"{count.what}: {listed} = {count.total:g}", len(count.parts), count.id)
        return
    sentence = f"{count.what}: the parts {listed} sum to {total:g}, and {count.total:g} is stated."
    numbers = {**count.parts, "sum": total, "total": count.total}
    yield Finding("counts", "C", (), FORMULA, numbers, sentence, group=count.id)


def _unavailable(count: Count) -> Finding:
    low, high = min(count.available), max(count.available)
    known = f"{low}" if low == high else f"{low} to {high}"
    sentence = (
        f"{count.what}: {count.total:g} are counted, and references are public for {known} of them; the rest are cases "
        "without public labels."
    )
    numbers = {"counted": count.total, "with a public reference at most": float(high)}
    return Finding("counts", "C", (), FORMULA, numbers, sentence, group=count.id)


def _ratio(count: Count) -> Finding | InOrder:
    first, second = list(count.parts.values())[:2]
    found, stated = first / second, count.ratio or 0.0
    share = 100 * first / (first + second)
    numbers = {"ratio": found, "first part %": share}
    what = f"{count.what}: {first:g} to {second:g} is {found:.2f} : 1 ({share:.1f} : {100 - share:.1f})"
    items = min(first, second)
    # One item more or less on the smaller side is what any division of a whole number may leave.
    if stated * (items - 1) <= first <= stated * (items + 1):
        return InOrder("counts", f"{what}, as stated ({stated:g} : 1)", 2, count.id, numbers)
    sentence = f"{what}, and {stated:g} : 1 is stated.{' ' + count.sentence if count.sentence else ''}"
    return Finding("counts", "C", (), FORMULA, numbers, sentence, assumption=count.assumption, group=count.id)


def _share(count: Count) -> Finding:
    part = float(count.parts[count.tell])
    share = 100 * part / count.total
    sentence = (
        f"{count.what}: {count.tell} {part:g} of {count.total:g} ({share:.1f} %)."
        f"{' ' + count.sentence if count.sentence else ''}"
    )
    numbers = {"part": part, "total": count.total, "share %": share}
    return Finding("counts", count.grade, (), FORMULA, numbers, sentence, assumption=count.assumption, group=count.id)


CHECK = Check("counts", FORMULA, "C", "", "`counts` in the side file", _run)
