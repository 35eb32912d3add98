"""Lesion F1, the recognition quality of Kirillov et al. (CVPR 2019)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import MetricInfo, PairMetric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_f1",
    "",
    True,
    "F1 of lesions matched with IoU of at least 0.5; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
)


def lesion_f1(pair: MaskPair) -> Measured:
    """TP / (TP + FP/2 + FN/2) over lesions, in [0, 1]; 0 when one mask is empty, None when both are."""
    lesions = pair.lesions
    return ratio(2 * lesions.found, lesions.references + lesions.predictions, pair.emptiness)


METRIC = PairMetric(INFO, lesion_f1)
