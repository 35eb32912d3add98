"""One picture a prediction: the slice that shows most of the tumour, cropped round it; and the whole of that slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from oncoseg.experiments.store import GallerySlice, WholeSlice
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume

#: Tissue shown round the tumour, in mm.
MARGIN_MM = 30.0
_CT_WINDOW = (-1000.0, 400.0)


def picture(image: Volume, reference: Volume, prediction: Volume, prompts: Sequence[Prompt] = ()) -> GallerySlice:
    """The slice with the largest reference area, or prediction area when the reference is empty.

    The crop holds the reference and the boxes on the slice with `MARGIN_MM` round them; the whole slice is
    shown when there is neither reference nor prediction.
    """
    leading = reference if reference.voxels.any() else prediction
    areas = leading.voxels.sum(axis=(1, 2))
    number = int(areas.argmax()) if areas.any() else image.shape[0] // 2
    boxes = [p for p in prompts if isinstance(p, Box) and number in p.slices]
    rows, columns = _crop(leading.voxels[number], boxes, image.spacing[1:])
    shown = image.voxels[number, rows, columns].astype(np.float32)
    return GallerySlice(
        image=shown,
        reference=reference.voxels[number, rows, columns],
        prediction=prediction.voxels[number, rows, columns],
        spacing=image.spacing[1:],
        slice_index=number,
        boxes=tuple(_box_in_crop(b, rows, columns) for b in boxes),
        window=_window(image.voxels[number]),
    )


def whole_slice(image: Volume, references: Mapping[str, Volume], number: int) -> WholeSlice:
    """One slice of a case, uncropped, with its references by ROI name; in the window of its picture."""
    return WholeSlice(
        image=image.voxels[number].astype(np.float32),
        references={roi: mask.voxels[number] for roi, mask in references.items()},
        spacing=image.spacing[1:],
        slice_index=number,
        window=_window(image.voxels[number]),
    )


def _crop(mask: NDArray[np.bool_], boxes: list[Box], spacing: tuple[float, float]) -> tuple[slice, slice]:
    wanted = mask.copy()
    for box in boxes:
        wanted[box.start[1] : box.stop[1], box.start[2] : box.stop[2]] = True
    if not wanted.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    sides = []
    for axis in (0, 1):
        touched = np.flatnonzero(wanted.any(axis=1 - axis))
        margin = int(np.ceil(MARGIN_MM / spacing[axis]))
        sides.append(slice(max(0, int(touched[0]) - margin), int(touched[-1]) + 1 + margin))
    return sides[0], sides[1]


def _box_in_crop(box: Box, rows: slice, columns: slice) -> tuple[float, float, float, float]:
    return (
        float(box.start[1] - rows.start),
        float(box.start[2] - columns.start),
        float(box.stop[1] - rows.start),
        float(box.stop[2] - columns.start),
    )


def _window(voxels: NDArray[np.generic]) -> tuple[float, float]:
    """The lung window for HU; for images without negative values (MR) up to their 99.5th percentile."""
    if float(voxels.min()) < 0:
        return _CT_WINDOW
    return 0.0, max(1.0, float(np.percentile(voxels.astype(np.float64), 99.5)))
