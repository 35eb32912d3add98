"""Precision, also called positive predictive value."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "precision", "", True, "Share of the prediction that is right; undefined when the prediction is empty."
)


def precision(counts: Counts) -> Measured:
    """TP / (tp + fp), in [0, 1]; 0 when the reference is empty, None when the prediction is."""
    return ratio(counts.tp, counts.tp + counts.fp, counts.emptiness)


METRIC = CountMetric(INFO, precision)
