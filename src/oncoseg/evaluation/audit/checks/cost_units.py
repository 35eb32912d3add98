"""Is a printed cost that of one image, or of a whole volume with its mirror passes?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import TableCell, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.facts import CostFact
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "printed / MACs of one forward = slices x mirrors x tiles"
ASSUMPTION = "the count of one forward pass is the printed method's"
#: A cost of fewer digits divides another by chance.
SMALLEST = 1000


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    yield from _multiples([c for c in subject.cells if c.quantity == "macs"], subject.facts.ids.get("cost_units", ""))
    for fact in subject.facts.costs:
        for cell in fact.where.of(subject.cells):
            if fact.cited:
                sentence = f"{cell} is cited ({fact.cited}), not counted here, while other rows were counted."
                yield Finding(
                    "cost_units", "C", short([cell]), FORMULA, {"printed": cell.value}, sentence, group=fact.id
                )
            if fact.forward is not None:
                yield _per_forward(cell, fact)
            if fact.slices is not None:
                yield _per_volume(cell, fact)


def _per_forward(cell: TableCell, fact: CostFact) -> Finding:
    forward = fact.forward or 1.0
    ratio = cell.value / forward
    slices = ratio / fact.mirrors
    sentence = (
        f"{cell} is {ratio:.1f} times one forward pass ({forward:g}; {fact.counter}) = {fact.mirrors} mirror passes x "
        f"{slices:.1f} slices: it reads as the cost of a whole volume with mirroring."
    )
    numbers = {"ratio": ratio, "mirror passes": float(fact.mirrors), "slices": slices}
    return Finding("cost_units", "I", short([cell]), FORMULA, numbers, sentence, assumption=ASSUMPTION, group=fact.id)


def _per_volume(cell: TableCell, fact: CostFact) -> Finding:
    slices = fact.slices or 1
    one = fact.forward if fact.forward is not None else cell.value
    total = one * slices
    mirrored = f", {total * fact.mirrors:,.0f} with {fact.mirrors} mirror passes" if fact.mirrors > 1 else ""
    sentence = f"{cell}: on a volume of {slices} slices one forward pass a slice makes {total:,.0f}{mirrored}."
    numbers = {"per volume": total, "with mirroring": total * fact.mirrors, "slices": float(slices)}
    assumption = f"one forward pass a slice, {slices} slices"
    return Finding("cost_units", "I", short([cell]), FORMULA, numbers, sentence, assumption=assumption, group=fact.id)


def _multiples(cells: list[TableCell], group: str) -> Iterator[Finding | InOrder]:
    """Pairs of costs of which one is a whole multiple of the other, to the last printed digit."""
    large = [c for c in cells if c.value >= SMALLEST]
    for a, b in itertools.permutations(large, 2):
        ratio = a.value / b.value
        if a.printed.table == b.printed.table and ratio > 1 and ratio == round(ratio):
            sentence = (
                f"{a} is exactly {ratio:.0f} times {b.printed.method} ({b.text}). Counts of different networks on "
                "different grids hardly agree to the last digit; the paper does not state what was added up."
            )
            yield Finding("cost_units", "C", short([a, b]), "a / b", {"ratio": ratio}, sentence, group=group)
    if large:
        yield InOrder("cost_units", "costs compared for whole multiples", len(large))


CHECK = Check("cost_units", FORMULA, "I", ASSUMPTION, "a cost column, or `costs` in the side file", _run)
