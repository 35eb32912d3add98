"""Cohen's kappa (Cohen 1960, Educ. Psychol. Meas. 20)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CORRELATION, CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "kappa",
    "",
    True,
    "Agreement beyond chance over the whole image; 0 when one mask is empty, undefined when both are.",
    bounds=CORRELATION,
    symmetric=True,
)


def kappa(counts: Counts) -> Measured:
    """Agreement beyond chance over the whole array, in [-1, 1].

    0 when exactly one mask is empty; None when both are, or when both fill the array.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    # (po - pe) / (1 - pe) in whole numbers: exact for tiny tumours in large images.
    expected = (tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)
    return ratio((tp + tn) * counts.total - expected, counts.total**2 - expected, counts.emptiness)


METRIC = CountMetric(INFO, kappa)
