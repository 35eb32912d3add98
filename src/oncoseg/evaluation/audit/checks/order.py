"""IoU is never above Dice, and shares lie between 0 and 1."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import SHARES, TableCell, pairs_of, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS

FORMULA = "IoU <= Dice; 0 <= share <= 1"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    shares = [c for c in subject.cells if c.quantity in SHARES and c.stage in ("", "before", "after")]
    outside = [c for c in shares if not -EPSILON <= _nearest(c) <= 1 + EPSILON]
    for cell in outside:
        numbers = {"value": cell.value, "nearest to the range": _nearest(cell)}
        sentence = f"{cell} lies outside the range of a share, 0 to {1 if cell.scale == 1 else '100 %'}."
        yield Finding("order", "C", short([cell]), FORMULA, numbers, sentence, HALF_DIGITS)
    pairs = pairs_of(subject.cells, "iou", "dice")
    above = [(i, d) for i, d in pairs if i.value - i.half_digit > d.value + d.half_digit + EPSILON]
    for iou, dice in above:
        sentence = (
            f"{iou.place}, {iou.printed.target}: the printed values cannot both hold: an IoU of {iou.text} lies above "
            f"the Dice of {dice.text}, and no pair of masks has that."
        )
        yield Finding(
            "order", "C", short([iou, dice]), FORMULA, {"IoU": iou.value, "Dice": dice.value}, sentence, HALF_DIGITS
        )
    if shares:
        yield InOrder("order", "shares within 0 and 1", len(shares) - len(outside))
    if pairs:
        yield InOrder("order", "pairs with IoU not above Dice", len(pairs) - len(above))


def _nearest(cell: TableCell) -> float:
    """The value moved towards the range by half a digit."""
    return cell.value - cell.half_digit if cell.value > 1 else cell.value + cell.half_digit


CHECK = Check("order", FORMULA, "C", "", "a column of shares", _run)
