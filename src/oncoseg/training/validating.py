"""What a training is watched by: the prediction of each validation case, and numbers from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from oncoseg.case import Case
from oncoseg.contracts import Measured, Trainable, ValidatedWithPrompts
from oncoseg.evaluation.cutting import units
from oncoseg.evaluation.metrics.dice import dice
from oncoseg.evaluation.metrics.sensitivity import sensitivity
from oncoseg.evaluation.metrics.specificity import specificity
from oncoseg.evaluation.pair import Counts, MaskPair
from oncoseg.evaluation.protocol import ScoredCase, protocol
from oncoseg.volume import Volume

#: Scores a validation case; higher is better, None is undefined and left out of the mean.
Validate = Callable[[Trainable, Case], float | None]
#: What slices with tumour are scored by, as Yi et al. 2026 do after each epoch.
ON_SLICES: dict[str, Callable[[Counts], Measured]] = {
    "dice": dice,
    "sensitivity": sensitivity,
    "specificity": specificity,
}


@dataclass(frozen=True)
class Seen:
    """One validation case.

    Attributes:
        score: that chooses the weights; None when it is undefined.
        sums, counts: over the slices with tumour, by name in `ON_SLICES`; empty when slices are not scored.
    """

    score: float | None
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """All validation cases.

    Attributes:
        score: mean of the defined ones; None when there is none.
        scored: cases with a defined score.
        slices: mean over the slices with tumour of all cases, by name; without those that are undefined on all.
    """

    score: float | None
    scored: int
    slices: dict[str, float] = field(default_factory=dict)


def tumour_dice(model: Trainable, case: Case) -> float | None:
    """Dice of `predict` at probability 0.5 against the tumour mask; None when both are empty.

    A promptable model gets its own `validation_prompts`; without one it is not asked and has found nothing.
    """
    return dice(MaskPair(case.mask(), found(model, case)).counts).value


def found(model: Trainable, case: Case) -> Volume:
    """The mask that a model predicts in a validation case, at probability 0.5; see `tumour_dice`."""
    prompts = model.validation_prompts(case) if isinstance(model, ValidatedWithPrompts) else []
    if model.info.prompts and not prompts:
        return case.image.with_voxels(np.zeros(case.image.shape, bool))
    probability = model.predict(case.image, prompts)
    return probability.with_voxels(probability.voxels >= 0.5)


def watch(model: Trainable, case: Case, validate: Validate | None, *, slices: bool) -> Seen:
    """One validation case, predicted once.

    Args:
        model: as it is now.
        case: to predict.
        validate: gives the score; None for `tumour_dice`.
        slices: score the slices with tumour as well.
    """
    if not slices:
        return Seen((validate or tumour_dice)(model, case))
    mask = found(model, case)
    score = validate(model, case) if validate else dice(MaskPair(case.mask(), mask).counts).value
    pairs = units(protocol("tumour_slices"), ScoredCase(case.name, case.mask(), mask))
    sums, counts = {}, {}
    for name, metric in ON_SLICES.items():
        values = [value for pair in pairs if (value := metric(pair.counts).value) is not None]
        sums[name], counts[name] = float(sum(values)), len(values)
    return Seen(score, sums, counts)


def summed_up(
    seen: Mapping[int, Seen], cases: int, gather: Callable[[Sequence[float | None]], list[float | None]]
) -> Validation:
    """All cases together.

    Args:
        seen: by number of the case, as far as this process has looked.
        cases: their number.
        gather: completes a row of numbers from the other processes, see `Ranks.gather`.
    """

    def row(of: Callable[[Seen], float | None]) -> list[float]:
        known = gather([of(seen[n]) if n in seen else None for n in range(cases)])
        return [number for number in known if number is not None]

    scores = row(lambda one: one.score)
    slices = {}
    for name in ON_SLICES:
        sums, counts = row(partial(_value, "sums", name)), row(partial(_value, "counts", name))
        if sum(counts):
            slices[name] = sum(sums) / sum(counts)
    return Validation(sum(scores) / len(scores) if scores else None, len(scores), slices)


def _value(table: str, name: str, one: Seen) -> float | None:
    found: float | None = getattr(one, table).get(name)
    return found


def means(numbers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each number by name, over those that have it."""
    names = dict.fromkeys(name for held in numbers for name in held)
    each = {name: [held[name] for held in numbers if name in held] for name in names}
    return {name: sum(values) / len(values) for name, values in each.items()}
