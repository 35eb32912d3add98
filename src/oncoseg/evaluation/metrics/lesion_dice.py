"""Dice of each lesion with the lesion that finds it; a missed lesion counts 0."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.lesions import LesionMatch
from oncoseg.evaluation.metric import MATCHING, MetricInfo, PairMetric, lesion_metric, ratio
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "lesion_dice",
    "",
    True,
    "Mean over reference lesions of the Dice with their match, 0 for a miss; undefined when the reference is empty.",
    parameter=MATCHING,
    example="iou0.1",
)


def build(parameter: str) -> PairMetric:
    """The metric under a matching rule, `iou0.1` or `centre10` (mm).

    Raises:
        InputError: for a rule that is not known.
    """
    return lesion_metric(INFO, lesion_dice, parameter)


def lesion_dice(pair: MaskPair, lesions: LesionMatch) -> Measured:
    """Mean over reference lesions, in [0, 1]; 0 when the prediction is empty, None when the reference is."""
    return ratio(sum(matched.dice for matched in lesions.pairs), lesions.references, pair.emptiness)


METRIC = lesion_metric(INFO, lesion_dice)
