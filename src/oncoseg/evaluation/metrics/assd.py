"""Average symmetric surface distance: every border voxel weighs the same."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "assd",
    "mm",
    False,
    "Mean border distance; every border voxel weighs the same; undefined when a mask is empty.",
    bounds=LENGTH,
    symmetric=True,
)


def assd(pair: MaskPair) -> Measured:
    """Mean of both directions in one list, in mm, at least 0; None when a mask is empty."""
    if pair.distances is None:
        return Measured(None, pair.emptiness)
    return Measured(float(pair.distances.pooled.mean()))


METRIC = PairMetric(INFO, assd)
