"""Evaluation sets that stand on the list of what a starting checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "listed training sets and evaluation sets have no member in common"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for fact in subject.facts.pretraining:
        listed = frozenset(fact.listed)
        every = dict.fromkeys(name for sets in fact.evaluated.values() for name in sets)
        seen = [name for name in every if name in listed]
        if not seen:
            yield InOrder("pretraining", f"no evaluation set is listed for {fact.weights}", len(every), fact.id)
            continue
        parts = {part: [n for n in sets if n in listed] for part, sets in fact.evaluated.items()}
        counted = "; ".join(f"{part}: {len(hit)} of {len(fact.evaluated[part])}" for part, hit in parts.items())
        clean = ", ".join(name for name in every if name not in listed) or "none"
        sentence = (
            f"{fact.weights}: {len(seen)} of {len(every)} evaluation sets stand on the list of its training sets "
            f"({counted}); not listed: {clean}. Source: {fact.source}."
        )
        numbers = {"listed": float(len(seen)), "evaluation sets": float(len(every))}
        numbers |= {f"listed, {part}": float(len(hit)) for part, hit in parts.items()}
        yield Finding("pretraining", "C", (), FORMULA, numbers, sentence, assumption=fact.assumption, group=fact.id)


CHECK = Check("pretraining", FORMULA, "C", "", "`pretraining` in the side file", _run)
