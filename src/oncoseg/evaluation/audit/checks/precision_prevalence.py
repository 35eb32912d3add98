"""Dice, sensitivity and specificity of pooled counts fix how large a share of the voxels the target is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from oncoseg.evaluation.audit.cells import TableCell, rows_of, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import HALF_DIGITS, Interval

FORMULA = "P = D R / (2 R - D); k = R (1 / P - 1); f = (1 - S) / ((1 - S) + k)"
ASSUMPTION = "exact for counts pooled over voxels; means over slices or cases need not obey it"


class Implied(NamedTuple):
    """What one row implies: precision, and the target's share of the voxels with its interval."""

    cells: tuple[TableCell, TableCell, TableCell]
    precision: float
    share: float
    interval: Interval


def precision(dice: float, sensitivity: float) -> float:
    """The precision that a Dice and a sensitivity imply."""
    return dice * sensitivity / (2 * sensitivity - dice)


def target_share(dice: float, specificity: float, sensitivity: float) -> float:
    """Share of voxels that are target, from pooled Dice, specificity and sensitivity.

    Example:
        >>> round(100 * target_share(0.2723, 0.9998, 0.2342), 3)
        0.041
    """
    false_per_target = sensitivity * (1 / precision(dice, sensitivity) - 1)
    return (1 - specificity) / ((1 - specificity) + false_per_target)


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    tables: dict[tuple[str, str, str], list[Implied]] = {}
    for key, row in rows_of(subject.cells).items():
        for target in dict.fromkeys(c.printed.target for c in row):
            found = _implied([c for c in row if c.printed.target == target])
            if found is not None:
                tables.setdefault((key.paper, key.table, key.dataset), []).append(found)
    for rows in tables.values():
        if len(rows) >= 2:
            yield _judged(rows)


def _implied(cells: Sequence[TableCell]) -> Implied | None:
    by_quantity = {c.quantity: c for c in cells if not c.stage}
    if not {"dice", "specificity", "sensitivity"} <= by_quantity.keys():
        return None
    three = (by_quantity["dice"], by_quantity["specificity"], by_quantity["sensitivity"])
    d, s, r = (c.value for c in three)
    corners = []
    for signs in itertools.product((-1, 1), repeat=3):
        x, y, z = (c.value + sign * c.half_digit for c, sign in zip(three, signs, strict=True))
        if not (0 < x < 2 * z and 0 < precision(x, z) < 1 and y < 1):
            return None
        corners.append(target_share(x, y, z))
    return Implied(three, precision(d, r), target_share(d, s, r), Interval(min(corners), max(corners)))


def _judged(rows: list[Implied]) -> Finding | InOrder:
    lowest, highest = max(r.interval.low for r in rows), min(r.interval.high for r in rows)
    p = rows[0].cells[0].printed
    where = ", ".join(part for part in (f"Table {p.table}" if p.table else "", p.dataset) if part)
    if lowest <= highest:
        what = f"{where}: rows that imply one share of target voxels"
        return InOrder("precision_prevalence", what, len(rows), numbers={"at least": lowest, "at most": highest})
    numbers: dict[str, float] = {}
    for row in rows:
        name = row.cells[0].printed.method
        numbers |= {f"{name}: share %": 100 * row.share, f"{name}: at least %": 100 * row.interval.low}
        numbers |= {f"{name}: at most %": 100 * row.interval.high, f"{name}: precision": row.precision}
    shares = sorted(100 * row.share for row in rows)
    sentence = (
        f"{where}: Dice, specificity and sensitivity of {len(rows)} rows imply shares of target voxels from "
        f"{shares[0]:.3f} % to {shares[-1]:.3f} % that have no value in common. Either the rows were not scored on the "
        "same pixels, or the values are means of slices or cases, for which the identity is not exact."
    )
    cells = short([c for row in rows for c in row.cells])
    return Finding("precision_prevalence", "K", cells, FORMULA, numbers, sentence, HALF_DIGITS, ASSUMPTION)


CHECK = Check("precision_prevalence", FORMULA, "K", ASSUMPTION, "two rows with Dice, specificity and sensitivity", _run)
