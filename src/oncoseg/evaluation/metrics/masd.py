"""Mean average surface distance: both directions weigh the same (the "ASSD" of panoptica)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "masd",
    "mm",
    False,
    "Mean border distance; both directions weigh the same; undefined when a mask is empty.",
    bounds=LENGTH,
    symmetric=True,
)


def masd(pair: MaskPair) -> Measured:
    """Mean of the two directed means, in mm, at least 0; None when a mask is empty."""
    if pair.distances is None:
        return Measured(None, pair.emptiness)
    return Measured(float((pair.distances.to_prediction.mean() + pair.distances.to_reference.mean()) / 2))


METRIC = PairMetric(INFO, masd)
