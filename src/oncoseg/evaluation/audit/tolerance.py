"""How far a number moves when every printed value it comes from moves within its last digit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from oncoseg.evaluation.audit.cells import TableCell

#: What differences of floating-point numbers may leave behind.
EPSILON = 1e-9
#: For every finding: how rounding was allowed for.
HALF_DIGITS = "holds with every value moved by half a unit of its last printed digit in any direction"


class Interval(NamedTuple):
    """Values a number may have, both ends included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low - EPSILON <= value <= self.high + EPSILON

    def meets(self, other: Interval) -> bool:
        """Whether the two have a value in common."""
        return self.low <= other.high + EPSILON and other.low <= self.high + EPSILON


def over_rounding(function: Callable[..., float], cells: Sequence[TableCell]) -> Interval:
    """Smallest and largest value of a function that rises or falls in each of its arguments.

    Args:
        function: of the cells' values, in order.
        cells: what was printed.
    """
    ends = [(c.value - c.half_digit, c.value + c.half_digit) for c in cells]
    values = [function(*corner) for corner in itertools.product(*ends)]
    return Interval(min(values), max(values))
