"""Share of lesions found, by IoU of at least 0.5."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import MetricInfo, PairMetric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_sensitivity",
    "",
    True,
    "Share of reference lesions matched with IoU of at least 0.5; undefined when the reference is empty.",
)


def lesion_sensitivity(pair: MaskPair) -> Measured:
    """Found lesions / reference lesions, in [0, 1]; 0 when the prediction is empty, None when the reference is."""
    lesions = pair.lesions
    return ratio(lesions.found, lesions.references, pair.emptiness)


METRIC = PairMetric(INFO, lesion_sensitivity)
