"""Several trainings of one model: patients and seeds are both drawn anew.

An interval over patients alone says how the score of *these* weights would move with other patients; whoever trains
again gets other weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.table import score_table
from oncoseg.evaluation.statistics import LEVEL, Floats

RESAMPLES = 9_999
#: Below this many trainings the spread between them is hardly known.
FEW_SEEDS = 5


@dataclass(frozen=True)
class SeedSummary:
    """A mean over seeds and patients.

    Attributes:
        seeds, patients: how many of each; cases that are undefined for one seed are left out.
        mean: of all.
        low, high: percentile interval of the two-level bootstrap; None with `reason`.
        patients_low, patients_high: the interval when only patients are drawn anew, the seeds as they are.
        between_seeds: standard deviation of the means of the seeds; None for one seed.
        between_patients: standard deviation of the means of the patients; None for one patient.
        left_out: cases.
        reason: `no_value`, `one_case`, `one_seed` or None.
        warning: when to distrust the interval, "" otherwise.
    """

    seeds: int
    patients: int
    mean: float | None
    low: float | None
    high: float | None
    patients_low: float | None
    patients_high: float | None
    between_seeds: float | None
    between_patients: float | None
    left_out: int
    reason: str | None
    warning: str


def over_seeds(
    scores: Mapping[int, Mapping[str, float | None]],
    *,
    against: Mapping[int, Mapping[str, float | None]] | None = None,
    patients: Mapping[str, str] | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> SeedSummary:
    """Mean of several trainings with an interval that holds for new patients and a new training.

    Two-level (crossed) bootstrap: patients are drawn once for all seeds, seeds once for all patients; it errs on the
    wide side in patients (Owen 2007) and on the narrow side for fewer than five seeds.

    Args:
        scores: seed of the training -> case -> value, None where undefined.
        against: the same of a second model; then everything is the difference first minus second. Patients are drawn
            for both together, seeds for each model on its own: equal seeds of two models have nothing in common.
        patients: case -> patient; None takes each case as a patient.
        seed: of the bootstrap.
        level: of the intervals.

    Raises:
        InputError: for no seed, or seeds without a common case.
    """
    if not scores or (against is not None and not against):
        raise InputError("There is no seed; give the scores of at least one training.")
    sides = [scores] if against is None else [scores, against]
    named = {f"{side}/{s}": held for side, all_seeds in enumerate(sides) for s, held in all_seeds.items()}
    held = score_table(named, patients=patients).complete()
    cut = len(scores)
    parts = [held.values[:, :cut], held.values[:, cut:]][: len(sides)]
    n, fewest = held.n, min(part.shape[1] for part in parts)
    if n == 0:
        return SeedSummary(fewest, 0, None, None, None, None, None, None, None, len(held.dropped), "no_value", "")
    values = _means(parts, np.ones((1, n)) / n, [np.full((1, p.shape[1]), 1 / p.shape[1]) for p in parts])
    reason = "one_case" if n < 2 else "one_seed" if fewest < 2 else None
    both = _interval(parts, seed, level, seeds_too=True) if reason is None else (None, None)
    alone = _interval(parts, seed, level, seeds_too=False) if n > 1 else (None, None)
    by_patient = _difference([part.mean(axis=1) for part in parts])
    warning = f"{fewest} seeds: the spread between trainings is hardly known" if 1 < fewest < FEW_SEEDS else ""
    return SeedSummary(
        seeds=fewest,
        patients=n,
        mean=float(values[0]),
        low=both[0],
        high=both[1],
        patients_low=alone[0],
        patients_high=alone[1],
        between_seeds=_between_seeds(parts) if fewest > 1 else None,
        between_patients=float(by_patient.std(ddof=1)) if n > 1 else None,
        left_out=len(held.dropped),
        reason=reason,
        warning=warning,
    )


def _interval(parts: list[Floats], seed: int, level: float, *, seeds_too: bool) -> tuple[float, float]:
    rng, n = np.random.default_rng(seed), parts[0].shape[0]
    rows = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    columns = []
    for part in parts:
        count = part.shape[1]
        even = np.full(count, 1 / count)
        drawn = rng.multinomial(count, even, size=RESAMPLES) / count
        columns.append(drawn if seeds_too else np.broadcast_to(even, drawn.shape))
    low, high = np.quantile(_means(parts, rows, columns), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _means(parts: list[Floats], rows: Floats, columns: list[Floats]) -> Floats:
    return _difference([((rows @ part) * drawn).sum(axis=1) for part, drawn in zip(parts, columns, strict=True)])


def _between_seeds(parts: list[Floats]) -> float:
    """Of a difference: the variances of both models' seeds add up."""
    return float(np.sqrt(sum(part.mean(axis=0).var(ddof=1) for part in parts)))


def _difference(sides: list[Floats]) -> Floats:
    return sides[0] if len(sides) == 1 else sides[0] - sides[1]
