"""Interactive metrics: how many prompts a model needs, and how much it gains by them.

Number of clicks as in Sofiiuk et al. 2022 (RITM, section 4): to the first prediction that reaches the target, and the
budget where none does. There the target is an IoU on images; here it is the Dice of the whole volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from oncoseg.errors import InputError
from oncoseg.score import Round, Score

#: Dice to be reached, in hundredths.
TARGETS = (85, 90)
#: Names of the scores of one interactive prediction.
CLICKS, FAILURE, AREA = "noc@{}", "noc_failure@{}", "dice_clicks_area"


class Reached(NamedTuple):
    """How many prompts it took.

    Attributes:
        prompts: given up to the first round that reached the target; all of them where none did.
        reached: whether one did.
    """

    prompts: int
    reached: bool


def prompts_to_reach(dice: Sequence[float], given: Sequence[int], target: float) -> Reached:
    """Prompts up to the first Dice of at least `target`.

    Args:
        dice: after each round, the first prompts included.
        given: number of prompts given up to each round.
        target: Dice in [0, 1].

    Raises:
        InputError: without a round, or for lists of unequal length.

    Example:
        >>> prompts_to_reach([0.5, 0.86, 0.8], [1, 2, 3], 0.85)
        Reached(prompts=2, reached=True)
    """
    if not dice or len(dice) != len(given):
        raise InputError(f"{len(dice)} values of Dice and {len(given)} numbers of prompts make no curve.")
    for value, number in zip(dice, given, strict=True):
        if value >= target:
            return Reached(number, True)
    return Reached(given[-1], False)


def area_under(dice: Sequence[float]) -> float:
    """Area under Dice against rounds by the trapezoidal rule, over its width: a mean Dice in [0, 1].

    Args:
        dice: after each round, the first prompts included; one round has its own Dice as area.

    Raises:
        InputError: without a round.

    Example:
        >>> area_under([0.5, 0.7, 0.9])
        0.7
    """
    if not dice:
        raise InputError("A curve needs at least one round.")
    if len(dice) == 1:
        return dice[0]
    return sum((a + b) / 2 for a, b in pairwise(dice)) / (len(dice) - 1)


def interactive_scores(rounds: Sequence[Round], protocol: str = "case3d") -> list[Score]:
    """What the rounds of one prediction are summed up to.

    Args:
        rounds: of one prediction, in their order; their Dice is of the whole volume.
        protocol: rule under which that Dice was scored.

    Returns:
        For each of `TARGETS` the number of prompts to reach it (`noc@85`, failures counted at the budget) and whether
        it was missed (`noc_failure@85`, 1 or 0), then the area (`dice_clicks_area`). Undefined with the reason of the
        Dice where the Dice of a round is; none without rounds.
    """
    if not rounds:
        return []
    undefined = next((r.reason or "zero_denominator" for r in rounds if r.dice is None), None)
    values: dict[str, tuple[float | None, str, bool]] = {}
    dice, given = [r.dice for r in rounds if r.dice is not None], [r.given for r in rounds]
    for target in TARGETS:
        found = None if undefined else prompts_to_reach(dice, given, target / 100)
        values[CLICKS.format(target)] = (None if found is None else float(found.prompts), "prompts", False)
        values[FAILURE.format(target)] = (None if found is None else float(not found.reached), "", False)
    values[AREA] = (None if undefined else area_under(dice), "", True)
    first = rounds[0]
    return [
        Score(first.case, first.patient, first.roi, name, protocol, value, undefined, unit, better)
        for name, (value, unit, better) in values.items()
    ]
