"""Log loss of the probability of tumour."""

from __future__ import annotations

from oncoseg.evaluation.calibration import Calibration
from oncoseg.evaluation.metric import LENGTH, REGION, MetricInfo, PairMetric, probability_metric

INFO = MetricInfo(
    "nll",
    "",
    False,
    "Mean negative log likelihood, p clipped at 1e-15; undefined without a probability or such a region.",
    bounds=LENGTH,
    parameter=REGION,
    example="box",
)


def build(parameter: str) -> PairMetric:
    """The metric in a region.

    Raises:
        InputError: for another region than `whole`, `box` and `boundary`.
    """
    return probability_metric(INFO, nll, parameter)


def nll(found: Calibration) -> float:
    """Mean negative log likelihood in nats, at least 0; the metric is None without a probability."""
    return found.nll
