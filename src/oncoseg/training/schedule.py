"""How the learning rate runs over a training."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "poly", "cosine"]


def rate_factor(step: int, *, steps: int, schedule: Schedule, warm_up: int = 0) -> float:
    """Share of the full learning rate at one step.

    Args:
        step: from 0.
        steps: of the whole training.
        schedule: after the warm-up: `constant`; `poly` (1 - t)^0.9 as in nnU-Net; `cosine` half a cosine
            (Loshchilov and Hutter 2017), t running from 0 to 1.
        warm_up: steps of linear growth; the last of them has the full rate.

    Returns:
        A number in (0, 1].

    Example:
        >>> [round(rate_factor(s, steps=6, schedule="cosine", warm_up=2), 3) for s in range(6)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warm_up:
        return (step + 1) / warm_up
    t = (step - warm_up) / max(1, steps - warm_up)
    match schedule:
        case "constant":
            return 1.0
        case "poly":
            return float((1 - t) ** 0.9)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * t))
