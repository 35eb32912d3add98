"""Rows with an average column: which weights the average gives its two parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from oncoseg.evaluation.audit.cells import SHARES, RowKey, TableCell, rows_of
from oncoseg.evaluation.audit.tolerance import EPSILON, Interval

#: Share of all rows' values that must obey one rule before the others are held against it.
MAJORITY = 0.5
#: Values that must obey it.
FEWEST = 4
#: A rule is a fraction with a small denominator.
LARGEST_DENOMINATOR = 12


@dataclass(frozen=True)
class Averaged:
    """One value of an average column and the two it should come from.

    Attributes:
        row: where.
        average: the printed average.
        major, minor: its parts; `minor` is the one whose weight is computed.
    """

    row: RowKey
    average: TableCell
    major: TableCell
    minor: TableCell

    @property
    def weight(self) -> float:
        """Weight of the minor part: (L - Avg) / (L - T)."""
        return (self.major.value - self.average.value) / (self.major.value - self.minor.value)

    @property
    def weights(self) -> Interval:
        """The weight over rounding of all three values; everything when the parts may be equal."""
        low, high = self._corner(-1), self._corner(1)
        return Interval(low, high)

    def expected(self, weight: float) -> float:
        """The average that a weight gives."""
        return (1 - weight) * self.major.value + weight * self.minor.value

    def obeys(self, weight: float) -> bool:
        """Whether the average follows from its parts with this weight, all three within rounding."""
        reach = self.average.half_digit + (1 - weight) * self.major.half_digit + weight * self.minor.half_digit
        return abs(self.expected(weight) - self.average.value) <= reach + EPSILON

    @property
    def metric(self) -> str:
        """Of the three values, as printed."""
        return self.average.printed.metric

    @property
    def cells(self) -> tuple[TableCell, TableCell, TableCell]:
        """Major part, minor part, average."""
        return self.major, self.minor, self.average

    def _corner(self, sign: int) -> float:
        """Smallest (-1) or largest (1) weight, of all corners at which the parts differ."""
        values = []
        for a in (-1, 1):
            for m in (-1, 1):
                for t in (-1, 1):
                    major = self.major.value + m * self.major.half_digit
                    minor = self.minor.value + t * self.minor.half_digit
                    average = self.average.value + a * self.average.half_digit
                    if (major - minor) * (self.major.value - self.minor.value) <= 0:
                        return sign * float("inf")
                    values.append((major - average) / (major - minor))
        return sign * max(sign * v for v in values)


def averaged(cells: Iterable[TableCell]) -> list[Averaged]:
    """Every average with exactly two parts that differ, in the order of the table; minor = the later column."""
    found = []
    for key, row in rows_of(cells).items():
        for average in (c for c in row if c.is_average and c.quantity in SHARES):
            parts = parts_of(average, row)
            if len(parts) == 2 and abs(parts[0].value - parts[1].value) > EPSILON:
                found.append(Averaged(key, average, parts[0], parts[1]))
    return found


def parts_of(average: TableCell, row: Sequence[TableCell]) -> list[TableCell]:
    """The cells of a row that its average should average."""
    same = (average.printed.metric, average.stage)
    return [c for c in row if not c.is_average and (c.printed.metric, c.stage) == same and c.printed.target]


def common_rule(values: Sequence[Averaged]) -> Fraction | None:
    """The simplest weight that most values obey; None when no rule holds for half of them."""
    if not values:
        return None
    held = np.array([[(c.value, c.half_digit) for c in v.cells] for v in values])
    (major, minor, average), reaches = held[..., 0].T[..., None], held[..., 1].T[..., None]
    weights = np.array([float(rule) for rule in _RULES])
    expected = (1 - weights) * major + weights * minor
    reach = (1 - weights) * reaches[0] + weights * reaches[1] + reaches[2]
    counts = (abs(expected - average) <= reach + EPSILON).sum(axis=0)
    best = int(np.argmax(counts))
    return _RULES[best] if counts[best] >= max(FEWEST, MAJORITY * len(values)) else None


#: Simplest first.
_RULES = sorted(
    {Fraction(n, d) for d in range(1, LARGEST_DENOMINATOR + 1) for n in range(d + 1)},
    key=lambda f: (f.denominator, f),
)
