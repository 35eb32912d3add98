"""Hausdorff distance between the borders (Huttenlocher et al. 1993)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "hd",
    "mm",
    False,
    "Largest distance between the borders; undefined when a mask is empty.",
    bounds=LENGTH,
    symmetric=True,
)


def hd(pair: MaskPair) -> Measured:
    """Largest distance from a border voxel to the other border, in mm, at least 0; None when a mask is empty."""
    if pair.distances is None:
        return Measured(None, pair.emptiness)
    return Measured(float(pair.distances.pooled.max()))


METRIC = PairMetric(INFO, hd)
