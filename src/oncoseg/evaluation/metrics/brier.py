"""Brier score (Brier 1950) of the probability of tumour: half of the two-class sum of MetricsReloaded."""

from __future__ import annotations

from oncoseg.evaluation.calibration import Calibration
from oncoseg.evaluation.metric import REGION, MetricInfo, PairMetric, probability_metric

INFO = MetricInfo(
    "brier",
    "",
    False,
    "Mean (p - y)^2; undefined without a probability or such a region.",
    parameter=REGION,
    example="box",
)


def build(parameter: str) -> PairMetric:
    """The metric in a region.

    Raises:
        InputError: for another region than `whole`, `box` and `boundary`.
    """
    return probability_metric(INFO, brier, parameter)


def brier(found: Calibration) -> float:
    """Mean squared distance of probability and label, in [0, 1]; the metric is None without a probability."""
    return found.brier
