"""Dice coefficient (Dice 1945, Ecology 26)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "dice",
    "",
    True,
    "Overlap of both masks over their mean size; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
)


def dice(counts: Counts) -> Measured:
    """2 tp / (2 tp + fp + fn), in [0, 1]; 0 when one mask is empty, None when both are."""
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, "both_empty")


METRIC = CountMetric(INFO, dice)
