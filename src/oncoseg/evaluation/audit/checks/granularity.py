"""A share of n counted items is a whole number of them: precision finer than n allows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import TableCell, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.facts import Share
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS

FORMULA = "value = k / n for a whole number k"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for share in subject.facts.shares:
        cells = share.where.of(subject.cells)
        impossible = [c for c in cells if not _possible(c, share.n)]
        for cell in impossible:
            yield _finding(cell, share)
        if cells:
            yield InOrder("granularity", f"shares of {share.n} {share.items}", len(cells) - len(impossible), share.id)


def _possible(cell: TableCell, n: int) -> bool:
    low, high = (cell.value - cell.half_digit) * n, (cell.value + cell.half_digit) * n
    return math.floor(high + EPSILON) >= math.ceil(low - EPSILON)


def _finding(cell: TableCell, share: Share) -> Finding:
    below = math.floor(cell.value * share.n)
    neighbours = below / share.n, (below + 1) / share.n
    told = " and ".join(
        f"{k}/{share.n} = {cell.scale * v:.{cell.printed.decimals}f}"
        for k, v in zip((below, below + 1), neighbours, strict=True)
    )
    sentence = f"{cell} and n = {share.n} {share.items} cannot both hold: the nearest shares of {share.n} are {told}."
    numbers = {"value": cell.value, "n": float(share.n), "next below": neighbours[0], "next above": neighbours[1]}
    assumption = f"every one of the {share.n} {share.items} counts as 0 or 1"
    return Finding("granularity", "C", short([cell]), FORMULA, numbers, sentence, HALF_DIGITS, assumption, "", share.id)


CHECK = Check("granularity", FORMULA, "C", "items count as 0 or 1", "`shares` in the side file", _run)
