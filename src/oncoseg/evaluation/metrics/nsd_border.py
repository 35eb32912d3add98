"""Normalised surface distance on border voxels: the NSD of MONAI and MetricsReloaded."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import MetricInfo, PairMetric, tolerance, within
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "nsd_border",
    "",
    True,
    "Share of border voxels within the tolerance; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
    parameter="tolerance in mm",
)


def build(parameter: str) -> PairMetric:
    """The metric at a tolerance in mm, written as text.

    Raises:
        InputError: when it is not a number of at least 0.
    """
    tolerance_mm = tolerance(INFO, parameter)
    return PairMetric(INFO, lambda pair: nsd_border(pair, tolerance_mm), parameter=tolerance_mm)


def nsd_border(pair: MaskPair, tolerance_mm: float) -> Measured:
    """Share of border voxels, both directions pooled, that lie within `tolerance_mm` of the other border.

    Returns:
        A number in [0, 1]; a distance equal to the tolerance counts as inside. 0 when one mask is empty,
        None when both are.
    """
    if pair.emptiness == "both_empty":
        return Measured(None, "both_empty")
    if pair.distances is None:
        return Measured(0.0)
    return Measured(float(np.mean(pair.distances.pooled <= within(tolerance_mm))))
