"""Specificity; near 1 for small tumours and dependent on the field of view."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "specificity",
    "",
    True,
    "Share of the background left alone, over the whole image; a model that predicts nothing has 1.",
)


def specificity(counts: Counts) -> Measured:
    """TN / (tn + fp) over the whole array, in [0, 1]; None when the reference fills the array."""
    return ratio(counts.tn, counts.tn + counts.fp, None)


METRIC = CountMetric(INFO, specificity)
