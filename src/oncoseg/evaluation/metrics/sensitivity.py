"""Sensitivity, also called recall."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "sensitivity", "", True, "Share of the reference that was found; undefined when the reference is empty."
)


def sensitivity(counts: Counts) -> Measured:
    """TP / (tp + fn), in [0, 1]; 0 when the prediction is empty, None when the reference is."""
    return ratio(counts.tp, counts.tp + counts.fn, counts.emptiness)


METRIC = CountMetric(INFO, sensitivity)
