"""Was a column of IoU averaged over cases, or computed from the mean Dice?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import TableCell, pairs_of, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import HALF_DIGITS, over_rounding

FORMULA = "gap = I - D / (2 - D), about (2 / (2 - D)^3) SD^2 for means of cases; SD <= sqrt(gap_max (2 - D)^3 / 2)"
ASSUMPTION = "the Dice of cases varies by more than a quarter of its distance from 0 and from 1"
#: Pairs that a table must have at least before anything is said about its column.
FEWEST = 4
#: A standard deviation below this share of min(D, 1 - D) is not met in practice.
USUAL_SPREAD = 0.25


def gap(iou: float, dice: float) -> float:
    """How far a mean IoU lies above the IoU of the mean Dice."""
    return iou - dice / (2 - dice)


def expected_gap(dice: float, sd: float) -> float:
    """The gap that means over cases with this standard deviation have, to second order.

    Example:
        >>> round(expected_gap(0.7328, 0.10), 4)
        0.0098
    """
    return 2 * sd**2 / (2 - dice) ** 3


def largest_sd(gap_max: float, dice: float) -> float:
    """The standard deviation over cases that a gap allows."""
    return math.sqrt(max(0.0, gap_max) * (2 - dice) ** 3 / 2)


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    tables: dict[tuple[str, str], list[tuple[TableCell, TableCell]]] = {}
    for iou, dice in pairs_of(subject.cells, "iou", "dice"):
        tables.setdefault((iou.printed.paper, iou.printed.table), []).append((iou, dice))
    for pairs in tables.values():
        if len(pairs) >= FEWEST:
            yield _judged(pairs)


def _judged(pairs: list[tuple[TableCell, TableCell]]) -> Finding | InOrder:
    gaps = [over_rounding(gap, pair) for pair in pairs]
    allowed = [largest_sd(g.high, d.value) for g, (_, d) in zip(gaps, pairs, strict=True)]
    converted = all(
        g.holds(0) and sd < USUAL_SPREAD * min(d.value, 1 - d.value)
        for g, sd, (_, d) in zip(gaps, allowed, pairs, strict=True)
    )
    first = pairs[0][0]
    table = first.printed.table and f"Table {first.printed.table}: "
    if not converted:
        return InOrder("converted_iou", f"{table}mean IoU is not the IoU of the mean Dice in every row", len(pairs))
    largest = max(abs(gap(i.printed.value / i.scale, d.value)) * i.scale for i, d in pairs)
    dice = [d.value for _, d in pairs]
    numbers = {
        "largest difference, as printed": largest,
        "smallest SD that the pairs allow at most": min(allowed),
        "largest SD that the pairs allow": max(allowed),
        "gap at SD 0.10, lowest Dice": expected_gap(min(dice), 0.10),
        "gap at SD 0.10, second lowest Dice": expected_gap(sorted(dice)[1], 0.10),
        "gap at SD 0.10, highest Dice": expected_gap(max(dice), 0.10),
    }
    sentence = (
        f"{table}all {len(pairs)} printed IoU equal D / (2 - D) of the printed Dice to within rounding (largest "
        f"difference {largest:.4f}). Means over cases would lie higher unless the Dice of cases varied by an SD of at "
        f"most {min(allowed):.3f} to {max(allowed):.3f}: the IoU was converted from the mean Dice, or both were pooled."
    )
    return Finding(
        "converted_iou",
        "C",
        short([c for pair in pairs for c in pair]),
        FORMULA,
        numbers,
        sentence,
        HALF_DIGITS,
        assumption=f"that it was not averaged per case (I): {ASSUMPTION}",
    )


CHECK = Check("converted_iou", FORMULA, "C", ASSUMPTION, "four pairs of IoU and Dice in a table", _run)
