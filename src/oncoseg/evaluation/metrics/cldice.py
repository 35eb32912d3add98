"""Centreline Dice (Shit et al., clDice, CVPR 2021): for thin, branching masks; most compact tumours have none."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.errors import InputError
from oncoseg.evaluation.metric import MetricInfo, PairMetric, ratio
from oncoseg.evaluation.pair import Mask, MaskPair

INFO = MetricInfo(
    "cldice",
    "",
    True,
    "Harmonic mean of the shares of each skeleton inside the other mask; undefined when one has no skeleton.",
    symmetric=True,
)


def cldice(pair: MaskPair) -> Measured:
    """2ab/(a+b) with a, b the shares of the prediction's and reference's skeleton inside the other mask, in [0, 1].

    Skeletons by scikit-image (in 3D Lee et al. 1994). None when a mask is empty, a skeleton is, or a + b is 0.

    Raises:
        InputError: when scikit-image is not installed.
    """
    if pair.emptiness:
        return Measured(None, pair.emptiness)
    inside, lengths = [0, 0], [0, 0]
    for island in pair.islands:
        masks = (island.prediction, island.reference)
        for side, (mask, other) in enumerate((masks, masks[::-1])):
            skeleton = _skeleton(mask)
            inside[side] += int(np.count_nonzero(skeleton & other))
            lengths[side] += int(np.count_nonzero(skeleton))
    if not all(lengths):
        return Measured(None, "zero_denominator")
    a, b = (n / length for n, length in zip(inside, lengths, strict=True))
    return ratio(2 * a * b, a + b, None)


def _skeleton(mask: Mask) -> Mask:
    try:
        from skimage.morphology import skeletonize
    except ModuleNotFoundError as error:
        raise InputError("Metric 'cldice' needs scikit-image: install oncoseg[skeleton], or leave it out.") from error
    found: Mask = skeletonize(mask).astype(bool)
    return found


METRIC = PairMetric(INFO, cldice)
