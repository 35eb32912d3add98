"""Statistics over the epochs of single trainings, as the third paper prints them.

Yi et al. (2026) give mean and SD over 100 epochs of one run, Shapiro-Wilk per model, Levene, one-way ANOVA and, when it
is significant, pairwise Welch t-tests without correction. Epochs of one run follow from each other and are no sample of
patients: these p-values say nothing about new patients. They exist here to be compared with that paper, under a name
that says what they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.independent import GroupTest, TwoGroups, compare_groups, two_groups
from oncoseg.evaluation.comparison.multiplicity import adjust, stars
from oncoseg.evaluation.comparison.paired import ALPHA, Normality
from oncoseg.evaluation.statistics import Floats, no_interval

LABEL = "training-trajectory statistics: epochs of one run, not patients"


@dataclass(frozen=True)
class Course:
    """The epochs of one training.

    Attributes:
        model: its name.
        epochs: with a defined value; `undefined` of them have none.
        mean, sd: over the epochs; None for no epoch, or one.
        normality: Shapiro-Wilk.
        autocorrelation: of neighbouring epochs in [-1, 1]; near 1 means that the epochs repeat each other; None
            without spread.
        worth: number of independent values with the same information, n (1 - r) / (1 + r), at most n; None without r.
    """

    model: str
    epochs: int
    undefined: int
    mean: float | None
    sd: float | None
    normality: Normality
    autocorrelation: float | None
    worth: float | None


@dataclass(frozen=True)
class CoursePair:
    """Welch's t-test of two trainings: p as published (not corrected), Holm's beside it, stars of the former."""

    test: TwoGroups
    p: float | None
    p_holm: float | None
    stars: str


@dataclass(frozen=True)
class Trajectory:
    """The published procedure.

    Attributes:
        label: what these numbers are; printed with every one of them.
        courses: each training.
        groups: Levene and one-way ANOVA; Welch's ANOVA and Kruskal-Wallis beside it.
        pairs: all pairs. The paper tests pairs only when the ANOVA is significant: see `pairs_follow`.
        pairs_follow: whether the ANOVA is significant.
        notes: what the paper's procedure overlooks in these data.
    """

    label: str
    courses: tuple[Course, ...]
    groups: GroupTest
    pairs: tuple[CoursePair, ...]
    pairs_follow: bool
    notes: tuple[str, ...]


def training_trajectory(values: Mapping[str, Sequence[float | None]], *, alpha: float = ALPHA) -> Trajectory:
    """Carry out the third paper's statistics on epoch values.

    Args:
        values: model -> score after each epoch of one training, None where undefined.
        alpha: of all tests.

    Raises:
        InputError: for fewer than two models, a model without a defined value, or a NaN.
    """
    defined = {model: [v for v in held if v is not None] for model, held in values.items()}
    if len(values) < 2:
        raise InputError(f"Epochs of several models are compared; there are those of {', '.join(values) or 'none'}.")
    empty = [model for model, held in defined.items() if not held]
    if empty:
        raise InputError(f"No epoch of {', '.join(empty)} has a defined value; there is nothing to test.")
    groups = compare_groups(defined, choose="classic", alpha=alpha)
    courses = tuple(_course(m, values[m], shape) for m, shape in zip(defined, groups.normality, strict=True))
    tests = [two_groups({a: defined[a], b: defined[b]}) for a, b in itertools.combinations(defined, 2)]
    p = [test.welch.p for test in tests]
    pairs = tuple(CoursePair(t, one, holm, stars(one)) for t, one, holm in zip(tests, p, adjust(p), strict=True))
    follow = groups.classic.p is not None and groups.classic.p < alpha
    notes = tuple(_notes(courses, groups, alpha=alpha, follow=follow))
    return Trajectory(LABEL, courses, groups, pairs, follow, notes)


def autocorrelation(values: Floats) -> float | None:
    """Correlation of neighbours (lag 1) in [-1, 1]; None for fewer than three values or no spread."""
    if values.size < 3 or no_interval(values):
        return None
    rest = values - values.mean()
    return float((rest[1:] * rest[:-1]).sum() / (rest**2).sum())


def _course(model: str, values: Sequence[float | None], shape: Normality) -> Course:
    held = np.array([v for v in values if v is not None], dtype=np.float64)
    r = autocorrelation(held)
    return Course(
        model=model,
        epochs=held.size,
        undefined=len(values) - held.size,
        mean=math.fsum(held) / held.size,
        sd=float(held.std(ddof=1)) if held.size > 1 else None,
        normality=shape,
        autocorrelation=r,
        worth=None if r is None else min(float(held.size), held.size * (1 - r) / (1 + r)),
    )


def _notes(courses: Sequence[Course], groups: GroupTest, *, alpha: float, follow: bool) -> list[str]:
    notes = ["One run a model: another seed gives other epochs, and no number here holds for it or for new patients."]
    related = [c for c in courses if c.autocorrelation is not None and c.worth is not None and c.autocorrelation > 0.2]
    if related:
        told = "; ".join(
            f"{c.model} r = {c.autocorrelation:.2f}, {c.epochs} epochs worth {c.worth:.0f}" for c in related
        )
        notes.append(f"Neighbouring epochs repeat each other ({told}), so every p is too small.")
    odd = [c.model for c in courses if c.normality.p is not None and c.normality.p < alpha]
    if odd:
        notes.append(f"Shapiro–Wilk rejects normality for {', '.join(odd)}; Kruskal–Wallis is given beside the ANOVA.")
    if groups.levene.p is not None and groups.levene.p < alpha:
        notes.append("Levene rejects equal spreads, which the one-way ANOVA assumes; Welch's ANOVA is given beside it.")
    if not follow:
        notes.append("The ANOVA is not significant: the published procedure stops there, without testing pairs.")
    return notes
