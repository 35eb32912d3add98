"""Distance between the centres of both masks."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "com_distance",
    "mm",
    False,
    "Distance between the mean positions of both masks; undefined when a mask is empty.",
    bounds=LENGTH,
    symmetric=True,
)


def com_distance(pair: MaskPair) -> Measured:
    """Distance in mm between the mean voxel positions, at least 0; None when a mask is empty."""
    if pair.centres_mm is None:
        return Measured(None, pair.emptiness)
    reference, prediction = pair.centres_mm
    return Measured(float(np.linalg.norm(reference - prediction)))


METRIC = PairMetric(INFO, com_distance)
