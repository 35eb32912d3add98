"""Voxel accuracy; near 1 for small tumours and dependent on the field of view."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "accuracy",
    "",
    True,
    "Share of voxels labelled alike, over the whole image; defined for every pair.",
    symmetric=True,
)


def accuracy(counts: Counts) -> Measured:
    """(tp + tn) / all voxels, in [0, 1]; defined for every pair, 1 when both masks are empty."""
    return ratio(counts.tp + counts.tn, counts.total, None)


METRIC = CountMetric(INFO, accuracy)
