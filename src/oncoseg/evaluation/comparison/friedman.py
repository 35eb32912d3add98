"""Several models on the same patients: Friedman's test, then Nemenyi, Wilcoxon with Holm, or Conover for the pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.multiplicity import CORRECTION_WORDS, Correction, adjust
from oncoseg.evaluation.comparison.table import Complete
from oncoseg.evaluation.statistics import Floats, rank_biserial, signed_rank

ALPHA = 0.05


@dataclass(frozen=True)
class Friedman:
    """Friedman's test (Friedman 1937; Demšar 2006, section 3.2.2; Iman and Davenport 1980).

    Attributes:
        models: names, in the order of `mean_ranks`.
        n, k: rows (patients or data sets) and models.
        mean_ranks: of each model, 1 is best, ties share the middle rank.
        chi2, p: without correction for ties, chi-square with k - 1 degrees of freedom.
        tie_factor: c = 1 - sum(t^3 - t) / (n k (k^2 - 1)); 1 without ties.
        chi2_corrected, p_corrected: chi2 / c, as R, scipy and pingouin print it.
        f, f_p: Iman and Davenport's F_F made from `chi2`, with `f_df` degrees of freedom; less conservative.
        f_corrected, f_p_corrected: the same from `chi2_corrected`.
        kendall_w: agreement of the rows in [0, 1], corrected for ties: the effect size.
        reason: `two_models`, `one_case`, `no_value` or `all_tied` when nothing can be tested, `same_order` when every
            row ranks alike, so that F_F is infinite and not given; None otherwise.
    """

    models: tuple[str, ...]
    n: int
    k: int
    mean_ranks: tuple[float, ...]
    chi2: float | None
    p: float | None
    tie_factor: float
    chi2_corrected: float | None
    p_corrected: float | None
    f: float | None
    f_p: float | None
    f_corrected: float | None
    f_p_corrected: float | None
    f_df: tuple[int, int]
    kendall_w: float | None
    reason: str | None

    @property
    def tied(self) -> bool:
        """Whether any row holds equal values, so that the two chi-squares differ."""
        return self.tie_factor < 1


@dataclass(frozen=True)
class Pairwise:
    """A p for every pair of models.

    Attributes:
        models: names of rows and columns.
        test: name and variant.
        correction: how p was corrected for the number of pairs.
        n: patients.
        p: k times k, symmetric, 1 on the diagonal; None where it is undefined.
        effect: matched-pairs rank-biserial correlation, row minus column, + where the row's values are larger.
        reason: why nothing could be tested, else None.
    """

    models: tuple[str, ...]
    test: str
    correction: str
    n: int
    p: tuple[tuple[float | None, ...], ...]
    effect: tuple[tuple[float | None, ...], ...]
    reason: str | None


def mean_ranks(values: Floats, *, larger_is_better: bool) -> Floats:
    """Mean rank of each column over rows, 1 is best, ties share the middle rank."""
    return np.asarray(stats.rankdata(-values if larger_is_better else values, axis=1).mean(axis=0))


def friedman(held: Complete, *, larger_is_better: bool) -> Friedman:
    """Whether any model ranks differently from the others, both ways of treating ties.

    Raises:
        InputError: for fewer than two models.
    """
    n, k = held.values.shape
    if k < 2:
        raise InputError("Friedman's test compares several models; give at least two.")
    nothing = "no_value" if n == 0 else "one_case" if n == 1 else "two_models" if k == 2 else None
    if n == 0:
        return _friedman(held, np.full(k, (k + 1) / 2), chi2=None, tie_factor=1.0, reason=nothing)
    average = mean_ranks(held.values, larger_is_better=larger_is_better)
    sizes = np.concatenate([np.unique(row, return_counts=True)[1] for row in held.values]).astype(float)
    tie_factor = float(1 - (sizes**3 - sizes).sum() / (n * k * (k * k - 1)))
    if nothing is None and tie_factor <= 1e-12:
        nothing = "all_tied"
    chi2 = None if nothing else float(12 * n / (k * (k + 1)) * ((average**2).sum() - k * (k + 1) ** 2 / 4))
    return _friedman(held, average, chi2=chi2, tie_factor=tie_factor, reason=nothing)


def _friedman(
    held: Complete, average: Floats, *, chi2: float | None, tie_factor: float, reason: str | None
) -> Friedman:
    n, k = held.values.shape
    corrected = p_corrected = None
    if chi2 is not None:
        found = stats.friedmanchisquare(*held.values.T)
        corrected, p_corrected = float(found.statistic), float(found.pvalue)
    f, f_p = _iman_davenport(chi2, n, k)
    f_corrected, f_p_corrected = _iman_davenport(corrected, n, k)
    return Friedman(
        models=held.models,
        n=n,
        k=k,
        mean_ranks=tuple(average.tolist()),
        chi2=chi2,
        p=None if chi2 is None else float(stats.chi2.sf(chi2, k - 1)),
        tie_factor=tie_factor,
        chi2_corrected=corrected,
        p_corrected=p_corrected,
        f=f,
        f_p=f_p,
        f_corrected=f_corrected,
        f_p_corrected=f_p_corrected,
        f_df=(k - 1, (k - 1) * (n - 1)),
        kendall_w=None if corrected is None else corrected / (n * (k - 1)),
        reason=reason or ("same_order" if chi2 is not None and f_corrected is None else None),
    )


def _iman_davenport(chi2: float | None, n: int, k: int) -> tuple[float | None, float | None]:
    rest = None if chi2 is None else n * (k - 1) - chi2
    # Rounding leaves a little where every row ranks alike.
    if chi2 is None or rest is None or rest <= 1e-9 * n * (k - 1):
        return None, None
    f = (n - 1) * chi2 / rest
    return f, float(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def nemenyi_q(k: int, *, alpha: float = ALPHA) -> float:
    """Critical value of Nemenyi's test for k models: upper point of the studentised range over the root of 2.

    Raises:
        InputError: for fewer than two models or an alpha outside (0, 1).
    """
    if k < 2 or not 0 < alpha < 1:
        raise InputError(f"Nemenyi's test needs two models and 0 < alpha < 1, not {k} models and alpha {alpha}.")
    return float(stats.studentized_range.isf(alpha, k, math.inf)) / math.sqrt(2)


def critical_difference(k: int, n: int, *, alpha: float = ALPHA) -> float:
    """Mean ranks of k models over n rows that are this far apart differ (Demšar 2006, section 3.2.2).

    Raises:
        InputError: like `nemenyi_q`, and for no row.
    """
    if n < 1:
        raise InputError("The critical difference needs at least one row.")
    return nemenyi_q(k, alpha=alpha) * math.sqrt(k * (k + 1) / (6 * n))


def nemenyi(held: Complete) -> Pairwise:
    """Nemenyi's test of all pairs; corrects for their number by itself. Arithmetic of scikit-posthocs."""
    reason = _untestable(held)
    if reason:
        return _nothing(held, "Nemenyi", "by the studentised range", reason)
    from scikit_posthocs import posthoc_nemenyi_friedman

    p = posthoc_nemenyi_friedman(held.values).to_numpy()
    return _pairwise(held, p, test="Nemenyi", correction="by the studentised range")


def conover(held: Complete, *, correction: Correction = "holm") -> Pairwise:
    """Conover's test after Friedman's: more power than Nemenyi, assumes more. Arithmetic of scikit-posthocs."""
    test, words = "Conover after Friedman", CORRECTION_WORDS[correction]
    reason = _untestable(held) or ("same_order" if _same_order(held.values) else None)
    if reason:
        return _nothing(held, test, words, reason)
    from scikit_posthocs import posthoc_conover_friedman

    p = posthoc_conover_friedman(held.values).to_numpy()
    upper = np.triu_indices(len(held.models), 1)
    adjusted = np.ones_like(p)
    adjusted[upper] = adjust(p[upper].tolist(), correction)
    adjusted.T[upper] = adjusted[upper]
    return _pairwise(held, adjusted, test=test, correction=words)


def pairwise_wilcoxon(held: Complete, *, correction: Correction = "holm") -> Pairwise:
    """Wilcoxon's signed-rank test of all pairs on the patients that all models share, one test for every pair."""
    k = len(held.models)
    rows, columns = np.triu_indices(k, 1)
    found = [signed_rank(held.values[:, a] - held.values[:, b]) for a, b in zip(rows, columns, strict=True)]
    variants = sorted({test.variant for test in found})
    adjusted = adjust([test.p for test in found], correction)
    p: list[list[float | None]] = [[1.0 if a == b else None for b in range(k)] for a in range(k)]
    for a, b, value in zip(rows.tolist(), columns.tolist(), adjusted, strict=True):
        p[a][b] = p[b][a] = value
    name = variants[0] if len(variants) == 1 else variants[0].rpartition(", ")[0] + ", exact where untied"
    reason = "no_value" if held.n == 0 else "one_case" if held.n == 1 else None
    if reason:
        return _nothing(held, name, CORRECTION_WORDS[correction], reason)
    grid = tuple(tuple(row) for row in p)
    return Pairwise(held.models, name, CORRECTION_WORDS[correction], held.n, grid, _effects(held.values), None)


def _untestable(held: Complete) -> str | None:
    if held.n < 2:
        return "one_case" if held.n else "no_value"
    return "all_tied" if bool((np.ptp(held.values, axis=1) == 0).all()) else None


def _same_order(values: Floats) -> bool:
    ranks = stats.rankdata(values, axis=1)
    return bool((ranks == ranks[0]).all())


def _pairwise(held: Complete, p: NDArray[np.float64], *, test: str, correction: str) -> Pairwise:
    grid = tuple(tuple(float(v) for v in row) for row in p)
    return Pairwise(held.models, test, correction, held.n, grid, _effects(held.values), None)


def _nothing(held: Complete, test: str, correction: str, reason: str) -> Pairwise:
    k = len(held.models)
    empty: Sequence[float | None] = [None] * k
    grid = tuple(tuple(1.0 if a == b else v for b, v in enumerate(empty)) for a in range(k))
    return Pairwise(held.models, test, correction, held.n, grid, tuple(tuple(empty) for _ in range(k)), reason)


def _effects(values: Floats) -> tuple[tuple[float | None, ...], ...]:
    k = values.shape[1]
    found: list[list[float | None]] = [[None] * k for _ in range(k)]
    for a in range(k):
        for b in range(k):
            differences = values[:, a] - values[:, b]
            found[a][b] = rank_biserial(differences) if differences.any() else None
    return tuple(tuple(row) for row in found)
