"""95th percentile Hausdorff distance, larger direction: the usual "HD95" (MONAI, MetricsReloaded)."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "hd95_max",
    "mm",
    False,
    "Larger of the two directed 95th percentiles of border distance; undefined when a mask is empty.",
    bounds=LENGTH,
    symmetric=True,
)


def hd95_max(pair: MaskPair) -> Measured:
    """Larger of the two directed 95th percentiles in mm (linear interpolation); None when a mask is empty."""
    if pair.distances is None:
        return Measured(None, pair.emptiness)
    directed = pair.distances.to_prediction, pair.distances.to_reference
    return Measured(float(max(np.percentile(distances, 95) for distances in directed)))


METRIC = PairMetric(INFO, hd95_max)
