"""Contour still to be drawn in radiotherapy (Vaassen et al., Phys Imaging Radiat Oncol 13:1, 2020)."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import LENGTH, MetricInfo, PairMetric, tolerance
from oncoseg.evaluation.pair import Mask, MaskPair
from oncoseg.evaluation.surfaces import near_in_slices, outline

INFO = MetricInfo(
    "added_path_length",
    "mm",
    False,
    "Length of reference outline to be drawn on axial slices; all of it for a miss, undefined without reference.",
    bounds=LENGTH,
    parameter="tolerance in mm",
    example="0",
)


def build(parameter: str) -> PairMetric:
    """The metric at a tolerance in mm, written as text; 0 is the paper's.

    Raises:
        InputError: when it is not a number of at least 0.
    """
    tolerance_mm = tolerance(INFO, parameter)
    return PairMetric(INFO, lambda pair: added_path_length(pair, tolerance_mm), parameter=tolerance_mm)


def added_path_length(pair: MaskPair, tolerance_mm: float) -> Measured:
    """Reference outline that the prediction's outline of the same slice does not pass within `tolerance_mm`, in mm.

    Outline: voxels of a slice with one of four neighbours in the background. Each counts as one pixel width, the
    square root of a pixel's area.

    Returns:
        At least 0; the whole outline when the prediction is empty, None when the reference is: a contour that
        is only to be deleted adds no path.
    """
    if pair.counts.tp + pair.counts.fn == 0:
        return Measured(None, pair.emptiness)
    to_draw = sum(_missing(i.reference, i.prediction, tolerance_mm, pair) for i in pair.islands)
    return Measured(float(to_draw * np.sqrt(abs(np.linalg.det(pair.plane_axes)))))


def _missing(reference: Mask, prediction: Mask, tolerance_mm: float, pair: MaskPair) -> int:
    drawn = near_in_slices(outline(prediction), radius_mm=tolerance_mm, axes=pair.plane_axes)
    return int(np.count_nonzero(outline(reference) & ~drawn))
