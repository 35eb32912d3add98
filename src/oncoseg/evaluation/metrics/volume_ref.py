"""Volume of the reference."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo("volume_ref", "mm^3", None, "Volume of the reference; 0 when it is empty.", bounds=LENGTH)


def volume_ref(pair: MaskPair) -> Measured:
    """Volume of the reference in mm^3 (2D: area in mm^2); 0 for an empty mask, never undefined."""
    return Measured((pair.counts.tp + pair.counts.fn) * pair.voxel_size)


METRIC = PairMetric(INFO, volume_ref)
