"""DICOM-SEG: segments as masks on the grid of their image.

Read by pydicom alone, which asks only for what masks need: highdicom, which writes them, refuses files of other tools
that lack dimension indices, category codes or labels. The writer is `io.seg_writer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pydicom.pixels
from numpy.typing import NDArray

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.files import require_file
from oncoseg.io.dicom_header import refusing_damage
from oncoseg.volume import Volume

#: How far a frame's pixels may lie beside the image's voxels, as a share of a voxel.
GRID_TOLERANCE = 0.05
#: Fractional segments count as inside from this value on.
THRESHOLD = 0.5


class _Frame(NamedTuple):
    """Where one frame lies: its number from 1, its segment (None in label maps) and its affine.

    The affine's columns are one row further, one column further (mm) and the first pixel's position.
    """

    number: int
    segment: int | None
    affine: NDArray[np.float64]


def read_segments(path: Path, image: Volume) -> dict[str, Volume]:
    """Masks of a segmentation's segments on the grid of the image they were drawn on.

    Each frame is placed by its own position and orientation, never by its order, so reversed, tilted and left
    out (empty) frames come out right. Binary, fractional (inside from 0.5 on) and label map segmentations.

    Args:
        path: the DICOM-SEG file.
        image: any volume on the image's grid.

    Returns:
        Name -> bool volume on the grid of `image`; the name is SegmentDescription, SegmentLabel or
        "segment N", the first that is not empty; " (N)" is appended to a repeated name.

    Raises:
        InputError: damaged file, no SEG, or a SEG that references no image series.
        GridMismatchError: a frame's pixels are not the image's voxels; names frame and position.
    """
    with refusing_damage(path, "DICOM-SEG"):
        return _read_segments(path, image)


def _read_segments(path: Path, image: Volume) -> dict[str, Volume]:
    segmentation = _open(path)
    names = _names(segmentation)
    if not _references_images(segmentation):
        first = next(_frames(segmentation))
        raise InputError(
            f"{path} references no image series, so nothing proves which image it belongs to "
            f"(its first frame is at {_show(first.affine[:, 2])} mm, the image's first voxel at "
            f"{_show(image.affine[:3, 3])} mm). Export it again with its references, or as NIfTI."
        )
    masks = {number: np.zeros(image.shape, bool) for number in names}
    fractional = segmentation.SegmentationType == "FRACTIONAL"
    limit = THRESHOLD * float(segmentation.get("MaximumFractionalValue", 1)) if fractional else 1
    for frame in _frames(segmentation):
        index, values = _place(frame, segmentation, image, path)
        for number in np.unique(values).tolist() if frame.segment is None else [frame.segment]:
            if number not in masks:
                raise InputError(f"{path}: frame {frame.number} is of segment {number}, which is not described.")
            inside = values == number if frame.segment is None else values >= limit
            masks[number][tuple(index[inside].T)] = True
    return {name: image.with_voxels(masks[number]) for number, name in names.items()}


def _open(path: Path) -> Any:
    require_file(path)
    modality = str(pydicom.dcmread(path, specific_tags=["Modality"], stop_before_pixels=True).get("Modality", ""))
    if modality != "SEG":
        raise InputError(f"{path} is not a DICOM-SEG (its modality is '{modality}').")
    dataset = pydicom.dcmread(path)
    for keyword in ("SegmentSequence", "PerFrameFunctionalGroupsSequence"):
        if not dataset.get(keyword):
            raise InputError(
                f"{path} has no {keyword}: it is truncated, or no segmentation by slices. Export it again."
            )
    return dataset


def _names(segmentation: Any) -> dict[int, str]:
    names: dict[int, str] = {}
    for segment in segmentation.SegmentSequence:
        number = int(segment.SegmentNumber)
        if segmentation.SegmentationType == "LABELMAP" and number == 0:
            continue  # the background of label maps
        texts = (str(segment.get(key, "") or "").strip() for key in ("SegmentDescription", "SegmentLabel"))
        name = next((text for text in texts if text), f"segment {number}")
        names[number] = f"{name} ({number})" if name in names.values() else name
    return names


def _references_images(segmentation: Any) -> bool:
    if segmentation.get("ReferencedSeriesSequence"):
        return True
    groups = [*segmentation.get("SharedFunctionalGroupsSequence", []), *segmentation.PerFrameFunctionalGroupsSequence]
    return any(group.get("DerivationImageSequence") for group in groups)


def _frames(segmentation: Any) -> Iterator[_Frame]:
    shared = (segmentation.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    for number, own in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1):

        def group(name: str, own: Any = own, number: int = number) -> Any:
            found = own.get(name) or shared.get(name)
            if not found:
                raise AttributeError(f"frame {number} has no {name}")
            return found[0]

        position = np.array(group("PlanePositionSequence").ImagePositionPatient, dtype=np.float64)
        cosines = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, dtype=np.float64)
        spacing = np.array(group("PixelMeasuresSequence").PixelSpacing, dtype=np.float64)
        segment = None
        if segmentation.SegmentationType != "LABELMAP":
            segment = int(group("SegmentIdentificationSequence").ReferencedSegmentNumber)
        yield _Frame(number, segment, np.stack([cosines[3:] * spacing[0], cosines[:3] * spacing[1], position], axis=1))


def _place(frame: _Frame, segmentation: Any, image: Volume, path: Path) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Voxel indices (n, 3) of the frame's pixels that are not zero, and their values."""
    pixels = _pixels(segmentation, frame.number - 1)
    first = image.mm_to_index(frame.affine[:, 2])
    steps = np.linalg.solve(image.affine[:3, :3], frame.affine[:, :2])
    whole = np.rint(steps)
    drift = np.abs(first - np.rint(first)) + np.abs(steps - whole) @ np.array(pixels.shape)
    where = np.argwhere(pixels)
    index = (np.rint(first) + where @ whole.T).astype(np.intp)
    fits = drift.max() <= GRID_TOLERANCE and (np.abs(whole).sum(axis=0) == 1).all() and not whole[0].any()
    if not fits or ((index < 0) | (index >= np.array(image.shape))).any():
        raise GridMismatchError(
            f"{path}: frame {frame.number} at {_show(frame.affine[:, 2])} mm does not lie on the image's grid "
            f"(first voxel at {_show(image.affine[:3, 3])} mm, last at "
            f"{_show(image.index_to_mm(np.array(image.shape) - 1))} mm LPS, spacing {_show(image.spacing)} mm). "
            "Give the image it was drawn on."
        )
    return index, pixels[tuple(where.T)]


def _pixels(segmentation: Any, index: int) -> NDArray[Any]:
    """Stored values of one frame; frames of single bits follow each other without a gap (PS3.5 8.1.1)."""
    if int(segmentation.BitsAllocated) != 1 or segmentation.file_meta.TransferSyntaxUID.is_compressed:
        return pydicom.pixels.pixel_array(segmentation, index=index)  # type: ignore[no-any-return]
    rows, columns = int(segmentation.Rows), int(segmentation.Columns)
    first = index * rows * columns
    packed = np.frombuffer(segmentation.PixelData, np.uint8)[first // 8 : -(-(first + rows * columns) // 8)]
    bits = np.unpackbits(packed, bitorder="little")[first % 8 :][: rows * columns]
    return bits.reshape(rows, columns)


def _show(numbers: Any) -> str:
    return "(" + ", ".join(f"{n:.5g}" for n in numbers) + ")"
