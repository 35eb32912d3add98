"""How the learning rate runs over a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["constant", "poly", "cosine", "multistep"]


def rate_factor(
    place: int,
    *,
    places: int,
    schedule: Schedule,
    warm_up: int = 0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
) -> float:
    """Share of the full learning rate at one place of a training; places are steps or epochs, as the caller counts.

    Args:
        place: from 0.
        places: of the whole training.
        schedule: after the warm-up: `constant`; `poly` (1 - t)^0.9 as in nnU-Net; `cosine` half a cosine
            (Loshchilov and Hutter 2017), t running from 0 to 1; `multistep` as torch's MultiStepLR.
        warm_up: places of linear growth; the last of them has the full rate.
        milestones: places, warm-up included, from which on `multistep` multiplies the rate by `gamma` once more.
        gamma: that factor.

    Returns:
        A number in (0, 1].

    Example:
        >>> [round(rate_factor(p, places=6, schedule="cosine", warm_up=2), 3) for p in range(6)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
        >>> [rate_factor(p, places=6, schedule="multistep", milestones=[2, 4], gamma=0.5) for p in range(6)]
        [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    if place < warm_up:
        return (place + 1) / warm_up
    t = (place - warm_up) / max(1, places - warm_up)
    match schedule:
        case "constant":
            return 1.0
        case "poly":
            return float((1 - t) ** 0.9)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * t))
        case "multistep":
            return float(gamma ** sum(place >= milestone for milestone in milestones))
