"""IoU of the bands inside both borders (Cheng et al., Boundary IoU, CVPR 2021), with a distance in mm."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import MetricInfo, PairMetric, ratio, tolerance
from oncoseg.evaluation.pair import Mask, MaskPair
from oncoseg.evaluation.surfaces import border_points, near_points

INFO = MetricInfo(
    "boundary_iou",
    "",
    True,
    "IoU of the bands within a distance of each border; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
    parameter="width of the band in mm",
)


def build(parameter: str) -> PairMetric:
    """The metric for a band of a width in mm, written as text; 0 is the border voxels alone.

    Raises:
        InputError: when it is not a number of at least 0.
    """
    width_mm = tolerance(INFO, parameter)
    return PairMetric(INFO, lambda pair: boundary_iou(pair, width_mm), parameter=width_mm)


def boundary_iou(pair: MaskPair, width_mm: float) -> Measured:
    """IoU of the voxels of each mask that lie within `width_mm` of a border voxel of the same mask, in mm.

    At 0 it is the boundary IoU of MetricsReloaded; with a band as wide as the masks it is the IoU.

    Returns:
        A number in [0, 1]; 0 when one mask is empty, None when both are.
    """
    common = either = 0
    for island in pair.islands:
        reference, prediction = (_band(mask, width_mm, pair) for mask in (island.reference, island.prediction))
        common += int(np.count_nonzero(reference & prediction))
        either += int(np.count_nonzero(reference | prediction))
    return ratio(common, either, "both_empty")


def _band(mask: Mask, width_mm: float, pair: MaskPair) -> Mask:
    return mask & near_points(border_points(mask), mask.shape, radius_mm=width_mm, axes=pair.axes)
