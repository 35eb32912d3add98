"""Which voxels a probability is judged on; in the whole volume background makes everything look calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.evaluation.islands import extent
from oncoseg.evaluation.surfaces import near_points

if TYPE_CHECKING:
    from oncoseg.evaluation.pair import MaskPair

#: `whole` volume; `box`: the reference's bounding box widened by `BOX_MM`; `boundary`: within `BOUNDARY_MM` of a border
#: voxel of the prediction.
Region = Literal["whole", "box", "boundary"]
REGIONS: tuple[Region, ...] = get_args(Region)
BOX_MM = 10.0
BOUNDARY_MM = 5.0


class Chosen(NamedTuple):
    """Probability and reference of the same voxels."""

    probability: NDArray[Any]
    label: NDArray[np.bool_]


def parse_region(text: str) -> Region:
    """A region by name.

    Raises:
        InputError: for another name.
    """
    for region in REGIONS:
        if text == region:
            return region
    raise InputError(f"Region '{text}' is not known. Choose from: {', '.join(REGIONS)}.")


def chosen_voxels(pair: MaskPair, region: Region) -> Chosen | None:
    """The voxels of a region.

    Args:
        pair: with a probability.
        region: which.

    Returns:
        None where the region is not defined: `box` without reference, `boundary` without prediction.
    """
    if pair.probability is None:
        return None
    if region == "whole":
        return Chosen(pair.probability, pair.reference)
    if region == "box":
        window = _widened(pair, pair.reference, BOX_MM)
        return None if window is None else Chosen(pair.probability[window], pair.reference[window])
    window = _widened(pair, pair.prediction, BOUNDARY_MM)
    if window is None:
        return None
    points = pair.borders[1] - np.array([w.start for w in window])
    shape = tuple(w.stop - w.start for w in window)
    near = near_points(points, shape, radius_mm=BOUNDARY_MM, axes=pair.axes)
    return Chosen(pair.probability[window][near], pair.reference[window][near])


def _widened(pair: MaskPair, mask: NDArray[np.bool_], margin_mm: float) -> tuple[slice, ...] | None:
    """The bounding box of a mask and a margin, within the image; None for an empty mask."""
    box = extent(mask)
    if box is None:
        return None
    grown = [int(np.ceil(margin_mm / step)) for step in pair.spacing]
    return tuple(slice(max(a - n, 0), min(b + n, size)) for (a, b), n, size in zip(box, grown, mask.shape, strict=True))
