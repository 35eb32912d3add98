"""Two models on the same patients: which test, why that one, and everything that must stand beside its p."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.multiplicity import Correction, adjust
from oncoseg.evaluation.comparison.table import Complete, ScoreTable
from oncoseg.evaluation.statistics import (
    LEVEL,
    NO_SPREAD,
    Floats,
    Summary,
    Zeros,
    no_interval,
    rank_biserial,
    signed_rank,
    summarise,
    summarise_columns,
)

#: `shapiro` takes the paired t-test when Shapiro and Wilk do not reject normal differences, else Wilcoxon's.
Choice = Literal["shapiro", "t", "wilcoxon"]
ALPHA = 0.05
PAIRED_T = "paired t-test, two-sided"
#: Shapiro-Wilk needs three values, and its p is not accurate above 5,000.
_SHAPIRO_FROM, _SHAPIRO_TO = 3, 5_000


@dataclass(frozen=True)
class Normality:
    """Shapiro and Wilk's W with its p; None with a reason (`too_few`, `too_many`, `no_spread`)."""

    w: float | None
    p: float | None
    reason: str | None


@dataclass(frozen=True)
class PairedTest:
    """One comparison of two models.

    Attributes:
        first, second: names of the models.
        difference: first minus second over patients, with BCa and t interval.
        left_out: cases that are undefined for one of the two; they leave the pair together.
        normality: of the differences.
        test: name and variant.
        chosen: why this test.
        statistic, df, p: of the test; `df` None for Wilcoxon's; all None with `reason`.
        cohen_dz: mean difference over its standard deviation; None without spread.
        rank_biserial: matched-pairs rank-biserial correlation in [-1, 1]; None for one patient or no difference.
        p_adjusted: p corrected for the number of comparisons; equals `p` for a single one.
        reason: `no_value`, `one_case`, `no_spread` (no difference at all), else None.
    """

    first: str
    second: str
    difference: Summary
    left_out: int
    normality: Normality
    test: str
    chosen: str
    statistic: float | None
    df: int | None
    p: float | None
    cohen_dz: float | None
    rank_biserial: float | None
    p_adjusted: float | None
    reason: str | None

    @property
    def n(self) -> int:
        """Patients in the comparison."""
        return self.difference.patients


def normality(values: Floats) -> Normality:
    """Shapiro-Wilk test (Royston's AS R94, as in R)."""
    if values.size < _SHAPIRO_FROM:
        return Normality(None, None, "too_few")
    if values.size > _SHAPIRO_TO:
        return Normality(None, None, "too_many")
    if no_interval(values):
        return Normality(None, None, NO_SPREAD)
    found = stats.shapiro(values)
    return Normality(float(found.statistic), float(found.pvalue), None)


def paired_test(
    table: ScoreTable,
    first: str,
    second: str,
    *,
    choose: Choice = "shapiro",
    zeros: Zeros = "zsplit",
    alpha: float = ALPHA,
    seed: int = 0,
) -> PairedTest:
    """Compare two models of a table on the patients defined for both.

    Args:
        table: scores.
        first: name of one model.
        second: name of the other.
        choose: how the test is chosen.
        zeros: what Wilcoxon's test does with patients without difference.
        alpha: of the test of normality.
        seed: of the bootstrap of the mean difference.

    Raises:
        InputError: for a model that the table does not hold, or an unknown choice.
    """
    pairs = table.complete([first, second])
    differences = pairs.values[:, 0] - pairs.values[:, 1]
    return _tested(pairs, summarise(differences.tolist(), seed=seed), choose=choose, zeros=zeros, alpha=alpha)


def _tested(pairs: Complete, difference: Summary, *, choose: Choice, zeros: Zeros, alpha: float) -> PairedTest:
    if choose not in ("shapiro", "t", "wilcoxon"):
        raise InputError(f"Test '{choose}' is not known. Choose from: shapiro, t, wilcoxon.")
    differences = pairs.values[:, 0] - pairs.values[:, 1]
    shape = normality(differences)
    use_t, chosen = _choice(choose, shape, alpha)
    reason = no_interval(differences)
    outcome = signed_rank(differences, zeros=zeros)
    statistic, p, df, test = outcome.statistic, outcome.p, None, outcome.variant
    # Equal differences are no obstacle for ranks; without any difference there is nothing to test.
    untestable = reason if use_t or reason != NO_SPREAD or not differences.any() else None
    if use_t and untestable is None:
        found = stats.ttest_rel(pairs.values[:, 0], pairs.values[:, 1])
        statistic, p, df = float(found.statistic), float(found.pvalue), differences.size - 1
    return PairedTest(
        first=pairs.models[0],
        second=pairs.models[1],
        difference=difference,
        left_out=len(pairs.dropped),
        normality=shape,
        test=PAIRED_T if use_t else test,
        chosen=chosen,
        statistic=None if untestable else statistic,
        df=df,
        p=None if untestable else p,
        cohen_dz=None if reason else float(differences.mean() / differences.std(ddof=1)),
        rank_biserial=rank_biserial(differences) if differences.size > 1 and differences.any() else None,
        p_adjusted=None if untestable else p,
        reason=untestable,
    )


def all_pairs(
    table: ScoreTable,
    *,
    models: Sequence[str] | None = None,
    choose: Choice = "shapiro",
    zeros: Zeros = "zsplit",
    correction: Correction = "holm",
    seed: int = 0,
) -> list[PairedTest]:
    """Every pair of models, in the order of the table, p-values corrected together.

    Pairs defined on the same patients share the draws of the bootstrap. Arguments and errors as for `paired_test`.
    """
    names = table.models if models is None else models
    held = [table.complete(pair) for pair in itertools.combinations(names, 2)]
    together: dict[tuple[str, ...], list[int]] = {}
    for number, pairs in enumerate(held):
        together.setdefault(pairs.patients, []).append(number)
    summaries: dict[int, Summary] = {}
    for numbers in together.values():
        differences = np.stack([held[n].values[:, 0] - held[n].values[:, 1] for n in numbers], axis=1)
        summaries |= dict(zip(numbers, summarise_columns(differences, seed=seed), strict=True))
    tests = [_tested(pairs, summaries[n], choose=choose, zeros=zeros, alpha=ALPHA) for n, pairs in enumerate(held)]
    adjusted = adjust([test.p for test in tests], correction)
    return [replace(test, p_adjusted=p) for test, p in zip(tests, adjusted, strict=True)]


def interval_of(test: PairedTest) -> tuple[float, float] | None:
    """The interval of the mean difference that goes with the test: Student's t, or the BCa bootstrap.

    Both are of level `oncoseg.evaluation.statistics.LEVEL`; None when there is none.
    """
    held = test.difference
    low, high = (held.t_low, held.t_high) if test.test == PAIRED_T else (held.low, held.high)
    return None if low is None or high is None else (low, high)


def interval_words(test: PairedTest) -> str:
    """Which interval `interval_of` is."""
    return f"{LEVEL:.0%} {'t' if test.test == PAIRED_T else 'BCa'} interval"


def _choice(choose: Choice, shape: Normality, alpha: float) -> tuple[bool, str]:
    if choose != "shapiro":
        return choose == "t", "asked for"
    if shape.p is None:
        return False, f"Shapiro–Wilk undefined ({shape.reason})"
    normal = shape.p >= alpha
    found = f"Shapiro–Wilk on the differences: W = {shape.w:.3f}, p = {shape.p:.3g}"
    return normal, f"{found}, {'normality not rejected' if normal else 'not normal'}"


def differences_of(table: ScoreTable, first: str, second: str) -> Floats:
    """First minus second, one value a patient that is defined for both."""
    held = table.complete([first, second])
    return np.asarray(held.values[:, 0] - held.values[:, 1])
