"""Expected calibration error of the confidence max(p, 1 - p) (Guo et al., ICML 2017)."""

from __future__ import annotations

from oncoseg.evaluation.calibration import Calibration
from oncoseg.evaluation.metric import REGION, MetricInfo, PairMetric, probability_metric

INFO = MetricInfo(
    "ece_top_label",
    "",
    False,
    "Mean |confidence - share right| over 10 bins; undefined without a probability or such a region.",
    parameter=REGION,
    example="box",
)


def build(parameter: str) -> PairMetric:
    """The metric in a region.

    Raises:
        InputError: for another region than `whole`, `box` and `boundary`.
    """
    return probability_metric(INFO, ece_top_label, parameter)


def ece_top_label(found: Calibration) -> float:
    """Gaps of the bins weighted by their voxels, in [0, 1]; the metric is None without a probability."""
    return found.top_label.expected_error
