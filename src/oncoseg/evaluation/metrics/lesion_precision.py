"""Share of predicted lesions that are real."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.lesions import LesionMatch
from oncoseg.evaluation.metric import MATCHING, MetricInfo, PairMetric, lesion_metric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_precision",
    "",
    True,
    "Share of predicted lesions that are matched; undefined when the prediction is empty.",
    parameter=MATCHING,
    example="iou0.1",
)


def build(parameter: str) -> PairMetric:
    """The metric under a matching rule, `iou0.1` or `centre10` (mm).

    Raises:
        InputError: for a rule that is not known.
    """
    return lesion_metric(INFO, lesion_precision, parameter)


def lesion_precision(pair: MaskPair, lesions: LesionMatch) -> Measured:
    """Found lesions / predicted lesions, in [0, 1]; 0 when the reference is empty, None when the prediction is."""
    return ratio(lesions.found, lesions.predictions, pair.emptiness)


METRIC = lesion_metric(INFO, lesion_precision)
