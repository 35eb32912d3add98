"""Conditions that a text states row by row, and that should be one for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from oncoseg.evaluation.audit.check import Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

_WORDS = {"device": "hardware", "epochs": "training budget"}


def differing(kind: str) -> Callable[[Subject], Iterator[Finding | InOrder]]:
    """A check's `run` for one kind of condition: told when rows differ.

    Args:
        kind: `device` or `epochs`.
    """

    def run(subject: Subject) -> Iterator[Finding | InOrder]:
        for condition in (c for c in subject.facts.conditions if c.kind == kind):
            rows: dict[str, list[str]] = {}
            for row, value in condition.values.items():
                rows.setdefault(value, []).append(row)
            if len(rows) == 1:
                yield InOrder(kind, f"one {_WORDS[kind]} in all rows", len(condition.values), condition.id)
                continue
            listed = "; ".join(f"{value}: {', '.join(names)}" for value, names in rows.items())
            sentence = f"Rows of one table differ in {_WORDS[kind]} ({listed})."
            formula = "one value in all rows of a table"
            yield Finding(kind, "C", (), formula, {"values": float(len(rows))}, sentence, group=condition.id)

    return run
