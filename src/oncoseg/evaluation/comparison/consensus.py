"""Several rankings of the same models: their consensus, and how far they agree.

Rankings differ by data set (a consensus makes sense), or by metric, scoring rule and scheme on the same patients
(agreement tells what the order hangs on; Wiesenfarth et al. 2021, Maier-Hein et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from oncoseg.errors import InputError


@dataclass(frozen=True)
class Consensus:
    """One order from several.

    Attributes:
        models: names.
        tasks: names of the rankings.
        mean_ranks: over the tasks (Borda's count), the number that is ranked.
        ranks: 1 is best, ties get the smaller rank.
        low, high: best and worst rank of each model in any task.
        kendall_w: agreement of the tasks in [0, 1], corrected for ties; None for one task, or where a task ties all.
        reason: why there is no `kendall_w`: `one_task`, `all_tied`; None otherwise.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    ranks: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    kendall_w: float | None
    reason: str | None


@dataclass(frozen=True)
class Agreement:
    """How far rankings of the same patients agree.

    Attributes:
        labels: of the rankings.
        tau: Kendall's tau-b of every pair; 1 on the diagonal, None where one of them ties every model.
        low, high: model -> its best and its worst rank in any of them.
        same_winner: whether the same models come first in all of them.
    """

    labels: tuple[str, ...]
    tau: tuple[tuple[float | None, ...], ...]
    low: Mapping[str, int]
    high: Mapping[str, int]
    same_winner: bool


def consensus(rankings: Mapping[str, Mapping[str, int]]) -> Consensus:
    """Order models by their mean rank over tasks; every task weighs the same.

    Args:
        rankings: task -> model -> rank.

    Raises:
        InputError: for no task, or tasks that rank different models.
    """
    models, grid = _grid(rankings)
    means = grid.mean(axis=0)
    ranks = 1 + (means[None, :] < means[:, None] - 1e-9).sum(axis=1)
    w, reason = _kendall_w(grid)
    return Consensus(
        models=models,
        tasks=tuple(rankings),
        mean_ranks=tuple(means.tolist()),
        ranks=tuple(ranks.tolist()),
        low=tuple(grid.min(axis=0).tolist()),
        high=tuple(grid.max(axis=0).tolist()),
        kendall_w=w,
        reason=reason,
    )


def agreement(rankings: Mapping[str, Mapping[str, int]]) -> Agreement:
    """Compare rankings of the same models by several metrics, scoring rules or schemes.

    Raises:
        InputError: for no ranking, or rankings of different models.
    """
    models, grid = _grid(rankings)
    tau = tuple(
        tuple(1.0 if a == b else _tau(one, other) for b, other in enumerate(grid)) for a, one in enumerate(grid)
    )
    return Agreement(
        labels=tuple(rankings),
        tau=tau,
        low=dict(zip(models, grid.min(axis=0).tolist(), strict=True)),
        high=dict(zip(models, grid.max(axis=0).tolist(), strict=True)),
        same_winner=bool(((grid == 1) == (grid[0] == 1)).all()),
    )


def _grid(rankings: Mapping[str, Mapping[str, int]]) -> tuple[tuple[str, ...], np.ndarray]:
    if not rankings:
        raise InputError("There is no ranking to compare.")
    models = tuple(next(iter(rankings.values())))
    for label, ranks in rankings.items():
        if set(ranks) != set(models):
            differing = ", ".join(sorted(set(ranks) ^ set(models)))
            raise InputError(f"'{label}' ranks other models than the first ranking ({differing}); rank the same ones.")
    return models, np.array([[ranks[model] for model in models] for ranks in rankings.values()], dtype=np.int64)


def _kendall_w(grid: np.ndarray) -> tuple[float | None, str | None]:
    tasks, k = grid.shape
    if tasks < 2:
        return None, "one_task"
    ranks = stats.rankdata(grid, axis=1)
    sizes = [np.unique(row, return_counts=True)[1].astype(float) for row in grid]
    ties = sum(float((size**3 - size).sum()) for size in sizes)
    scale = tasks**2 * (k**3 - k) - tasks * ties
    if scale <= 0:
        return None, "all_tied"
    return float(12 * ((ranks.sum(axis=0) - tasks * (k + 1) / 2) ** 2).sum() / scale), None


def _tau(one: np.ndarray, other: np.ndarray) -> float | None:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(stats.kendalltau(one, other).statistic)
