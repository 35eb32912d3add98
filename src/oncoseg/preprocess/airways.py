"""Windpipe and main bronchi on the coarse grid, followed slice by slice from the neck."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.preprocess.coarse import GRID_MM, PIXEL_CM2, Mask

#: HU below which a slice is searched; lower ones where a thin wall has all but vanished between lumen and lung.
_LEVELS = (-500, -600, -700, -800, -850, -900, -950)
#: HU that the rim of two voxels round a lumen is denser; round a patch of lung it hardly is.
_WALL_HU = 150
_START_HU = -700
#: A windpipe is about 3 cm^2 in an adult; cm^2.
_START_AREA = (0.5, 6.0)
_LARGEST = 7.0
_START_OFF_CENTRE_MM, _START_WIDTH_MM = 30, 45
#: Share of its bounding box that a round lumen covers is 0.79.
_START_FULL = 0.5
#: From one slice to the next an area grows at most that much, where it is above the smaller bound (cm^2).
_GROWTH, _GROWTH_FROM = 1.6, 1.5
_SLICES_LOST = 3
#: Share of the lungs' height that lies below the roots of the lungs; bronchi further down are lung.
_BELOW_ROOTS = 0.45


def airways(hu: NDArray[np.float32], body: Mask, *, middle: float, bottom: int, top: int) -> Mask:
    """Air of the windpipe and of the bronchi as far as they can be told from lung; may be empty.

    The windpipe is the largest round air space near the middle in the highest slice that has one. From there
    regions that overlap are followed both ways; a region that suddenly grows has run into the lung and ends.

    Args:
        hu: (slice, row, column) at `GRID_MM`, slices running to the head.
        body: without the air around the patient.
        middle: column between both lungs.
        bottom: lowest slice of the lungs.
        top: highest slice of the lungs.
    """
    found = np.zeros_like(body)
    for z in range(min(top + 3, len(hu) - 1), bottom, -1):
        start = _start((hu[z] < _START_HU) & body[z], middle)
        if start is not None:
            break
    else:
        return found
    found[z] = start
    roots = bottom + round(_BELOW_ROOTS * (top - bottom))
    for step, last in ((1, len(hu)), (-1, roots - 1)):
        region, lost = start, 0
        for level in range(z + step, last, step):
            following = _following(region, hu[level], body[level])
            lost = 0 if following.any() else lost + 1
            if lost == _SLICES_LOST:
                break
            if not lost:
                region = found[level] = following
    return found


def _start(air: Mask, middle: float) -> Mask | None:
    labels, _ = ndimage.label(air)
    best, best_area = None, 0.0
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        region = labels == number
        area = float(region.sum()) * PIXEL_CM2
        height, width = rows.stop - rows.start, columns.stop - columns.start
        near = abs(region.any(axis=0).nonzero()[0].mean() - middle) * GRID_MM <= _START_OFF_CENTRE_MM
        narrow = max(height, width) * GRID_MM <= _START_WIDTH_MM
        round_enough = region.sum() >= _START_FULL * height * width
        if near and narrow and round_enough and _START_AREA[0] <= area <= _START_AREA[1] and area > best_area:
            best, best_area = region, area
    return best


def _following(region: Mask, hu: NDArray[np.float32], body: Mask) -> Mask:
    """What overlaps the region in the next slice and is not much larger; empty when nothing is."""
    reach = ndimage.binary_dilation(region)
    limit = min(max(_GROWTH * region.sum() * PIXEL_CM2, _GROWTH_FROM), _LARGEST)
    found = np.zeros_like(region)
    for level in _LEVELS:
        labels, _ = ndimage.label((hu < level) & body)
        areas = np.bincount(labels.ravel()) * PIXEL_CM2
        touched = np.unique(labels[reach & (labels > 0)])
        fitting = [n for n in touched[areas[touched] <= limit] if _has_wall(labels == n, hu)]
        found |= np.isin(labels, fitting)
        if len(fitting) == touched.size:
            break
    return found


def _has_wall(region: Mask, hu: NDArray[np.float32]) -> bool:
    rim = ndimage.binary_dilation(region, iterations=2) & ~region
    return bool(hu[rim].mean() - hu[region].mean() >= _WALL_HU)
