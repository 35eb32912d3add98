"""Rows of one table that were given different information at inference."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder

FORMULA = "what reaches each row from the reference"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for told in subject.facts.information:
        groups: dict[str, list[str]] = {}
        for row, given in told.given.items():
            groups.setdefault(given, []).append(row)
        if len(groups) == 1:
            yield InOrder("information", "all rows are given the same", len(told.given), told.id)
            continue
        listed = "; ".join(f"{', '.join(rows)}: {given}" for given, rows in groups.items())
        sentence = f"Rows of one table were given different information at inference ({listed})."
        numbers = {"kinds of information": float(len(groups))}
        yield Finding("information", told.grade, (), FORMULA, numbers, sentence, "", told.source, group=told.id)


CHECK = Check("information", FORMULA, "C", "", "`information` in the side file", _run)
