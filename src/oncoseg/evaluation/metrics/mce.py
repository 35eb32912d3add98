"""Maximum calibration error of the probability of tumour, 10 equal bins closed on the right."""

from __future__ import annotations

from oncoseg.evaluation.calibration import Calibration
from oncoseg.evaluation.metric import REGION, MetricInfo, PairMetric, probability_metric

INFO = MetricInfo(
    "mce",
    "",
    False,
    "Largest gap of a bin of p that is not empty; undefined without a probability or such a region.",
    parameter=REGION,
    example="box",
)


def build(parameter: str) -> PairMetric:
    """The metric in a region.

    Raises:
        InputError: for another region than `whole`, `box` and `boundary`.
    """
    return probability_metric(INFO, mce, parameter)


def mce(found: Calibration) -> float:
    """Largest |mean p - share of tumour| of a bin, in [0, 1]; the metric is None without a probability."""
    return found.foreground.largest_error
