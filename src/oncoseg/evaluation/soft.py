"""Scores against several readers at once: the reference is the share of readers that marked a voxel."""

from __future__ import annotations

import numpy as np

from oncoseg.contracts import Measured
from oncoseg.evaluation.islands import extent
from oncoseg.evaluation.regions import BOX_MM
from oncoseg.volume import Volume


def soft_dice(reference: Volume, prediction: Volume) -> Measured:
    """2 sum min(r, p) / (sum r + sum p), the fuzzy Dice (Crum et al., IEEE TMI 25:1451, 2006).

    Args:
        reference: share of readers, in [0, 1].
        prediction: mask or probability on the same grid.

    Returns:
        In [0, 1], 1 for p = r; 0 when one side is empty, None when both are.
    """
    reference.require_same_grid(prediction, "soft reference and prediction")
    common = total = 0.0
    for r, p in zip(reference.voxels, prediction.voxels, strict=True):
        common += float(np.minimum(r, p).sum(dtype=np.float64))
        total += float(r.sum(dtype=np.float64) + p.sum(dtype=np.float64))
    return Measured(2 * common / total) if total else Measured(None, "both_empty")


def soft_brier(reference: Volume, prediction: Volume) -> Measured:
    """Mean (p - r)^2 in the box round everything that a reader marked, widened by 10 mm.

    Returns:
        In [0, 1]; None when no reader marked anything.
    """
    reference.require_same_grid(prediction, "soft reference and prediction")
    box = extent(reference.voxels > 0)
    if box is None:
        return Measured(None, "reference_empty")
    grown = [int(np.ceil(BOX_MM / step)) for step in reference.spacing]
    window = tuple(
        slice(max(a - n, 0), min(b + n, s)) for (a, b), n, s in zip(box, grown, reference.shape, strict=True)
    )
    apart = prediction.voxels[window].astype(np.float64) - reference.voxels[window]
    return Measured(float((apart**2).mean()))
