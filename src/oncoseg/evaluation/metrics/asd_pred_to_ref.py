"""Average surface distance from the prediction to the reference."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "asd_pred_to_ref",
    "mm",
    False,
    "Mean distance from the prediction's border to the reference's; undefined when a mask is empty.",
    bounds=LENGTH,
)


def asd_pred_to_ref(pair: MaskPair) -> Measured:
    """Mean distance from the prediction's border to the reference's, in mm, at least 0; None when a mask is empty."""
    if pair.distances is None:
        return Measured(None, pair.emptiness)
    return Measured(float(pair.distances.to_reference.mean()))


METRIC = PairMetric(INFO, asd_pred_to_ref)
