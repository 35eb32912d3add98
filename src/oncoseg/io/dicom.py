"""DICOM images: series found by their identifiers, slices put in order, pixels straight into one array.

Writing of clinical results belongs beside the readers of `io.rtstruct` and `io.seg`; DICOM images are
only read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pydicom
import pydicom.pixels
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.io.dicom_frames import frames_of, is_multi_frame, may_describe_frames
from oncoseg.io.dicom_grid import Grid, order_slices
from oncoseg.io.dicom_header import UNREADABLE, Header, read_header
from oncoseg.io.rescale import rescale_in_place
from oncoseg.volume import Volume

#: Modalities whose series are images (RTSTRUCT, SEG, SR ... are not).
IMAGE_MODALITIES = frozenset({"CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "OT"})
#: Modalities of what is drawn on images.
DRAWN = frozenset({"RTSTRUCT", "SEG"})
#: Transfer syntaxes that the extra `compressed` decodes: RLE, JPEG-LS, JPEG 2000 and HTJ2K.
_OPEN_DECODERS = frozenset(
    "1.2.840.10008.1.2." + end for end in ("5", "4.80", "4.81", "4.90", "4.91", "4.201", "4.202", "4.203")
)
#: fact -> DICOM keyword; none of them identifies a person.
_FACTS = {
    "modality": "Modality",
    "manufacturer": "Manufacturer",
    "scanner": "ManufacturerModelName",
    "kvp": "KVP",
    "slice_thickness_mm": "SliceThickness",
    "kernel": "ConvolutionKernel",
}


@dataclass(frozen=True)
class Series:
    """The files of one DICOM series.

    Attributes:
        uid: SeriesInstanceUID.
        study: StudyInstanceUID.
        patient: PatientID.
        modality: CT, MR, RTSTRUCT, SEG ...
        description: SeriesDescription, free text of the site; "" when absent.
        frame_of_reference: FrameOfReferenceUID; "" when absent (RTSTRUCT keeps its own inside).
        headers: one a file, in order of file name; of a multi-frame image one a frame.
        facts: modality, manufacturer, scanner, kvp, slice_thickness_mm, kernel, where the file gives them;
            numbers as float.
    """

    uid: str
    study: str
    patient: str
    modality: str
    description: str
    frame_of_reference: str
    headers: tuple[Header, ...] = field(repr=False)
    facts: Mapping[str, str | float] = field(default_factory=dict, repr=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the series, in order of file name."""
        return tuple(dict.fromkeys(header.path for header in self.headers))

    def __str__(self) -> str:
        named = f" '{self.description}'" if self.description else ""
        return (
            f"{self.modality}{named}, {len(self.files)} file(s), patient {self.patient or '(none)'}, "
            f"series {self.uid}, e.g. {self.headers[0].path}"
        )


def find_series(folder: Path) -> list[Series]:
    """Every DICOM series in a folder and the folders below, whatever their names.

    Files are grouped by PatientID, StudyInstanceUID, SeriesInstanceUID and Modality; files that are not
    DICOM are passed over.

    Returns:
        Series in order of patient, study, modality and UID; empty when there is no DICOM file.

    Raises:
        InputError: when `folder` is no folder, or a DICOM file in it is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give the folder that holds the DICOM files.")
    return group_series(path for path in sorted(folder.rglob("*")) if path.is_file())


def group_series(paths: Iterable[Path]) -> list[Series]:
    """`find_series` for a list of files."""
    return group_headers(header for path in paths for header in headers_of(path))


def group_headers(read: Iterable[Header]) -> list[Series]:
    """`find_series` for headers that were read by `headers_of`, in order of file name."""
    groups: dict[tuple[str, ...], list[Header]] = {}
    for header in read:
        keys = ("PatientID", "StudyInstanceUID", "Modality", "SeriesInstanceUID")
        groups.setdefault(tuple(header.text(key) for key in keys), []).append(header)
    return [_series(key, headers) for key, headers in sorted(groups.items(), key=lambda item: item[0])]


def headers_of(path: Path) -> list[Header]:
    """The header of a file, or one for each frame of a multi-frame image; none for what is not DICOM.

    Raises:
        InputError: when the file is damaged.
    """
    header = read_header(path)
    if header is None:
        return []
    several = header.text("Modality") in IMAGE_MODALITIES and may_describe_frames(header)
    return frames_of(header) if several else [header]


def choose_image(series: Sequence[Series], where: Path) -> Series:
    """The only image series among `series`.

    Raises:
        InputError: when there is none, or several (they are listed with the way to choose).
    """
    images = [s for s in series if s.modality in IMAGE_MODALITIES]
    if len(images) == 1:
        return images[0]
    if not images:
        found = "; it holds " + ", ".join(sorted({s.modality for s in series})) if series else ""
        drawn = any(s.modality in DRAWN for s in series)
        way_out = (
            f"What is drawn needs the image it was drawn on: oncoseg convert {where} OUT --image IMAGE --roi NAME."
            if drawn
            else "Give the folder of a CT, MR or PET series."
        )
        raise InputError(f"{where} holds no DICOM image series{found}. {way_out}")
    raise InputError(_several(images, where))


def _several(images: Sequence[Series], where: Path) -> str:
    """Lists series, the best first, and says why."""
    from oncoseg.io.series_choice import candidates, why  # it needs this module

    best, *others = candidates(images)
    listed = "\n".join(f"  {candidate}" for candidate in (best, *others))
    reasons = "; ".join(dict.fromkeys(why(best, other) for other in others))
    return (
        f"{where} holds {len(images)} image series:\n{listed}\n"
        "Choose one by giving the path of any one of its files instead of the folder, or --series where a verb has it. "
        f"The first is likely the one to look for tumours on ({reasons}): {best.series.headers[0].path}"
    )


def read_image(path: Path) -> Volume:
    """The image in a folder, or the whole series that one DICOM file belongs to.

    Raises:
        InputError: as `series_at` and `read_series`.
    """
    return read_series(series_at(path))


def series_at(path: Path) -> Series:
    """The only image series in a folder and those below, or the series that one DICOM file belongs to.

    Raises:
        InputError: as `choose_image`; for a file that is not DICOM.
    """
    if path.is_dir():
        return choose_image(find_series(path), path)
    header = read_header(path)
    if header is None:
        raise InputError(f"{path} is not a DICOM file (no DICM mark at byte 128).")
    wanted = header.text("SeriesInstanceUID")
    neighbours = group_series(sorted(p for p in path.parent.iterdir() if p.is_file()))
    return choose_image([s for s in neighbours if s.uid == wanted], path)


def read_files(paths: Sequence[Path]) -> Volume:
    """The volume that the given slices form; `read_series` of their one series."""
    return read_series(choose_image(group_series(paths), paths[0].parent if paths else Path()))


def read_series(series: Series) -> Volume:
    """The image of a series, in HU for CT.

    Slices are ordered by position along their normal, whatever their names and numbers, and RescaleSlope
    and RescaleIntercept are applied slice by slice. Oblique orientation and gantry tilt are in the affine.
    Values below -1024 HU (padding outside the scanner's circle) are kept.

    Returns:
        int16 voxels where that is exact for every slice, otherwise float32.

    Raises:
        InputError: names files and positions; see `dicom_grid.order_slices`. Also for colour images, multi-frame
            ones whose frames have no place (cine), and for missing or truncated pixel data.
    """
    for header in series.headers:
        _require_plain_image(header)
    grid = order_slices(series.headers)
    voxels = _read_sixteen_bit(grid)
    return Volume(_read_any(grid) if voxels is None else voxels, grid.affine)


def _series(key: tuple[str, ...], headers: list[Header]) -> Series:
    patient, study, modality, uid = key
    first = headers[0]
    facts: dict[str, str | float] = {}
    for name, keyword in _FACTS.items():
        if text := first.text(keyword):
            facts[name] = first.number(keyword, 0.0) if keyword in ("KVP", "SliceThickness") else text
    return Series(
        uid=uid,
        study=study,
        patient=patient,
        modality=modality,
        description=first.text("SeriesDescription"),
        frame_of_reference=first.text("FrameOfReferenceUID"),
        headers=tuple(headers),
        facts=MappingProxyType(facts),
    )


def _require_plain_image(header: Header) -> None:
    if not header.text("Rows"):
        raise InputError(
            f"{header.path} ({header.text('Modality') or 'no modality'}) is not an image: it has no pixels."
        )
    if header.frame is None and is_multi_frame(header):
        raise InputError(
            f"{header.path} is a multi-frame image whose frames have no place in the patient (no functional groups). "
            "Give a volume: Enhanced CT, MR or PET, or one file a slice."
        )
    if header.number("SamplesPerPixel", 1) != 1:
        raise InputError(f"{header.path} is a colour image; HU or intensities are needed.")


def _bytes_per_voxel(header: Header) -> int:
    bits = header.count("BitsAllocated")
    if bits not in (8, 16, 32):
        raise InputError(f"{header.path}: BitsAllocated is {bits}; 8, 16 and 32 are read.")
    return bits // 8


def _read_sixteen_bit(grid: Grid) -> NDArray[np.int16] | None:
    """The volume read without a second array; None when it needs decoding or floating point."""
    headers = grid.headers
    if any(h.pixel_offset is None or _bytes_per_voxel(h) != 2 for h in headers):
        return None
    _require_size(grid.shape, headers)
    voxels = np.empty(grid.shape, np.int16)
    for plane, header in zip(voxels, headers, strict=True):
        _read_plane(plane, header)
        stored = _stored(plane, header)
        if not rescale_in_place(stored, header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)):
            return None
    return voxels


def _read_any(grid: Grid) -> NDArray[Any]:
    """The volume of slices in any encoding, by way of float32."""
    planes = []
    decoded: dict[Path, NDArray[Any]] = {}  # of multi-frame files
    for header in grid.headers:
        if header.pixel_offset is None and header.frame is not None:
            if header.path not in decoded:
                count, plane = sum(h.path == header.path for h in grid.headers), grid.shape[1:]
                frames = _decode(header, (count, *plane) if count > 1 else plane)
                decoded[header.path] = frames.reshape(count, *plane)
            stored = decoded[header.path][header.frame]
        elif header.pixel_offset is None:
            stored = _decode(header, grid.shape[1:])
        else:
            _require_size(grid.shape, [header])
            buffer = np.empty(grid.shape[1:], f"<u{_bytes_per_voxel(header)}")
            _read_plane(buffer, header)
            stored = _stored(buffer, header)
        slope, intercept = header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)
        planes.append((stored * np.float64(slope) + np.float64(intercept)).astype(np.float32))
    voxels = np.stack(planes)
    whole = voxels.astype(np.int16) if np.abs(voxels).max() <= np.iinfo(np.int16).max else None
    return whole if whole is not None and np.array_equal(whole, voxels) else voxels


def _require_size(shape: tuple[int, int, int], headers: Sequence[Header]) -> None:
    """Raise before memory is taken when headers announce other sizes than their pixel data have."""
    for header in headers:
        needed = shape[1] * shape[2] * _bytes_per_voxel(header)
        if header.pixel_length not in (needed, needed + needed % 2):
            raise InputError(
                f"{header.path}: its pixel data have {header.pixel_length} bytes, {shape[1]} rows x {shape[2]} columns "
                f"need {needed}. The file is damaged; export it again."
            )


def _read_plane(plane: NDArray[Any], header: Header) -> None:
    """Fill one slice with the file's bytes."""
    descriptor = os.open(header.path, os.O_RDONLY)
    try:
        count = os.preadv(descriptor, [plane.reshape(-1).view(np.uint8).data], header.pixel_offset or 0)
    finally:
        os.close(descriptor)
    if count != plane.nbytes:
        raise InputError(
            f"{header.path} is truncated: {count} of {plane.nbytes} bytes of pixel data. Copy or export it again."
        )


def _stored(plane: NDArray[Any], header: Header) -> NDArray[Any]:
    """The slice's bytes as the numbers its header says, without the bits it does not use."""
    signed = header.text("PixelRepresentation") == "1"
    size = plane.dtype.itemsize
    stored = plane.view(f"<{'i' if signed else 'u'}{size}")
    unused = size * 8 - int(header.number("BitsStored", size * 8))
    if 0 < unused < size * 8:
        # Old scanners keep overlays in the unused bits (retired in PS3.5); the sign fills them otherwise.
        np.left_shift(stored, unused, out=stored)
        np.right_shift(stored, unused, out=stored)
    return stored


def _decode(header: Header, shape: tuple[int, ...]) -> NDArray[Any]:
    """Pixels of a slice, or of all frames of a file, in an encoding that only pydicom's decoders know."""
    _require_decoder(header)
    try:
        pixels: NDArray[Any] = pydicom.dcmread(header.path).pixel_array
    except UNREADABLE as error:
        raise InputError(
            f"{header.path}: its pixel data (transfer syntax {header.transfer_syntax}) cannot be decoded: {error}. "
            "Copy or export it again."
        ) from error
    if pixels.shape != shape:
        raise InputError(f"{header.path}: pixel data of shape {pixels.shape}, but the header says {shape}.")
    return pixels


def _require_decoder(header: Header) -> None:
    """Raise, naming what to install, when nothing here decodes a compressed transfer syntax."""
    syntax = pydicom.uid.UID(header.transfer_syntax)
    if not syntax.is_transfer_syntax or syntax.is_private or not syntax.is_compressed:
        return
    try:
        if pydicom.pixels.get_decoder(syntax).is_available:
            return
    except NotImplementedError as error:  # video, for example
        raise InputError(f"{header.path}: images compressed as {syntax.name} are not read. Export it again.") from error
    extra = "compressed" if syntax in _OPEN_DECODERS else "compressed-gpl"
    licence = "" if extra == "compressed" else " (its decoder pylibjpeg-libjpeg is under the GPL, version 3)"
    raise InputError(
        f"{header.path} is compressed as {syntax.name} ({syntax}), which needs a decoder: "
        f"pip install 'oncoseg[{extra}]'{licence}, or export it uncompressed."
    )
