"""Predicted lesions that match no reference lesion: false positives per scan."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "false_lesions",
    "",
    False,
    "Number of predicted lesions without a match in the scan; defined for every pair.",
    bounds=LENGTH,
)


def false_lesions(pair: MaskPair) -> Measured:
    """Number of predicted lesions without a match, at least 0; never undefined."""
    lesions = pair.lesions
    return Measured(float(lesions.predictions - lesions.found))


METRIC = PairMetric(INFO, false_lesions)
