"""Matthews correlation coefficient (Matthews 1975, Biochim. Biophys. Acta 405)."""

from __future__ import annotations

import math

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import CORRELATION, CountMetric, MetricInfo, ratio
from oncoseg.evaluation.pair import Counts

INFO = MetricInfo(
    "mcc",
    "",
    True,
    "Correlation of both masks over the whole image; undefined when a mask is empty or full.",
    bounds=CORRELATION,
    symmetric=True,
)


def mcc(counts: Counts) -> Measured:
    """Correlation of the two masks over the whole array, in [-1, 1].

    None when either mask is empty or fills the array, since one factor of the denominator is then 0.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    return ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)), counts.emptiness)


METRIC = CountMetric(INFO, mcc)
