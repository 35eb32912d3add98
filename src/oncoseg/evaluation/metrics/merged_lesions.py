"""Predicted lesions that run several lesions into one."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "merged_lesions",
    "",
    False,
    "Number of predicted lesions that touch two reference lesions or more; defined for every pair.",
    bounds=LENGTH,
)


def merged_lesions(pair: MaskPair) -> Measured:
    """Number of predicted lesions with a voxel in two reference lesions or more, at least 0; never undefined."""
    return Measured(float(len(pair.lesions.merged)))


METRIC = PairMetric(INFO, merged_lesions)
