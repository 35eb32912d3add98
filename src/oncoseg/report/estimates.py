"""Means with intervals over patients, for one entrant and for the difference between two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from oncoseg.evaluation.statistics import summarise
from oncoseg.report.groups import Entrant

#: Below this many patients the interval of a mean is too narrow (statistics: BCa covers .935 at n = 50).
FEW_PATIENTS = 50


@dataclass(frozen=True)
class Estimate:
    """A mean over patients.

    Attributes:
        mean, median: None when no value is defined.
        low, high: 95 % BCa bootstrap interval of the mean; None with `reason`.
        cases, patients: how many have a defined value.
        reason: why there is no interval, "" when there is one.
    """

    mean: float | None
    median: float | None
    low: float | None
    high: float | None
    cases: int
    patients: int
    reason: str = ""


def estimate(values: Sequence[float], patients: Sequence[str]) -> Estimate:
    """Mean, median and interval of one value a case; cases of one patient are averaged first."""
    return _estimate(tuple(values), tuple(patients))


@lru_cache(maxsize=4096)
def _estimate(values: tuple[float, ...], patients: tuple[str, ...]) -> Estimate:
    if not values:
        return Estimate(None, None, None, None, 0, 0, "no defined value")
    summary = summarise(values, patients=patients, seed=0)
    count = len(set(patients))
    reason = "1 patient" if count == 1 else "no spread" if summary.low is None else ""
    return Estimate(summary.mean, summary.median, summary.low, summary.high, len(values), count, reason)


def estimate_of(entrant: Entrant, metric: str) -> Estimate:
    """The estimate of one metric of one entrant."""
    values, patients = entrant.by_case(metric), entrant.patients()
    return estimate(list(values.values()), [patients[case] for case in values])


def difference(first: Entrant, second: Entrant, metric: str) -> Estimate:
    """Mean paired difference first minus second, on the cases defined for both."""
    a, b, patients = first.by_case(metric), second.by_case(metric), first.patients()
    shared = [case for case in a if case in b]
    return estimate([a[case] - b[case] for case in shared], [patients[case] for case in shared])
