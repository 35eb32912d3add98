"""Signed relative volume difference."""

from __future__ import annotations

import math

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "rel_volume_diff",
    "",
    None,
    "Volume of the prediction relative to the reference minus 1; undefined when the reference is empty.",
    bounds=(-1.0, math.inf),
)


def rel_volume_diff(counts: Counts) -> Measured:
    """(Vp - Vr) / Vr, at least -1; + means the prediction is too large. None when the reference is empty."""
    return ratio(counts.fp - counts.fn, counts.tp + counts.fn, counts.emptiness)


METRIC = CountMetric(INFO, rel_volume_diff)
