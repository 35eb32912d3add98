"""95th percentile Hausdorff distance, directions pooled: the "HD95" of medpy, panoptica and seg-metrics."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "hd95_pooled",
    "mm",
    False,
    "95th percentile of border distance, both directions in one list; undefined when a mask is empty.",
    bounds=LENGTH,
    symmetric=True,
)


def hd95_pooled(pair: MaskPair) -> Measured:
    """95th percentile (linear interpolation) of both directions in one list, in mm; None when a mask is empty."""
    if pair.distances is None:
        return Measured(None, pair.emptiness)
    return Measured(float(np.percentile(pair.distances.pooled, 95)))


METRIC = PairMetric(INFO, hd95_pooled)
