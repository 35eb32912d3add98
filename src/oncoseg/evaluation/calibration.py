"""How probabilities agree with a reference: reliability bins, ECE of two kinds, MCE, Brier and log loss.

Ten equal bins, closed on the right: (0, 0.1], ..., (0.9, 1], the first one with 0. Two kinds of them, never mixed:
`foreground` bins the probability of tumour against the share of tumour; `top label` bins the confidence
max(p, 1 - p) against the share of right answers of p >= 0.5 (Guo et al. 2017). Brier is the mean of (p - y)^2, half of
the two-class sum; the log loss clips p at 1e-15.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

BINS = 10
#: Voxels taken at a time, so that memory stays flat.
_SLAB = 1 << 16
#: Background below this probability lies in the first bin, and its confidence in the last, whatever the rounding.
_FIRST_BIN = 0.0999
#: Below this probability three terms of the series of the log loss leave 3e-10 of the probability.
_LOW = 1e-3
#: Up to here every voxel is computed by the formula.
_FEW = 1 << 16
_CLIP = 1e-15


@dataclass(frozen=True, eq=False)
class Bins:
    """Reliability bins.

    Attributes:
        voxels: in each bin.
        predicted: sum of the probability (or confidence) in each bin.
        true: number of tumour voxels (or right answers) in each bin.
    """

    voxels: Floats = field(default_factory=lambda: np.zeros(BINS))
    predicted: Floats = field(default_factory=lambda: np.zeros(BINS))
    true: Floats = field(default_factory=lambda: np.zeros(BINS))

    def __add__(self, other: Bins) -> Bins:
        """Bins of two sets of voxels taken together."""
        return Bins(self.voxels + other.voxels, self.predicted + other.predicted, self.true + other.true)

    @property
    def gaps(self) -> Floats:
        """|mean probability - share of true| of every bin, 0 in an empty one."""
        gaps: Floats = np.abs(self.predicted - self.true) / np.maximum(self.voxels, 1)
        return gaps

    @property
    def expected_error(self) -> float:
        """Expected calibration error, in [0, 1]; 0 without voxels."""
        return float(np.abs(self.predicted - self.true).sum() / max(self.voxels.sum(), 1))

    @property
    def largest_error(self) -> float:
        """Largest gap of a bin that is not empty, in [0, 1]."""
        return float(self.gaps.max())


@dataclass(frozen=True, eq=False)
class Calibration:
    """Sums over voxels, from which every number follows; sums of two regions or cases may be added.

    Attributes:
        voxels: how many.
        squares: sum of (p - y)^2.
        losses: sum of the negative log likelihood.
        foreground, top_label: reliability bins of both kinds.
    """

    voxels: int = 0
    squares: float = 0.0
    losses: float = 0.0
    foreground: Bins = field(default_factory=Bins)
    top_label: Bins = field(default_factory=Bins)

    def __add__(self, other: Calibration) -> Calibration:
        """Two sets of voxels taken together."""
        return Calibration(
            self.voxels + other.voxels,
            self.squares + other.squares,
            self.losses + other.losses,
            self.foreground + other.foreground,
            self.top_label + other.top_label,
        )

    @property
    def brier(self) -> float:
        """Mean (p - y)^2, in [0, 1]."""
        return self.squares / self.voxels

    @property
    def nll(self) -> float:
        """Mean negative log likelihood, at least 0."""
        return self.losses / self.voxels


def measure(probability: NDArray[Any], label: Mask) -> Calibration:
    """Compare probabilities with labels, in slabs of constant memory.

    Args:
        probability: floats in [0, 1], any shape, at least one.
        label: bool of the same shape.

    Raises:
        InputError: when there is no voxel, or a probability is not in [0, 1].

    Example:
        >>> found = measure(np.array([0.5, 0.75]), np.array([False, True]))
        >>> found.brier, found.foreground.expected_error
        (0.15625, 0.375)
    """
    if not probability.size:
        raise InputError("Calibration needs at least one voxel.")
    probability, label = np.atleast_1d(probability), np.atleast_1d(label)
    step = max(1, _SLAB * len(probability) // probability.size)
    total = Calibration()
    for start in range(0, len(probability), step):
        p, y = (part[start : start + step].reshape(-1) for part in (probability, label))
        if not (p.min() >= 0 and p.max() <= 1):
            raise InputError("A probability is finite and lies in [0, 1]; check what the model returns.")
        total += _exact(p.astype(np.float64), y) if probability.size <= _FEW else _mostly_background(p, y)
    return total


def _exact(p: Floats, y: Mask) -> Calibration:
    right = (p >= 0.5) == y
    return Calibration(
        p.size,
        float(((p - y) ** 2).sum()),
        float(-np.log(np.maximum(np.where(y, p, 1 - p), _CLIP)).sum()),
        _binned(p, y),
        _binned(np.maximum(p, 1 - p), right),
    )


def _binned(p: Floats, true: Mask) -> Bins:
    # The edges are those of the decimal numbers: 0.3 belongs to (0.2, 0.3].
    number = np.searchsorted(_EDGES, p, side="left")
    sums = [np.bincount(number, weights, BINS).astype(np.float64) for weights in (None, p, true)]
    return Bins(*sums)


_EDGES = np.array([n / BINS for n in range(1, BINS)])


def _mostly_background(p: NDArray[Any], y: Mask) -> Calibration:
    """Sums of a slab in which most voxels are background of the first bin."""
    special = np.flatnonzero((p >= _FIRST_BIN) | y)
    if special.size > p.size // 2:
        return _exact(p.astype(np.float64), y)
    rest = p.copy()
    rest[special] = 0
    n, one, square = p.size - special.size, float(rest.sum(dtype=np.float64)), float(np.dot(rest, rest))
    first, last = np.zeros(BINS), np.zeros(BINS)
    first[0], last[-1] = 1, 1
    quiet = Calibration(
        n,
        square,
        one + square / 2 + _beyond(rest),
        Bins(n * first, one * first, 0 * first),
        Bins(n * last, (n - one) * last, n * last),
    )
    return quiet + _exact(p[special].astype(np.float64), y[special])


def _beyond(p: NDArray[Any]) -> float:
    """Sum of -log(1 - p) - p - p^2/2 for p < 0.1: the terms up to p^8/8, which leave 2e-10 of p at most."""
    # Floors keep powers of tiny probabilities from becoming subnormal numbers, which are slow; they add below 1e-16.
    tiny = np.maximum(p, 1e-10)
    third = float(np.dot(tiny * tiny, tiny)) / 3
    if p.max() < _LOW:
        return third
    p = np.maximum(p, 1e-4)
    square = p * p
    fourth, cube = square * square, square * p
    higher = (
        np.dot(square, square),
        np.dot(fourth, p),
        np.dot(cube, cube),
        np.dot(fourth, cube),
        np.dot(fourth, fourth),
    )
    return third + sum(float(moment) / power for power, moment in enumerate(higher, start=4))
