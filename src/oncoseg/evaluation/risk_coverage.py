"""Whether a model knows which of its cases are bad: mean risk while ever less certain cases are let in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oncoseg.errors import InputError


@dataclass(frozen=True)
class RiskCoverage:
    """The curve of Geifman and El-Yaniv (NeurIPS 2017; its area ICLR 2019), cases from the most certain on.

    Attributes:
        coverage: 1/n, 2/n, ..., 1.
        risk: mean risk of the cases let in.
        area: mean of `risk`; smaller is better.
        ideal: the area when cases are sorted by their risk: no order has a smaller one.
        random: the mean risk, which is the expected area of a random order.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: float
    ideal: float
    random: float

    @property
    def excess(self) -> float:
        """Area above the ideal one, at least 0."""
        return self.area - self.ideal


def risk_coverage(uncertainty: Sequence[float], risk: Sequence[float]) -> RiskCoverage:
    """Risk against coverage.

    Args:
        uncertainty: of each case, larger is less certain; cases of equal uncertainty enter with their mean risk.
        risk: of each case, e.g. 1 - Dice.

    Raises:
        InputError: without cases, or for lists of unequal length.

    Example:
        >>> risk_coverage([0.1, 0.2], [0.0, 1.0]).area
        0.25
    """
    if not len(risk) or len(uncertainty) != len(risk):
        raise InputError(f"{len(uncertainty)} uncertainties and {len(risk)} risks make no curve.")
    sure, values = np.asarray(uncertainty, dtype=np.float64), np.asarray(risk, dtype=np.float64)
    levels, place = np.unique(sure, return_inverse=True)
    means = np.bincount(place, values, len(levels)) / np.bincount(place, minlength=len(levels))
    curve = _running_mean(means[np.sort(place)])
    coverage = np.arange(1, len(values) + 1) / len(values)
    ideal = float(_running_mean(np.sort(values)).mean())
    return RiskCoverage(
        tuple(coverage.tolist()), tuple(curve.tolist()), float(curve.mean()), ideal, float(values.mean())
    )


def _running_mean(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values) / np.arange(1, len(values) + 1)
