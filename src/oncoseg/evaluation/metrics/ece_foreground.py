"""Expected calibration error of the probability of tumour, 10 equal bins closed on the right."""

from __future__ import annotations

from oncoseg.evaluation.calibration import Calibration
from oncoseg.evaluation.metric import REGION, MetricInfo, PairMetric, probability_metric

INFO = MetricInfo(
    "ece_foreground",
    "",
    False,
    "Mean |p - share of tumour| over 10 bins of p; undefined without a probability or such a region.",
    parameter=REGION,
    example="box",
)


def build(parameter: str) -> PairMetric:
    """The metric in a region.

    Raises:
        InputError: for another region than `whole`, `box` and `boundary`.
    """
    return probability_metric(INFO, ece_foreground, parameter)


def ece_foreground(found: Calibration) -> float:
    """Gaps of the bins weighted by their voxels, in [0, 1]; the metric is None without a probability."""
    return found.foreground.expected_error
