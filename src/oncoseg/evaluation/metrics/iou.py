"""Intersection over union (Jaccard 1912)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "iou", "", True, "Intersection over union; 0 when one mask is empty, undefined when both are.", symmetric=True
)


def iou(counts: Counts) -> Measured:
    """TP / (tp + fp + fn), in [0, 1]; 0 when one mask is empty, None when both are."""
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn, "both_empty")


METRIC = CountMetric(INFO, iou)
