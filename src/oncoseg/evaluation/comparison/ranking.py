"""Rankings of models and how stable they are, by the method of Wiesenfarth et al. (2021).

Wiesenfarth et al., Methods and open-source toolkit for analyzing and visualizing challenge results, Sci Rep 11:2369.
A ranking gets an interval by drawing patients anew, the same for all models, and ranking again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.table import UNDEFINED_WORDS, ScoreTable, Undefined
from oncoseg.evaluation.statistics import LEVEL, Floats

Scheme = Literal["mean", "median", "rank", "test"]
SCHEMES: tuple[Scheme, ...] = ("mean", "median", "rank", "test")
SCHEME_WORDS: dict[str, str] = {
    "mean": "mean of the patients, then rank",
    "median": "median of the patients, then rank",
    "rank": "rank in each patient, then mean rank",
    "test": "share of models beaten in one-sided Wilcoxon tests (Holm)",
}
#: Final tables use 10,000.
RESAMPLES = 1_000
ALPHA = 0.05
#: Means of equal numbers in another order differ in the last bits; that is a tie.
_TIE = 1e-12
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """Models in the order of one scheme.

    Attributes:
        scheme: a key of `SCHEME_WORDS`.
        models: names.
        ranks: of each model; 1 is best, ties get the smaller rank; None when nothing could be ranked.
        aggregated: what was ranked: mean, median, mean rank, or share of models beaten.
        n: patients that entered.
        dropped: cases left out.
        undefined: the policy in words.
        warnings: what to know before reading it.
        reason: `no_value` when no patient was left, else None.
    """

    scheme: str
    models: tuple[str, ...]
    ranks: tuple[int | None, ...]
    aggregated: tuple[float | None, ...]
    n: int
    dropped: int
    undefined: str
    warnings: tuple[str, ...]
    reason: str | None

    @property
    def order(self) -> list[str]:
        """Models from best to worst; equal ones by name."""
        return sorted(self.models, key=lambda m: (self.rank_of(m) or math.inf, m))

    def rank_of(self, model: str) -> int | None:
        """The rank of one model."""
        return self.ranks[self.models.index(model)]


@dataclass(frozen=True)
class Stability:
    """A ranking with what resampled patients make of it.

    Attributes:
        ranking: of all patients.
        resamples, level: of the bootstrap.
        low, high: percentile interval of each model's rank, whole ranks rounded outwards; None with `reason`.
        first: share of resamples in which each model has rank 1 (shared first places count for each).
        frequency: models times ranks: share of resamples in which the model has rank 1, 2, ...
        tau: Kendall's tau-b between the ranking and each resampled one, where both have an order.
        tau_mean, tau_low, tau_high: mean and percentile interval of `tau`; None where no resample has one.
        reason: `no_value` or `one_case` when there is nothing to resample, else None.
    """

    ranking: Ranking
    resamples: int
    level: float
    low: tuple[int | None, ...]
    high: tuple[int | None, ...]
    first: tuple[float | None, ...]
    frequency: tuple[tuple[float, ...], ...]
    tau: tuple[float, ...]
    tau_mean: float | None
    tau_low: float | None
    tau_high: float | None
    reason: str | None

    def interval_of(self, model: str) -> tuple[int, int] | None:
        """The rank interval of one model; None when there is none."""
        low, high = (side[self.ranking.models.index(model)] for side in (self.low, self.high))
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True, eq=False)
class _Losses:
    """Smaller is better. `losses` (patients, models) finite; `places`: ranks of cases, averaged by patient."""

    losses: Floats
    places: Floats
    dropped: int


def rank_models(
    table: ScoreTable, *, scheme: Scheme, larger_is_better: bool, undefined: Undefined, alpha: float = ALPHA
) -> Ranking:
    """Rank the models of a table.

    Args:
        table: scores.
        scheme: `mean` and `median` aggregate, then rank; `rank` ranks in each patient, then takes the mean rank;
            `test` counts the models that each one beats in one-sided Wilcoxon signed-rank tests (zeros split, normal
            approximation), Holm over all ordered pairs.
        larger_is_better: direction of the metric.
        undefined: `worst` lets an undefined score count as the worst of the table (last in its case under `rank`),
            `drop_case` leaves the case out for all models.
        alpha: of the tests of `test`.

    Raises:
        InputError: for an unknown scheme or policy.
    """
    held = _losses(table, scheme=scheme, larger_is_better=larger_is_better, undefined=undefined)
    n = held.losses.shape[0]
    words, models = UNDEFINED_WORDS[undefined], table.models
    if n == 0:
        nothing = (None,) * len(models)
        return Ranking(scheme, models, nothing, nothing, 0, held.dropped, words, (), "no_value")
    weights = np.ones((1, n), dtype=np.int64)
    found = _SCHEMES[scheme](held, weights, alpha)[0]
    ranks = _ranks(found[None])[0]
    shown = -found if scheme == "test" or (scheme != "rank" and larger_is_better) else found
    return Ranking(
        scheme=scheme,
        models=models,
        ranks=tuple(ranks.tolist()),
        aggregated=tuple((shown + 0.0).tolist()),
        n=n,
        dropped=held.dropped,
        undefined=words,
        warnings=tuple(_warnings(scheme, n, len(models), alpha=alpha)),
        reason=None,
    )


def bootstrap_ranks(
    table: ScoreTable,
    *,
    scheme: Scheme,
    larger_is_better: bool,
    undefined: Undefined,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Stability:
    """Rank the models, then again on resampled patients, the same ones for all models.

    In pure noise the mean tau is near .5, not 0, since a resample shares patients with the original: judge by the
    rank intervals. Arguments as for `rank_models`; equal seeds give equal results.

    Raises:
        InputError: like `rank_models`, and for no resample.
    """
    if resamples < 1:
        raise InputError(f"{resamples} resamples give no interval; take 1,000.")
    ranking = rank_models(table, scheme=scheme, larger_is_better=larger_is_better, undefined=undefined, alpha=alpha)
    held = _losses(table, scheme=scheme, larger_is_better=larger_is_better, undefined=undefined)
    n, k = held.losses.shape
    if n < 2:
        nothing, reason = (None,) * k, "one_case" if n else "no_value"
        return Stability(ranking, 0, level, nothing, nothing, nothing, (), (), None, None, None, reason)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    ranks = _ranks(_SCHEMES[scheme](held, drawn, alpha))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low = np.quantile(ranks, tails[0], axis=0, method="lower").tolist()
    high = np.quantile(ranks, tails[1], axis=0, method="higher").tolist()
    frequency = np.stack([(ranks == place).mean(axis=0) for place in range(1, k + 1)], axis=1)
    tau = _kendall(np.array(ranking.ranks, dtype=np.int64), ranks)
    tau_low, tau_high = np.quantile(tau, tails).tolist() if tau.size else (None, None)
    return Stability(
        ranking=ranking,
        resamples=resamples,
        level=level,
        low=tuple(low),
        high=tuple(high),
        first=tuple(frequency[:, 0].tolist()),
        frequency=tuple(tuple(row) for row in frequency.tolist()),
        tau=tuple(tau.tolist()),
        tau_mean=float(tau.mean()) if tau.size else None,
        tau_low=tau_low,
        tau_high=tau_high,
        reason=None,
    )


def _losses(table: ScoreTable, *, scheme: str, larger_is_better: bool, undefined: str) -> _Losses:
    if scheme not in SCHEME_WORDS:
        raise InputError(f"Ranking scheme '{scheme}' is not known. Choose from: {', '.join(SCHEME_WORDS)}.")
    if undefined not in UNDEFINED_WORDS:
        raise InputError(f"Policy '{undefined}' for undefined scores is not known. Choose from: worst, drop_case.")
    policy: Undefined = "worst" if undefined == "worst" else "drop_case"
    sign = -1.0 if larger_is_better else 1.0
    held = table.filled(policy, larger_is_better=larger_is_better)
    losses = sign * held.values
    places = losses
    if held.n:
        cases = sign * table.values
        # An undefined score comes after every defined one of its case, also where it equals the worst of the table.
        cases = np.where(table.defined, cases, np.inf)
        ranked = ScoreTable(
            table.models,
            table.cases,
            table.patients,
            _ranks(cases).astype(np.float64),
            table.defined | (policy == "worst"),
        )
        places = ranked.complete().values
    return _Losses(losses, places, len(held.dropped))


def _by_mean(held: _Losses, weights: Ints, _: float) -> Floats:
    return np.asarray(weights @ held.losses / held.losses.shape[0])


def _by_rank(held: _Losses, weights: Ints, _: float) -> Floats:
    return np.asarray(weights @ held.places / held.places.shape[0])


def _by_median(held: _Losses, weights: Ints, _: float) -> Floats:
    n, k = held.losses.shape
    found = np.empty((weights.shape[0], k))
    for model in range(k):
        order = np.argsort(held.losses[:, model], kind="stable")
        # How many drawn patients lie at or below each one, in order of their loss.
        reached = np.cumsum(weights[:, order], axis=1)
        middle = [held.losses[order[(reached > position).argmax(axis=1)], model] for position in ((n - 1) // 2, n // 2)]
        found[:, model] = (middle[0] + middle[1]) / 2
    return found


def _by_tests(held: _Losses, weights: Ints, alpha: float) -> Floats:
    """Minus the share of models beaten."""
    k = held.losses.shape[1]
    pairs = [(a, b) for a in range(k) for b in range(k) if a != b]
    if not pairs:
        return np.zeros((weights.shape[0], k))
    z = np.zeros((k, k, weights.shape[0]))
    for a in range(k):
        for b in range(a + 1, k):
            z[a, b] = _signed_rank_z(held.losses[:, b] - held.losses[:, a], weights)
            z[b, a] = -z[a, b]
    p = special.ndtr(-np.stack([z[a, b] for a, b in pairs], axis=1))
    beaten = _holm(p) < alpha
    share = np.zeros((weights.shape[0], k))
    for number, (a, _) in enumerate(pairs):
        share[:, a] += beaten[:, number]
    return np.asarray(-share / (k - 1))


_SCHEMES: dict[str, Callable[[_Losses, Ints, float], Floats]] = {
    "mean": _by_mean,
    "median": _by_median,
    "rank": _by_rank,
    "test": _by_tests,
}


def _signed_rank_z(differences: Floats, weights: Ints) -> Floats:
    """Standardised Wilcoxon signed-rank statistic, zeros split, of every draw; + where differences are positive.

    A draw repeats patients, so ranks follow from how often each size of difference was drawn: sizes are sorted once
    for all draws. Equal to scipy's `zsplit`, normal approximation, on the repeated differences.
    """
    n = differences.size
    sizes, group = np.unique(np.abs(differences), return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(sizes.size))
    counts = np.add.reduceat(weights[:, order], starts, axis=1).astype(np.float64)
    signed = np.add.reduceat((weights * np.sign(differences))[:, order], starts, axis=1)
    middle = np.cumsum(counts, axis=1) - (counts - 1) / 2
    # Half of (positive minus negative rank sum) is the distance from its expectation; split zeros cancel.
    distance = (middle * signed).sum(axis=1) / 2
    variance = (n * (n + 1) * (2 * n + 1) - (counts**3 - counts).sum(axis=1) / 2) / 24
    return np.asarray(distance / np.sqrt(variance))


def _holm(p: Floats) -> Floats:
    """Holm's correction of every row."""
    order = np.argsort(p, axis=1, kind="stable")
    factors = p.shape[1] - np.arange(p.shape[1])
    stepped = np.minimum(1.0, np.maximum.accumulate(np.take_along_axis(p, order, axis=1) * factors, axis=1))
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, stepped, axis=1)
    return np.asarray(adjusted)


def _ranks(aggregated: Floats) -> Ints:
    """Rank of every row, smallest first, ties the smaller rank."""
    finite = np.where(np.isfinite(aggregated), np.abs(aggregated), 0.0)
    slack = _TIE * np.maximum(1.0, finite.max(axis=1, keepdims=True))[:, :, None]
    # Infinities: less than itself never holds, so undefined scores tie.
    smaller = aggregated[:, None, :] < aggregated[:, :, None] - slack
    return np.asarray(1 + smaller.sum(axis=2), dtype=np.int64)


def _kendall(ranks: Ints, drawn: Ints) -> Floats:
    """Kendall's tau-b between one ranking and many; those in which every model ties are left out."""
    a, b = np.triu_indices(ranks.size, 1)
    one, many = np.sign(ranks[a] - ranks[b]), np.sign(drawn[:, a] - drawn[:, b])
    scale = np.sqrt(float((one**2).sum()) * (many**2).sum(axis=1))
    return np.asarray((many @ one)[scale > 0] / scale[scale > 0])


def _warnings(scheme: str, n: int, k: int, *, alpha: float) -> list[str]:
    found = []
    if k < 2:
        found.append("1 model: there is nothing to rank it against")
    if n < 2:
        found.append("1 patient: a ranking on one patient says nothing about others")
    largest = n * (n + 1) / 4 / math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    if scheme == "test" and k > 1 and k * (k - 1) * special.ndtr(-largest) >= alpha:
        found.append(f"{n} patient{'s' if n > 1 else ''}: no test can be significant after Holm's correction")
    return found
