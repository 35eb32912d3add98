"""A pair of mean IoU and mean Dice read as complete misses and alike finds."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import pairs_of, short
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.finding import Finding, InOrder
from oncoseg.evaluation.audit.tolerance import over_rounding

FORMULA = "d = 2 - D / I; miss rate = 1 - D / d"
ASSUMPTION = "an item is either missed (0) or found with one Dice d that all found items share"


def _run(subject: Subject) -> Iterator[Finding | InOrder]:
    for asked in subject.facts.mixtures:
        for iou, dice in pairs_of(asked.where.of(subject.cells), "iou", "dice"):
            found = 2 - dice.value / iou.value
            missed = 1 - dice.value / found
            ends = over_rounding(lambda i, d: 1 - d / (2 - d / i), (iou, dice))
            if not 0 < found <= 1 or ends.high < 0:
                continue
            sentence = (
                f"{iou.place}, {iou.printed.target}: read as misses and alike finds, IoU {iou.text} with Dice "
                f"{dice.text} means {100 * missed:.1f} % missed and a Dice of {found:.3f} where found."
            )
            yield Finding(
                "mixture",
                "I",
                short([iou, dice]),
                FORMULA,
                {"Dice where found": found, "miss rate": missed, "lowest": ends.low, "highest": ends.high},
                sentence,
                "interval over half a unit of the last printed digits",
                ASSUMPTION,
                group=asked.id,
            )


CHECK = Check("mixture", FORMULA, "I", ASSUMPTION, "`mixtures` in the side file", _run)
