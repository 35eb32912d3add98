"""Where on a CT a model looks at all."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oncoseg.preprocess.lungs import body, lungs, reject_reason
from oncoseg.preprocess.resample import resample_like
from oncoseg.volume import Volume

Within = Literal["all", "body", "lungs"]


def looked_at(image: Volume, grid: Volume, within: Within) -> tuple[NDArray[np.bool_] | None, str | None]:
    """Voxels of a grid that must be looked at, and what to tell when that is more than was asked for.

    Args:
        image: HU, axial.
        grid: on which windows slide.
        within: `body`, or `lungs` for the box round both of them, in which a tumour may also lie outside the lung.

    Returns:
        A mask on the grid, None for all of it; and a sentence, None when all is as asked.
    """
    if within == "all":
        return None, None
    if within == "body":
        inside = body(image).voxels
        why = None if inside.any() else "no body was found"
    else:
        found = lungs(image)
        why = reject_reason(found)
        inside = np.zeros(image.shape, bool)
        held = np.argwhere(found.labels.voxels > 0)
        if len(held):
            inside[tuple(slice(a, b) for a, b in zip(held.min(axis=0), held.max(axis=0) + 1, strict=True))] = True
    if why is not None:
        return None, f"The whole image was looked at, not only the {within}: {why}."
    return resample_like(image.with_voxels(inside), grid, order=0).voxels, None
