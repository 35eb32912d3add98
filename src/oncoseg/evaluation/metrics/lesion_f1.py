"""Lesion-wise F1, the recognition quality (RQ) of Kirillov et al., CVPR 2019."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.lesions import LesionMatch
from oncoseg.evaluation.metric import MATCHING, MetricInfo, PairMetric, lesion_metric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_f1",
    "",
    True,
    "2 TP / (2 TP + FP + FN) of matched lesions; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
    parameter=MATCHING,
    example="iou0.1",
)


def build(parameter: str) -> PairMetric:
    """The metric under a matching rule, `iou0.1` or `centre10` (mm).

    Raises:
        InputError: for a rule that is not known.
    """
    return lesion_metric(INFO, lesion_f1, parameter)


def lesion_f1(pair: MaskPair, lesions: LesionMatch) -> Measured:
    """2 found / (reference lesions + predicted lesions), in [0, 1]; 0 when one mask is empty, None when both are."""
    return ratio(2 * lesions.found, lesions.references + lesions.predictions, pair.emptiness)


METRIC = lesion_metric(INFO, lesion_f1)
