"""Means with intervals over patients, for one entrant and for the difference between two."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from oncoseg.evaluation.statistics import Floats, Summary, by_patient, compare, summarise
from oncoseg.report.groups import Entrant

_WORDS = {"no_value": "no defined value", "one_case": "1 patient", "no_spread": "no spread"}


def summary_of(entrant: Entrant, metric: str) -> Summary:
    """One metric of one entrant; the draws of a case, then the cases of a patient are averaged first."""
    return summary_of_cases(entrant.by_case(metric), entrant.patients())


def summary_of_cases(values: Mapping[str, float], patients: Mapping[str, str]) -> Summary:
    """Case -> value, averaged by patient first; `patients` is case -> patient."""
    return _summarise(tuple(values.values()), tuple(patients[case] for case in values))


def patient_values(entrant: Entrant, metric: str) -> Floats:
    """One value a patient, the mean of the patient's cases; empty when nothing is defined."""
    patients = entrant.patients()
    return by_patient([(value, patients[case]) for case, value in entrant.by_case(metric).items()])


def difference(first: Entrant, second: Entrant, metric: str) -> Summary | None:
    """Paired difference first minus second, on the cases defined for both; None when they share no case."""
    a, b = first.by_case(metric), second.by_case(metric)
    if not a.keys() & b.keys():
        return None
    return compare(a, b, patients=first.patients()).difference


def why_no_interval(summary: Summary) -> str:
    """In words; "" when there is an interval."""
    return _WORDS.get(summary.reason, summary.reason) if summary.reason else ""


@lru_cache(maxsize=4096)
def _summarise(values: tuple[float, ...], patients: tuple[str, ...]) -> Summary:
    return summarise(values, patients=patients)
