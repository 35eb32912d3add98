"""Share of predicted lesions that are real, by IoU of at least 0.5."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import MetricInfo, PairMetric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_precision",
    "",
    True,
    "Share of predicted lesions matched with IoU of at least 0.5; undefined when the prediction is empty.",
)


def lesion_precision(pair: MaskPair) -> Measured:
    """Found lesions / predicted lesions, in [0, 1]; 0 when the reference is empty, None when the prediction is."""
    lesions = pair.lesions
    return ratio(lesions.found, lesions.predictions, pair.emptiness)


METRIC = PairMetric(INFO, lesion_precision)
