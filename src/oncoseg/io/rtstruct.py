"""RTSTRUCT: contours drawn in a planning system as masks on the grid of their image.

The writer is `io.rtstruct_writer`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from oncoseg.errors import InputError, UnknownNameError
from oncoseg.files import require_file
from oncoseg.io.dicom_header import refusing_damage
from oncoseg.io.polygons import Patch, fill
from oncoseg.volume import Volume

#: A contour may lie this share of the slice spacing beside its slice ...
SLICE_TOLERANCE = 0.1
#: ... or this many mm, whichever is more; files round positions to 0.1 mm.
SLICE_TOLERANCE_MM = 0.1
#: Types that enclose an area; the standard spells the second without its second underscore.
CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
POINT = "POINT"
#: Vertices are rounded to this many decimals of a voxel, so that one drawn through voxel centres is on them.
_DECIMALS = 6


@dataclass(frozen=True)
class References:
    """What an RTSTRUCT says it was drawn on; empty sets where it does not say."""

    study: str
    series: frozenset[str]
    frames_of_reference: frozenset[str]


def roi_names(path: Path) -> list[str]:
    """Names of the ROIs in a file, in its order, also of empty ones and points.

    Raises:
        InputError: when the file is missing, damaged or no RTSTRUCT.
    """
    with refusing_damage(path, "RTSTRUCT"):
        return [str(item.get("ROIName", "")) for item in _open(path).StructureSetROISequence]


def references(path: Path) -> References:
    """The study, image series and frames of reference the file was drawn on; raises as `roi_names`."""
    with refusing_damage(path, "RTSTRUCT"):
        return _references(path)


def _references(path: Path) -> References:
    dataset = _open(path)
    frames, series = set(), set()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        frames.add(str(frame.get("FrameOfReferenceUID", "")))
        for study in frame.get("RTReferencedStudySequence") or []:
            for item in study.get("RTReferencedSeriesSequence") or []:
                series.add(str(item.get("SeriesInstanceUID", "")))
    for roi in dataset.get("StructureSetROISequence") or []:
        frames.add(str(roi.get("ReferencedFrameOfReferenceUID", "")))
    return References(str(dataset.get("StudyInstanceUID", "")), frozenset(series - {""}), frozenset(frames - {""}))


def read_rois(
    path: Path, image: Volume, *, pattern: str | None = None, frame_of_reference: str | None = None
) -> dict[str, Volume]:
    """Masks of an RTSTRUCT's ROIs on the grid of the image they were drawn on.

    On each slice the even-odd fills of a ROI's contours are combined by XOR, tested at voxel centres, so that
    keyholes, holes as separate contours and CLOSEDPLANAR_XOR all come out right; a contour that repeats another
    of its slice counts once. Contours are matched to slices by position, never by image reference. A contour too
    small to hold a voxel centre, even a single point, keeps the voxel it lies in. Contours are cut at the image's
    border within a slice.

    Args:
        path: the RTSTRUCT file.
        image: any volume on the image's grid.
        pattern: regular expression searched in the names, case ignored (`^gtv-?1$`); None for all.
        frame_of_reference: UID the ROIs must have (`Series.frame_of_reference`); None skips the check.

    Returns:
        Name -> bool volume on the grid of `image`; all False for a ROI without contours. ROIs of points
        (isocentres) are no regions and left out. Two ROIs of one name get " (number)" appended.

    Raises:
        InputError: damaged file, foreign frame of reference, open contour, contour between slices or outside
            the image; names file, ROI and position.
        UnknownNameError: when no name matches `pattern`; lists the names.
    """
    with refusing_damage(path, "RTSTRUCT"):
        return _read_rois(path, image, pattern, frame_of_reference)


def _read_rois(path: Path, image: Volume, pattern: str | None, frame: str | None) -> dict[str, Volume]:
    dataset = _open(path)
    masks: dict[str, Volume] = {}
    contours = {_number(c, "ReferencedROINumber", path): c for c in dataset.get("ROIContourSequence") or []}
    for roi in _matching(dataset, pattern, path):
        number, name = _number(roi, "ROINumber", path), str(roi.get("ROIName", ""))
        where = f"{path}, ROI '{name}'"
        _check_frame(roi, dataset, frame, where)
        drawn = list(_contours(contours[number], where)) if number in contours else []
        if drawn and all(kind == POINT for kind, _ in drawn):
            continue
        voxels = _rasterise(drawn, image, where)
        masks[f"{name} ({number})" if name in masks else name] = image.with_voxels(voxels)
    return masks


def _open(path: Path) -> pydicom.Dataset:
    require_file(path)
    dataset = pydicom.dcmread(path)
    modality = str(dataset.get("Modality", ""))
    if modality != "RTSTRUCT":
        raise InputError(f"{path} is not an RTSTRUCT (its modality is '{modality}').")
    for name in ("StructureSetROISequence", "ROIContourSequence"):
        if name not in dataset:
            raise InputError(f"{path} has no {name}: it is truncated or not finished. Export it again.")
    return dataset


def _number(item: pydicom.Dataset, keyword: str, path: Path) -> int:
    value = item.get(keyword)
    if value is None:
        raise InputError(f"{path} is damaged: {keyword} is missing. Export it again.")
    return int(value)


def _matching(dataset: pydicom.Dataset, pattern: str | None, path: Path) -> list[pydicom.Dataset]:
    rois = list(dataset.StructureSetROISequence)
    if pattern is None:
        return rois
    try:
        wanted = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise InputError(f"ROI pattern '{pattern}' is no regular expression: {error}.") from error
    chosen = [roi for roi in rois if wanted.search(str(roi.get("ROIName", "")))]
    if not chosen:
        raise UnknownNameError(f"ROI in {path}:", pattern, [str(roi.get("ROIName", "")) for roi in rois])
    return chosen


def _check_frame(roi: pydicom.Dataset, dataset: pydicom.Dataset, wanted: str | None, where: str) -> None:
    own = str(roi.get("ReferencedFrameOfReferenceUID", "") or dataset.get("FrameOfReferenceUID", "") or "")
    if wanted and own and own != wanted:
        raise InputError(
            f"{where} was drawn in frame of reference {own}, the image has {wanted}. "
            "Give the image it was drawn on; oncoseg does not register images."
        )


def _contours(item: pydicom.Dataset, where: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Type and (n, 3) LPS mm of each contour."""
    for contour in item.get("ContourSequence") or []:
        kind = str(contour.get("ContourGeometricType", "CLOSED_PLANAR"))
        if kind not in CLOSED and kind != POINT:
            raise InputError(
                f"{where} has a contour of type {kind}, which encloses nothing. Close it and export again."
            )
        points = _points(contour, where)
        if len(points):
            yield kind, points


def _points(contour: pydicom.Dataset, where: str) -> NDArray[np.float64]:
    raw = contour.get_item("ContourData")
    value: Any = getattr(raw, "value", None)
    if value is None:
        return np.empty((0, 3))
    # The raw bytes: pydicom's own conversion of decimal strings takes 20 times as long.
    texts = value.split(b"\\") if isinstance(value, bytes) else list(np.atleast_1d(value))
    try:
        numbers = np.array(texts, dtype=np.float64) if texts != [b""] else np.empty(0)
    except ValueError as error:
        raise InputError(f"{where}: ContourData cannot be read ({error}). Export the file again.") from error
    announced = contour.get("NumberOfContourPoints")
    if len(numbers) % 3 or not np.isfinite(numbers).all() or (announced and int(announced) * 3 != len(numbers)):
        raise InputError(
            f"{where}: a contour has {len(numbers)} coordinates for {announced} points. "
            "The file is damaged; export it again."
        )
    return numbers.reshape(-1, 3)


def _rasterise(drawn: list[tuple[str, NDArray[np.float64]]], image: Volume, where: str) -> NDArray[np.bool_]:
    voxels = np.zeros(image.shape, bool)
    seen: set[tuple[Any, ...]] = set()
    small: list[tuple[int, int, int]] = []
    for kind, points_mm in drawn:
        if kind == POINT:
            continue
        slice_index, pixels = _on_slice(points_mm, image, where)
        patch = fill(pixels, image.shape[1:])
        if not patch.inside.any():
            small.append(_covering(slice_index, pixels, image))
            continue
        key = (slice_index, patch.row, patch.column, patch.inside.shape, patch.inside.tobytes())
        if key not in seen:
            seen.add(key)
            _xor(voxels[slice_index], patch)
    # After all fills: a small contour inside another one is no reason to open a hole.
    for index in small:
        voxels[index] = True
    return voxels


def _xor(plane: NDArray[np.bool_], patch: Patch) -> None:
    height, width = patch.inside.shape
    plane[patch.row : patch.row + height, patch.column : patch.column + width] ^= patch.inside


def _on_slice(points_mm: NDArray[np.float64], image: Volume, where: str) -> tuple[int, NDArray[np.float64]]:
    """The slice a contour lies on and its vertices there, (n, 2) in (row, column)."""
    index = np.round(image.mm_to_index(points_mm), _DECIMALS)
    slice_index = int(np.rint(np.median(index[:, 0])))
    slice_height = image.voxel_volume_mm3 / (image.spacing[1] * image.spacing[2])
    away_mm = float(np.abs(index[:, 0] - slice_index).max()) * slice_height
    position = ", ".join(f"{v:g}" for v in points_mm[0])
    if away_mm > max(SLICE_TOLERANCE_MM, SLICE_TOLERANCE * slice_height):
        raise InputError(
            f"{where}: the contour at ({position}) mm lies {away_mm:.3g} mm beside the nearest slice. "
            "It was drawn on another image, or not in the plane of the slices; give the image it was drawn on."
        )
    rows, columns = index[:, 1], index[:, 2]
    inside = 0 <= slice_index < image.shape[0]
    if (
        not inside
        or max(rows.min() - image.shape[1], columns.min() - image.shape[2]) >= -0.5
        or (min(rows.max(), columns.max()) < -0.5)
    ):
        raise InputError(
            f"{where}: the contour at ({position}) mm lies outside the image "
            f"(slice {slice_index} of {image.shape[0]}). Give the image it was drawn on, with all its slices."
        )
    return slice_index, index[:, 1:]


def _covering(slice_index: int, pixels: NDArray[np.float64], image: Volume) -> tuple[int, int, int]:
    """The voxel that holds the middle of a contour too small to hold a voxel centre."""
    middle = np.rint((pixels.min(axis=0) + pixels.max(axis=0)) / 2).astype(int)
    row, column = np.clip(middle, 0, np.array(image.shape[1:]) - 1)
    return slice_index, int(row), int(column)
