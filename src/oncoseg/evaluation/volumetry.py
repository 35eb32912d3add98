"""Agreement of volumes: bias and limits (Bland and Altman, Lancet 1:307, 1986; Stat Methods Med Res 8:135, 1999)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oncoseg.errors import InputError

#: Share of differences between the limits when they are normal: 95 %.
_WIDTH = 1.96


class Limit(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BlandAltman:
    """Differences between two ways of measuring.

    Attributes:
        n: pairs.
        bias: mean difference.
        sd: of the differences (n - 1).
        lower, upper: limits of agreement, bias -/+ 1.96 sd.
    """

    n: int
    bias: Limit
    sd: float
    lower: Limit
    upper: Limit


def bland_altman(differences: Sequence[float]) -> BlandAltman:
    """Bias and limits of agreement with their intervals, from Student's t; one difference a patient.

    The standard error of the bias is sd / sqrt(n), that of a limit sd sqrt(1/n + 1.96^2 / (2 (n - 1))) (1999).

    Args:
        differences: measured minus true.

    Raises:
        InputError: for fewer than three.
    """
    if len(differences) < 3:
        raise InputError(f"Limits of agreement need at least 3 differences; got {len(differences)}.")
    from scipy.stats import t

    values = np.asarray(differences, dtype=np.float64)
    n, mean, sd = len(values), float(values.mean()), float(values.std(ddof=1))
    quantile = float(t.ppf(0.975, n - 1))
    of_bias = quantile * sd / np.sqrt(n)
    of_limit = quantile * sd * np.sqrt(1 / n + _WIDTH**2 / (2 * (n - 1)))

    def limit(value: float, half: float) -> Limit:
        return Limit(value, float(value - half), float(value + half))

    lower, upper = mean - _WIDTH * sd, mean + _WIDTH * sd
    return BlandAltman(n, limit(mean, of_bias), sd, limit(lower, of_limit), limit(upper, of_limit))
