"""Segmentation quality of matched lesions (SQ of Kirillov et al., CVPR 2019)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.lesions import LesionMatch
from oncoseg.evaluation.metric import MATCHING, MetricInfo, PairMetric, lesion_metric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_sq",
    "",
    True,
    "Mean IoU of matched lesions; 0 when nothing is matched, undefined when both masks are empty.",
    symmetric=True,
    parameter=MATCHING,
    example="iou0.1",
)


def build(parameter: str) -> PairMetric:
    """The metric under a matching rule, `iou0.1` or `centre10` (mm).

    Raises:
        InputError: for a rule that is not known.
    """
    return lesion_metric(INFO, lesion_sq, parameter)


def lesion_sq(pair: MaskPair, lesions: LesionMatch) -> Measured:
    """Mean IoU of matched pairs, in [0, 1]; 0 when none is matched (panoptica), None when both masks are empty."""
    if pair.emptiness == "both_empty":
        return Measured(None, "both_empty")
    return Measured(sum(lesions.ious) / max(lesions.found, 1))


METRIC = lesion_metric(INFO, lesion_sq)
