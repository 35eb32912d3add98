"""Segmentation quality of matched lesions (SQ of Kirillov et al., CVPR 2019), by Dice."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.lesions import LesionMatch
from oncoseg.evaluation.metric import MATCHING, MetricInfo, PairMetric, lesion_metric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_sq_dice",
    "",
    True,
    "Mean Dice of matched lesions; 0 when nothing is matched, undefined when both masks are empty.",
    symmetric=True,
    parameter=MATCHING,
    example="iou0.1",
)


def build(parameter: str) -> PairMetric:
    """The metric under a matching rule, `iou0.1` or `centre10` (mm).

    Raises:
        InputError: for a rule that is not known.
    """
    return lesion_metric(INFO, lesion_sq_dice, parameter)


def lesion_sq_dice(pair: MaskPair, lesions: LesionMatch) -> Measured:
    """Mean Dice of matched pairs, in [0, 1]; 0 when none is matched (panoptica), None when both masks are empty."""
    if pair.emptiness == "both_empty":
        return Measured(None, "both_empty")
    return Measured(sum([matched.dice for matched in lesions.pairs]) / max(lesions.found, 1))


METRIC = lesion_metric(INFO, lesion_sq_dice)
