"""A mean Dice has a largest value that a mean IoU of the same items allows."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import pairs_of, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import EPSILON, HALF_DIGITS

FORMULA = "D <= 2 I / (1 + I), the same as I >= D / (2 - D)"
#: Dice is a concave function of IoU, so the mean of one is bounded by the other's (Jensen's inequality).
BECAUSE = "both means are over the same items with the same weights; pooled counts keep it too"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    pairs = pairs_of(subject.cells, "iou", "dice")
    impossible = 0
    for iou, dice in pairs:
        if _violated(dice.value - dice.half_digit, iou.value + iou.half_digit) and iou.value <= dice.value:
            impossible += 1
            at_most, at_least = 2 * iou.value / (1 + iou.value), dice.value / (2 - dice.value)
            numbers = {
                "IoU printed": iou.value,
                "Dice printed": dice.value,
                "Dice at most": at_most,
                "IoU at least": at_least,
                "excess": dice.value - at_most,
            }
            sentence = (
                f"{iou.place}, {iou.printed.target}: the printed values cannot both hold: a mean IoU of {iou.text} "
                f"allows a mean Dice of at most {_as_printed(at_most, dice.scale, dice.printed.decimals)} "
                f"({dice.text} is printed), and that Dice needs a mean IoU of at least "
                f"{_as_printed(at_least, iou.scale, iou.printed.decimals)}."
            )
            yield Finding(
                "jensen", "C", short([iou, dice]), FORMULA, numbers, sentence, HALF_DIGITS, assumption=BECAUSE
            )
    if pairs:
        yield InOrder("jensen", "pairs of mean IoU and mean Dice that can both hold", len(pairs) - impossible)


def _violated(dice: float, iou: float) -> bool:
    return dice > 2 * iou / (1 + iou) + EPSILON


def _as_printed(share: float, scale: float, decimals: int) -> str:
    return f"{share * scale:.{decimals}f}"


CHECK = Check("jensen", FORMULA, "C", BECAUSE, "columns of IoU and Dice", _run)
