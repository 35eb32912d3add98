"""One set of predictions, many numbers: why a Dice must name its rule.

58 made-up cases: a ball as tumour, a shifted ball of another size as prediction, some complete misses and
some false balls elsewhere. Scored under the protocols of the shelf, "Dice" runs from .665 to .959.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from oncoseg.evaluation.protocol import ScoredCase
from oncoseg.volume import Volume

CASES = 58
SHAPE = (96, 160, 160)
SPACING = (3.0, 2.0, 2.0)
#: Voxels (slice, row, column) from the image's edge within which no tumour's centre lies.
MARGIN = (20, 40, 40)
#: mm from the image's edge within which no false ball's centre lies; also the largest false ball's radius.
FALSE_MARGIN_MM = 14.0

Floats = NDArray[np.float64]


def worked_example(seed: int = 0) -> Iterator[ScoredCase]:
    """The phantom cases, one after the other.

    Tumour radius log-normal, median 16 mm, sigma 0.45, clipped to 5-55 mm; prediction shifted by
    N(0, 0.12 r) mm per axis, radius r N(0.97, 0.12), at least 2.5 mm; 10 % complete misses; 35 % with one
    false ball of 4-14 mm elsewhere.

    Args:
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    spacing, extent = np.array(SPACING), np.array(SHAPE) * np.array(SPACING)
    margin = np.array(MARGIN) * spacing
    for number in range(CASES):
        radius = float(np.clip(rng.lognormal(np.log(16), 0.45), 5, 55))
        centre = rng.uniform(margin, extent - margin)
        reference, prediction = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
        _add_ball(reference, centre, radius)
        if rng.random() >= 0.1:
            shift, factor = rng.normal(0, 0.12 * radius, 3), rng.normal(0.97, 0.12)
            _add_ball(prediction, centre + shift, max(2.5, radius * factor))
        if rng.random() < 0.35:
            false_centre = rng.uniform(FALSE_MARGIN_MM, extent - FALSE_MARGIN_MM)
            _add_ball(prediction, false_centre, rng.uniform(4, 14))
        yield ScoredCase(
            f"ball_{number:02d}",
            Volume.from_spacing(reference, SPACING),
            Volume.from_spacing(prediction, SPACING),
        )


def _add_ball(mask: NDArray[np.bool_], centre_mm: Floats, radius_mm: float) -> None:
    steps = [np.arange(n) * s - c for n, s, c in zip(mask.shape, SPACING, centre_mm, strict=True)]
    inside = [np.flatnonzero(abs(step) <= radius_mm) for step in steps]
    if all(part.size for part in inside):
        z, y, x = (step[part] ** 2 for step, part in zip(steps, inside, strict=True))
        mask[np.ix_(*inside)] |= z[:, None, None] + y[:, None] + x <= radius_mm**2
