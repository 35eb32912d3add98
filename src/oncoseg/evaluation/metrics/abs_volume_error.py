"""Absolute volume error."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "abs_volume_error",
    "mL",
    False,
    "Absolute difference of both volumes; defined for every pair.",
    bounds=LENGTH,
    symmetric=True,
)


def abs_volume_error(pair: MaskPair) -> Measured:
    """|Vp - Vr| in mL, at least 0; never undefined: a missed tumour costs its volume."""
    return Measured(abs(pair.counts.fp - pair.counts.fn) * pair.voxel_size / 1000)


METRIC = PairMetric(INFO, abs_volume_error)
