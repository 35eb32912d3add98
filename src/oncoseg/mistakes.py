"""Where a prediction is wrong: what it missed and what it added, and the click that says so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncoseg.lesions import Region, nearest_inside, regions
from oncoseg.prompt import Click, Index
from oncoseg.volume import Volume


class Mistakes(NamedTuple):
    """The two kinds of error of one prediction.

    Attributes:
        missed: tumour that was not predicted; None when there is none.
        added: predicted without being tumour; None when there is none.
    """

    missed: Region | None
    added: Region | None


def mistakes(reference: Volume, shown: Volume | None) -> Mistakes:
    """What is wrong with the mask that the user was shown.

    Args:
        reference: bool.
        shown: bool on the same grid; None when nothing was shown yet, which is a prediction without any voxel.

    Raises:
        GridMismatchError: when the grids differ.
    """
    if shown is None:
        return Mistakes(_all_of(reference), None)
    reference.require_same_grid(shown, "reference and prediction")
    truth, found = reference.voxels, shown.voxels.astype(bool, copy=False)
    return Mistakes(_all_of(reference.with_voxels(truth & ~found)), _all_of(reference.with_voxels(found & ~truth)))


def correction(index: Index, reference: Volume) -> Click:
    """The click on a wrong voxel: positive on tumour, else negative; it belongs to the lesion it lies in or next to.

    Lesions are numbered from 1 in the order of `oncoseg.lesions.regions`.
    """
    positive, place = bool(reference.voxels[index]), np.array(index, dtype=np.float64)
    gaps = [_gap_mm(region, place, reference.spacing) for region in regions(reference)]
    lesion = 1 + int(np.argmin(gaps)) if gaps else None
    return Click(index, positive, source="simulated user", lesion=lesion)


def at(region: Region, draw: float, among: NDArray[np.bool_] | None = None) -> Index:
    """The voxel that a number drawn from [0, 1) stands for, every voxel being equally likely.

    Args:
        region: where.
        draw: which voxel, in the order of the array.
        among: only these voxels of the region, bool of its shape.
    """
    inside = np.argwhere(region.voxels if among is None else region.voxels & among) + region.start
    slice_, row, column = (int(v) for v in inside[int(draw * len(inside))])
    return slice_, row, column


def _all_of(mask: Volume) -> Region | None:
    found = regions(mask, "volume")
    return found[0] if found else None


def _gap_mm(region: Region, place: NDArray[np.float64], spacing: tuple[float, float, float]) -> float:
    nearest = nearest_inside(region, place, spacing)
    return float(np.linalg.norm((place - nearest) * spacing))
