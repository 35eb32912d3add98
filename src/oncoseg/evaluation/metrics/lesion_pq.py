"""Panoptic quality of lesions (Kirillov et al., CVPR 2019)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import MetricInfo, PairMetric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_pq",
    "",
    True,
    "Lesion F1 times mean IoU of matched lesions; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
)


def lesion_pq(pair: MaskPair) -> Measured:
    """Sum of matched IoU / (TP + FP/2 + FN/2), in [0, 1]; 0 when one mask is empty, None when both are."""
    lesions = pair.lesions
    return ratio(2 * sum(lesions.ious), lesions.references + lesions.predictions, pair.emptiness)


METRIC = PairMetric(INFO, lesion_pq)
