"""Groups of different patients: Welch's t and ANOVA, classic ANOVA, Kruskal-Wallis, and which of them applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.paired import ALPHA, Normality, normality
from oncoseg.evaluation.statistics import LEVEL, Floats, no_interval

Choice = Literal["assumptions", "welch", "classic", "kruskal"]


@dataclass(frozen=True)
class Outcome:
    """A test: name and variant, statistic, degrees of freedom and p; None with a reason."""

    test: str
    statistic: float | None
    df: tuple[float, ...]
    p: float | None
    reason: str | None = None


@dataclass(frozen=True)
class GroupTest:
    """Several independent groups.

    Attributes:
        groups: names.
        sizes: patients in each.
        normality: Shapiro-Wilk in each group.
        levene: equal spread, centred at the median (Brown and Forsythe 1974).
        classic, welch, kruskal: one-way ANOVA, Welch's ANOVA (1951), Kruskal-Wallis.
        test: the one of them that applies.
        chosen: why.
        effects: `eta_squared` and `omega_squared` (classic), `epsilon_squared` (ranks, Kruskal-Wallis); None where
            undefined.
    """

    groups: tuple[str, ...]
    sizes: tuple[int, ...]
    normality: tuple[Normality, ...]
    levene: Outcome
    classic: Outcome
    welch: Outcome
    kruskal: Outcome
    test: Outcome
    chosen: str
    effects: Mapping[str, float | None]


@dataclass(frozen=True)
class TwoGroups:
    """Two independent groups: first minus second.

    Attributes:
        first, second: names.
        sizes: patients in each.
        difference: of the means.
        low, high: t interval of the difference (Welch).
        welch, mann_whitney: the tests.
        hedges_g: standardised difference, corrected for small groups (Hedges 1981).
        cliffs_delta: share of pairs in which the first is larger minus share in which it is smaller.
        reason: `no_value`, `one_case`, `no_spread` or None.
    """

    first: str
    second: str
    sizes: tuple[int, int]
    difference: float | None
    low: float | None
    high: float | None
    welch: Outcome
    mann_whitney: Outcome
    hedges_g: float | None
    cliffs_delta: float | None
    reason: str | None


def compare_groups(
    groups: Mapping[str, Sequence[float]], *, choose: Choice = "assumptions", alpha: float = ALPHA
) -> GroupTest:
    """Whether groups of different patients differ.

    Default choice: Kruskal-Wallis when Shapiro and Wilk reject normality in any group; else the classic ANOVA when
    Levene's test passes; else Welch's.

    Raises:
        InputError: for fewer than two groups or a value that is NaN or infinite.
    """
    arrays = _arrays(groups)
    shapes = tuple(normality(values) for values in arrays)
    levene = _levene(arrays)
    outcomes = {"classic": _classic(arrays), "welch": _welch(arrays), "kruskal": _kruskal(arrays)}
    name, chosen = _choice(choose, shapes, levene, alpha=alpha)
    return GroupTest(
        groups=tuple(groups),
        sizes=tuple(values.size for values in arrays),
        normality=shapes,
        levene=levene,
        **outcomes,
        test=outcomes[name],
        chosen=chosen,
        effects=_effects(arrays, outcomes["classic"], outcomes["kruskal"]),
    )


def two_groups(groups: Mapping[str, Sequence[float]]) -> TwoGroups:
    """Welch's t with its interval, Mann-Whitney and two effect sizes for two independent groups.

    Raises:
        InputError: unless there are two groups of finite values.
    """
    arrays = _arrays(groups)
    if len(arrays) != 2:
        raise InputError(f"Two groups are compared, {len(arrays)} were given: {', '.join(groups)}.")
    first, second = arrays
    names, sizes = tuple(groups), (first.size, second.size)
    reason = _untestable(arrays)
    label, ranked = "Welch's t-test, two-sided", "Mann–Whitney U, two-sided"
    if reason:
        difference = None if reason == "no_value" else float(first.mean() - second.mean())
        untested, unranked = (Outcome(name, None, (), None, reason) for name in (label, ranked))
        return TwoGroups(names[0], names[1], sizes, difference, None, None, untested, unranked, None, None, reason)
    welch = stats.ttest_ind(first, second, equal_var=False)
    interval = welch.confidence_interval(LEVEL)
    whitney = stats.mannwhitneyu(first, second, method="auto")
    return TwoGroups(
        first=names[0],
        second=names[1],
        sizes=sizes,
        difference=float(first.mean() - second.mean()),
        low=float(interval.low),
        high=float(interval.high),
        welch=Outcome(label, float(welch.statistic), (float(welch.df),), float(welch.pvalue)),
        mann_whitney=Outcome(ranked, float(whitney.statistic), (), float(whitney.pvalue)),
        hedges_g=_hedges(first, second),
        cliffs_delta=float(2 * whitney.statistic / (first.size * second.size) - 1),
        reason=None,
    )


def _arrays(groups: Mapping[str, Sequence[float]]) -> list[Floats]:
    if len(groups) < 2:
        raise InputError("Groups are compared with each other; give at least two.")
    arrays = [np.asarray(values, dtype=np.float64) for values in groups.values()]
    for name, values in zip(groups, arrays, strict=True):
        if not np.isfinite(values).all():
            raise InputError(
                f"Group '{name}' holds NaN or an infinite value; leave undefined scores out and count them."
            )
    return arrays


def _untestable(arrays: Sequence[Floats]) -> str | None:
    smallest = min(values.size for values in arrays)
    if smallest < 2:
        return "one_case" if smallest else "no_value"
    return "no_spread" if all(no_interval(values) for values in arrays) else None


def _outcome(test: str, reason: str | None, statistic: float, df: Sequence[float], p: float) -> Outcome:
    return Outcome(test, statistic, tuple(float(d) for d in df), p, reason)


def _levene(arrays: Sequence[Floats]) -> Outcome:
    test, reason = "Levene, centred at the median (Brown–Forsythe)", _untestable(arrays)
    if reason:
        return Outcome(test, None, (), None, reason)
    found = stats.levene(*arrays, center="median")
    if not np.isfinite(found.statistic):
        return Outcome(test, None, (), None, "no_spread")
    return _outcome(test, None, float(found.statistic), _df(arrays), float(found.pvalue))


def _classic(arrays: Sequence[Floats]) -> Outcome:
    test, reason = "one-way ANOVA, equal variances", _untestable(arrays)
    if reason:
        return Outcome(test, None, (), None, reason)
    found = stats.f_oneway(*arrays)
    return _outcome(test, None, float(found.statistic), _df(arrays), float(found.pvalue))


def _welch(arrays: Sequence[Floats]) -> Outcome:
    test = "Welch's ANOVA, unequal variances"
    # Every group needs a variance of its own: its weight is n over it.
    reason = _untestable(arrays) or ("no_spread" if any(no_interval(values) for values in arrays) else None)
    if reason:
        return Outcome(test, None, (), None, reason)
    from statsmodels.stats.oneway import anova_oneway

    found = anova_oneway(list(arrays), use_var="unequal")
    return _outcome(test, None, float(found.statistic), [float(d) for d in found.df], float(found.pvalue))


def _kruskal(arrays: Sequence[Floats]) -> Outcome:
    test, pooled = "Kruskal–Wallis, corrected for ties", np.concatenate(arrays)
    reason = "no_value" if min(values.size for values in arrays) == 0 else no_interval(pooled)
    if reason:
        return Outcome(test, None, (), None, reason)
    found = stats.kruskal(*arrays)
    return _outcome(test, None, float(found.statistic), [len(arrays) - 1], float(found.pvalue))


def _df(arrays: Sequence[Floats]) -> tuple[int, int]:
    return len(arrays) - 1, sum(values.size for values in arrays) - len(arrays)


def _choice(choose: Choice, shapes: Sequence[Normality], levene: Outcome, *, alpha: float) -> tuple[str, str]:
    if choose != "assumptions":
        return choose, "asked for"
    odd = [shape for shape in shapes if shape.p is None or shape.p < alpha]
    if odd:
        return "kruskal", f"Shapiro–Wilk does not pass in {len(odd)} of {len(shapes)} groups"
    if levene.p is None:
        return "welch", f"Levene undefined ({levene.reason})"
    if levene.p < alpha:
        return "welch", f"normality not rejected, spreads differ (Levene p = {levene.p:.3g})"
    return "classic", f"normality not rejected, equal spread not rejected (Levene p = {levene.p:.3g})"


def _effects(arrays: Sequence[Floats], classic: Outcome, kruskal: Outcome) -> dict[str, float | None]:
    between, within = _df(arrays)
    total = between + within + 1
    eta = omega = epsilon = None
    if classic.statistic is not None and np.isfinite(classic.statistic):
        f = classic.statistic
        eta = f * between / (f * between + within)
        omega = between * (f - 1) / (between * (f - 1) + total)
    if kruskal.statistic is not None:
        epsilon = kruskal.statistic / (total - 1)
    return {"eta_squared": eta, "omega_squared": omega, "epsilon_squared": epsilon}


def _hedges(first: Floats, second: Floats) -> float | None:
    rest = first.size + second.size - 2
    pooled = ((first.size - 1) * first.var(ddof=1) + (second.size - 1) * second.var(ddof=1)) / rest
    if pooled <= 0:
        return None
    return float((first.mean() - second.mean()) / np.sqrt(pooled) * (1 - 3 / (4 * rest - 1)))
