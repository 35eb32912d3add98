"""Predicted lesions that match no reference lesion: false positives per scan."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.lesions import LesionMatch
from oncoseg.evaluation.metric import LENGTH, MATCHING, MetricInfo, PairMetric, lesion_metric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "false_lesions",
    "",
    False,
    "Number of predicted lesions without a match in the scan; defined for every pair.",
    bounds=LENGTH,
    parameter=MATCHING,
    example="iou0.1",
)


def build(parameter: str) -> PairMetric:
    """The metric under a matching rule, `iou0.1` or `centre10` (mm).

    Raises:
        InputError: for a rule that is not known.
    """
    return lesion_metric(INFO, false_lesions, parameter)


def false_lesions(pair: MaskPair, lesions: LesionMatch) -> Measured:
    """Number of predicted lesions without a match, at least 0; never undefined."""
    return Measured(float(lesions.predictions - lesions.found))


METRIC = lesion_metric(INFO, false_lesions)
