"""How many patients it would take: to tell two models apart, or to make an interval as narrow as wished."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from oncoseg.errors import InputError
from oncoseg.evaluation.statistics import Floats, no_interval, t_interval

POWER, ALPHA = 0.8, 0.05
#: Draws of every simulated study size; the power of each is known within .03.
DRAWS = 1_000
#: Nobody collects more.
MOST = 100_000


@dataclass(frozen=True)
class PatientsNeeded:
    """Patients of a new study that would find the observed difference with the given power.

    Attributes:
        patients: in the observed study.
        mean, sd: of the observed paired differences.
        t_test: patients for a paired t-test (statsmodels); None with `reason`.
        wilcoxon: patients for a Wilcoxon signed-rank test, by drawing studies from the observed differences; None
            with `reason`.
        low, high: patients for a t-test if the true difference were the far and the near end of the 95 % t interval of
            the mean difference; `high` is None where that interval holds 0: no number is then too large.
        power, alpha: asked for; tests are two-sided.
        reason: `no_value`, `one_case`, `no_spread`, `no_difference`, `too_many` (above 100,000) or None.
    """

    patients: int
    mean: float | None
    sd: float | None
    t_test: int | None
    wilcoxon: int | None
    low: int | None
    high: int | None
    power: float
    alpha: float
    reason: str | None

    @property
    def statement(self) -> str:
        """The answer in words, with what it rests on."""
        if self.reason is not None:
            return f"How many patients it would take cannot be said: {_REASONS[self.reason]}."
        counts = [f"{self.t_test:,} patients by a paired t-test"] if self.t_test else []
        counts += [f"{self.wilcoxon:,} by Wilcoxon's test"] if self.wilcoxon else []
        limit = "no number is surely enough, the true difference may be 0"
        if self.high is not None:
            limit = f"{self.low:,} to {self.high:,} patients are compatible with the data"
        elif self.low is not None:
            limit = f"at least {self.low:,}; {limit}"
        return (
            f"To find this difference with {self.power:.0%} power at p < {self.alpha:g}: about "
            f"{' and '.join(counts)} ({limit}). Assumes that the {self.patients} observed patients are like "
            f"those to come."
        )


_REASONS = {
    "no_value": "no patient has both scores",
    "one_case": "one patient has no spread",
    "no_spread": "the models differ by the same amount in every patient",
    "no_difference": "the mean difference is 0",
    "too_many": f"more than {MOST:,}",
}


def patients_needed(
    differences: Floats, *, power: float = POWER, alpha: float = ALPHA, seed: int = 0
) -> PatientsNeeded:
    """From observed paired differences to the size of a study that would find them.

    Not a verdict on the study at hand: the power of a study against its own outcome only repeats its p.

    Raises:
        InputError: for power or alpha outside (0, 1), or power not above alpha.
    """
    if not 0 < alpha < power < 1:
        raise InputError(f"Power {power:g} and alpha {alpha:g} must satisfy 0 < alpha < power < 1, e.g. 0.8 and 0.05.")
    reason = no_interval(differences)
    mean = float(differences.mean()) if differences.size else None
    if reason is None and mean is not None and abs(mean) <= 1e-12 * float(np.abs(differences).max()):
        reason = "no_difference"
    if reason is not None or mean is None:
        return PatientsNeeded(differences.size, mean, None, None, None, None, None, power, alpha, reason)
    sd = float(differences.std(ddof=1))
    t_test = _by_t(mean / sd, power, alpha)
    wilcoxon = _by_simulation(differences, power, alpha, seed=seed)
    near, far = _ends(differences)
    return PatientsNeeded(
        patients=differences.size,
        mean=mean,
        sd=sd,
        t_test=t_test,
        wilcoxon=wilcoxon,
        low=_by_t(far / sd, power, alpha),
        high=_by_t(near / sd, power, alpha) if near else None,
        power=power,
        alpha=alpha,
        reason="too_many" if t_test is None and wilcoxon is None else None,
    )


def patients_for_width(sd: float, width: float) -> int:
    """Patients that give a 95 % interval of a mean no wider than `width`: (2 * 1.96 * sd / width)^2, rounded up.

    Example:
        >>> patients_for_width(sd=0.03, width=0.01)
        139

    Raises:
        InputError: for a width that is not positive or a negative spread.
    """
    if not (width > 0 and sd >= 0 and math.isfinite(sd)):
        raise InputError(f"An interval of width {width:g} of values with spread {sd:g} cannot be planned.")
    return max(2, math.ceil((2 * float(stats.norm.ppf(0.975)) * sd / width) ** 2))


def _by_t(effect: float, power: float, alpha: float) -> int | None:
    """Smallest n of a two-sided paired t-test; None above `MOST`."""
    from statsmodels.stats.power import TTestPower

    solver, size = TTestPower(), abs(effect)

    def enough(n: int) -> bool:
        # The upper side of the two-sided test: rejections on the wrong side are next to none at such power, and their
        # probability is NaN in scipy's non-central t for large effects.
        return float(solver.power(size, n, alpha / 2, alternative="larger")) >= power

    # The solver of real n diverges below two patients, where large effects lie.
    return _smallest(enough, 2)


def _by_simulation(differences: Floats, power: float, alpha: float, *, seed: int) -> int | None:
    """Smallest n at which the drawn studies reject often enough; None above `MOST`."""
    threshold = float(stats.norm.isf(alpha / 2))
    sizes, group = np.unique(np.abs(differences), return_inverse=True)
    share = np.full(differences.size, 1 / differences.size)
    everything = np.eye(sizes.size)[group]
    signed = everything * np.sign(differences)[:, None]

    def enough(n: int) -> bool:
        drawn = np.random.default_rng([seed, n]).multinomial(n, share, size=DRAWS).astype(np.float64)
        counts = drawn @ everything
        middle = np.cumsum(counts, axis=1) - (counts - 1) / 2
        distance = (middle * (drawn @ signed)).sum(axis=1) / 2
        variance = (n * (n + 1.0) * (2 * n + 1) - (counts**3 - counts).sum(axis=1) / 2) / 24
        return bool((np.abs(distance) > threshold * np.sqrt(variance)).mean() >= power)

    # The smallest two-sided p of n patients is 2 / 2^n: with five, .05 cannot be reached.
    return _smallest(enough, math.ceil(math.log2(2 / alpha)), slack=0.02)


def _smallest(enough: Callable[[int], bool], first: int, *, slack: float = 0.0) -> int | None:
    """Smallest n from `first` on that is enough, by doubling and halving; within `slack` of it for large n."""
    low, high = first - 1, first
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > max(1, slack * high):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _ends(differences: Floats) -> tuple[float | None, float]:
    """Near end of the t interval of the mean (None when it holds 0) and far end, as sizes."""
    low, high = t_interval(differences) or (float(differences.mean()),) * 2
    near = None if low <= 0 <= high else min(abs(low), abs(high))
    return near, max(abs(low), abs(high))
