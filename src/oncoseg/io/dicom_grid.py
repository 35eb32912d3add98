"""The grid of a DICOM series: its slices in order and the affine they share, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.io.dicom_header import Header
from oncoseg.volume import Volume

#: A gap between neighbours may differ from the series' median gap by this share of it ...
GAP_TOLERANCE = 0.01
#: ... or by this many mm, whichever is more; the same for a slice's distance from the common line.
GAP_TOLERANCE_MM = 0.01
#: Largest difference between direction cosines, or of pixel spacings in mm, that count as equal.
EQUAL = 1e-4


@dataclass(frozen=True)
class Grid:
    """Headers in order of position along the normal, and the affine of the volume they form."""

    headers: tuple[Header, ...]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]


def order_slices(headers: Sequence[Header]) -> Grid:
    """Sort slices along their normal (row cosines x column cosines) and check that they form one grid.

    The slice axis follows the positions themselves, so a tilted gantry gives a sheared affine.

    Returns:
        The grid; its affine maps (slice, row, column) to LPS mm.

    Raises:
        InputError: names the files and positions for duplicate instances or positions, mixed size,
            orientation or pixel spacing, missing slices, unequal gaps, slices off the line.
    """
    _refuse_duplicate_instances(headers)
    _require_equal(headers, "Rows", 1)
    _require_equal(headers, "Columns", 1)
    _require_equal(headers, "PixelSpacing", 2)
    _require_equal(headers, "ImageOrientationPatient", 6)
    first = headers[0]
    row_spacing, column_spacing = first.numbers("PixelSpacing", 2)
    if min(row_spacing, column_spacing) <= 0:
        raise InputError(f"{first.where}: PixelSpacing is {first.text('PixelSpacing')}; it must be positive.")
    along_row, along_column = _directions(first)
    positions = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    distances = positions @ np.cross(along_row, along_column)
    order = np.argsort(distances, kind="stable")
    ordered = tuple(headers[i] for i in order)
    affine = np.eye(4)
    affine[:3, 0] = _slice_step(ordered, positions[order], distances[order], np.cross(along_row, along_column))
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = along_row * column_spacing
    affine[:3, 3] = positions[order[0]]
    return Grid(ordered, (len(ordered), first.count("Rows"), first.count("Columns")), affine)


def tilt_degrees(volume: Volume) -> float:
    """Angle between the slices' normal and the way from slice to slice; 0 below a tenth of a degree (rounding)."""
    step, along_column, along_row = volume.affine[:3, :3].T
    normal = np.cross(along_row, along_column)
    cosine = abs(float(step @ normal)) / float(np.linalg.norm(step) * np.linalg.norm(normal))
    angle = float(np.degrees(np.arccos(min(1.0, cosine))))
    return angle if angle >= 0.1 else 0.0


def _refuse_duplicate_instances(headers: Sequence[Header]) -> None:
    seen: dict[tuple[str, int | None], Header] = {}
    for header in headers:
        uid = header.text("SOPInstanceUID")
        key = (uid, header.frame)
        if uid and key in seen:
            raise InputError(
                f"Duplicate instance: {seen[key].path} and {header.path} have the same SOPInstanceUID {uid}. "
                "Remove one."
            )
        seen[key] = header


def _require_equal(headers: Sequence[Header], keyword: str, count: int) -> None:
    texts = {header.text(keyword): header for header in headers}
    values = {text: np.array(header.numbers(keyword, count)) for text, header in texts.items()}
    first = headers[0].text(keyword)
    for text, value in values.items():
        if np.abs(value - values[first]).max() > EQUAL:
            raise InputError(
                f"The series mixes {keyword}: {headers[0].where} has {first}, {texts[text].where} has {text}. "
                "Keep the slices of one volume (often a localiser was exported with the series)."
            )


def _directions(header: Header) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors of increasing column and of increasing row."""
    cosines = np.array(header.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > 1e-3 or abs(float(cosines[0] @ cosines[1])) > 1e-3:
        raise InputError(
            f"{header.where}: ImageOrientationPatient {header.text('ImageOrientationPatient')} is not two "
            "perpendicular unit vectors. Export the series again."
        )
    along_row, along_column = cosines / lengths[:, None]
    return along_row, along_column


def _slice_step(
    headers: Sequence[Header],
    positions: NDArray[np.float64],
    distances: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Vector from one slice to the next, in mm."""
    if len(headers) == 1:
        thickness = headers[0].number("SpacingBetweenSlices", 0.0) or headers[0].number("SliceThickness", 0.0)
        if thickness <= 0:
            raise InputError(f"{headers[0].where} is a single slice without SliceThickness; its voxels have no height.")
        return normal * thickness
    gaps = np.diff(distances)
    usual = float(np.median(gaps))
    tolerance = max(GAP_TOLERANCE * usual, GAP_TOLERANCE_MM)
    for k in np.flatnonzero(np.abs(gaps - usual) > tolerance).tolist():
        raise InputError(_uneven(headers[k : k + 2], distances[k : k + 2], usual, tolerance))
    if usual <= GAP_TOLERANCE_MM:
        raise InputError(_uneven(headers[:2], distances[:2], usual, tolerance))
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(headers) - 1)
    line = positions[0] + np.arange(len(headers))[:, None] * step
    away = np.linalg.norm(positions - line, axis=1)
    worst = int(away.argmax())
    # Rounded positions may add up to the tolerance of one gap, not more.
    if away[worst] > tolerance:
        raise InputError(
            f"{headers[worst].where} lies {away[worst]:.3g} mm beside the line through the other slices "
            f"(ImagePositionPatient {headers[worst].text('ImagePositionPatient')}). Export the series again."
        )
    return step


def _uneven(pair: Sequence[Header], distances: NDArray[np.float64], usual: float, tolerance: float) -> str:
    gap = float(distances[1] - distances[0])
    where = (
        f"between {pair[0].where} (at {distances[0]:g} mm along the normal) and {pair[1].where} "
        f"(at {distances[1]:g} mm)"
    )
    if gap <= GAP_TOLERANCE_MM:
        return f"Duplicate slice: the gap {where} is {gap:.3g} mm. Remove one of the two."
    missing = round(gap / usual) - 1
    if missing >= 1 and abs(gap - (missing + 1) * usual) <= (missing + 1) * tolerance:
        return f"Missing: {missing} slice(s) {where}, where the gap is {gap:g} mm instead of {usual:g} mm. Add them."
    return (
        f"Unequal slice spacing: the gap {where} is {gap:g} mm, the usual gap is {usual:g} mm "
        f"(tolerance {tolerance:.3g} mm). Resample the series to equal spacing outside oncoseg."
    )
