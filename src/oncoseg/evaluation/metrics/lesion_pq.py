"""Panoptic quality of lesions (Kirillov et al., CVPR 2019)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.lesions import LesionMatch
from oncoseg.evaluation.metric import MATCHING, MetricInfo, PairMetric, lesion_metric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_pq",
    "",
    True,
    "Lesion F1 times mean IoU of matched lesions; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
    parameter=MATCHING,
    example="iou0.1",
)


def build(parameter: str) -> PairMetric:
    """The metric under a matching rule, `iou0.1` or `centre10` (mm).

    Raises:
        InputError: for a rule that is not known.
    """
    return lesion_metric(INFO, lesion_pq, parameter)


def lesion_pq(pair: MaskPair, lesions: LesionMatch) -> Measured:
    """Sum of matched IoU / (TP + FP/2 + FN/2), in [0, 1]; 0 when one mask is empty, None when both are."""
    return ratio(2 * sum(lesions.ious), lesions.references + lesions.predictions, pair.emptiness)


METRIC = lesion_metric(INFO, lesion_pq)
