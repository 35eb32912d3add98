"""Lesions that the prediction takes apart."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "split_lesions",
    "",
    False,
    "Number of reference lesions that two predicted lesions or more touch; defined for every pair.",
    bounds=LENGTH,
)


def split_lesions(pair: MaskPair) -> Measured:
    """Number of reference lesions with a voxel in two predicted lesions or more, at least 0; never undefined."""
    return Measured(float(len(pair.lesions.split)))


METRIC = PairMetric(INFO, split_lesions)
