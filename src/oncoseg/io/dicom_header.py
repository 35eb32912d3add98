"""The few header elements of a DICOM file that its place and meaning depend on.

pydicom needs 0.3-0.6 ms for the header of one CT slice, as long as reading the slice's pixels takes, so
files in the two uncompressed little-endian transfer syntaxes are walked here element by element and
everything not wanted is stepped over; all others are left to pydicom.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from oncoseg.errors import InputError

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

#: What pydicom and highdicom raise on damaged files (found by mutating 10,000 headers).
UNREADABLE = (
    InvalidDicomError,
    BytesLengthException,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

# What pydicom warns of while it reads quotes values, and those may be names: damage that matters is refused here.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

PIXELS = 0x7FE00010
#: Names that exporters give to DICOM files: `1-001.dcm`, `IM0001`, a UID.
_NAMED_LIKE_DICOM = re.compile(r"[^.].*\.(dcm|ima|dicom|\d+)|[^.]+", re.IGNORECASE)
#: keyword -> tag of the elements that are kept.
WANTED = {
    "SOPInstanceUID": 0x00080018,
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "SeriesDescription": 0x0008103E,
    "ManufacturerModelName": 0x00081090,
    "PatientID": 0x00100020,
    "SliceThickness": 0x00180050,
    "KVP": 0x00180060,
    "SpacingBetweenSlices": 0x00180088,
    "ConvolutionKernel": 0x00181210,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "SamplesPerPixel": 0x00280002,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "PixelRepresentation": 0x00280103,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
}
_TAGS = frozenset(WANTED.values())
_SHORTS = frozenset(
    WANTED[k] for k in ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
)
_LONG_FORM = frozenset([b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"])
_EXPLICIT_HEAD = struct.Struct("<HH2sH").unpack_from
_IMPLICIT_HEAD = struct.Struct("<HHI").unpack_from
_LENGTH = struct.Struct("<I").unpack_from
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
#: Media Storage Directory: a DICOMDIR lists files and is none of them.
_DIRECTORY = b"1.2.840.10008.1.3.10"
#: Bytes fetched first; headers of most scanners fit.
_FIRST_BYTES = 8192
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Header:
    """What one DICOM file says about itself.

    Attributes:
        path: the file.
        transfer_syntax: UID of its encoding.
        elements: tag -> stripped text; elements that are absent or empty are missing.
        pixel_offset: position of the first pixel byte; None where pydicom must decode.
        pixel_length: bytes of pixel data the header announces; None likewise.
        frame: which frame of a multi-frame file this is, from 0; None for a whole file.
    """

    path: Path
    transfer_syntax: str
    elements: dict[int, str]
    pixel_offset: int | None = None
    pixel_length: int | None = None
    frame: int | None = None

    @property
    def where(self) -> str:
        """The file, with the number of the frame (from 1) where there are several: for messages."""
        return str(self.path) if self.frame is None else f"{self.path}, frame {self.frame + 1}"

    def text(self, keyword: str) -> str:
        """An element as text, "" when absent."""
        return self.elements.get(WANTED[keyword], "")

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """An element of `count` decimal numbers.

        Raises:
            InputError: when it is absent, not numeric, not finite or has another number of values.
        """
        text = self.text(keyword)
        try:
            values = tuple(float(v) for v in text.split("\\"))
        except ValueError:
            values = ()
        if len(values) != count or not all(abs(v) < 1e12 for v in values):
            found = f"is '{text}'" if text else "is missing"
            raise InputError(f"{self.where}: {keyword} {found}; {count} finite number(s) are needed to use this image.")
        return values

    def number(self, keyword: str, default: float) -> float:
        """An element of one decimal number, `default` when absent; raises as `numbers`."""
        return self.numbers(keyword, 1)[0] if self.text(keyword) else default

    def count(self, keyword: str) -> int:
        """An element that must be a whole number of at least 0; raises as `numbers`."""
        value = self.numbers(keyword, 1)[0]
        if value != int(value) or value < 0:
            raise InputError(f"{self.where}: {keyword} is {value:g}; a whole number is needed.")
        return int(value)


def read_header(path: Path) -> Header | None:
    """The header of one file; None when it is no DICOM object (no DICM mark at byte 128, or a DICOMDIR).

    Raises:
        InputError: when it is one but cannot be read to its pixel data, or is named like one and empty: a slice
            that was not copied, which no gap gives away at either end of a series.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        head = os.pread(descriptor, _FIRST_BYTES, 0)
        if head[128:132] != b"DICM":
            if not head and _NAMED_LIKE_DICOM.fullmatch(path.name):
                raise InputError(f"{path} is empty (0 bytes). Copy or export it again, or remove it.")
            return None
        window = _Window(descriptor, head)
        try:
            syntax, start = _file_meta(window)
            if not syntax:
                return None
            if syntax in (BIG_ENDIAN, DEFLATED):
                return _through_pydicom(path, syntax)
            return _walk(path, syntax, window, start)
        except (struct.error, RecursionError, _DamagedError) as error:
            raise InputError(
                f"{path} is a damaged or truncated DICOM file: its header cannot be followed "
                f"beyond byte {window.position}. Copy or export it again."
            ) from error
    finally:
        os.close(descriptor)


@contextmanager
def refusing_damage(path: Path, kind: str) -> Iterator[None]:
    """Turn what pydicom raises on a damaged file, wherever it is first looked at, into an InputError.

    pydicom reads values when they are asked for, so damage shows anywhere in the work on a data set; the
    original exception stays attached.
    """
    try:
        yield
    except UNREADABLE as error:
        reason = str(error).rstrip(".") or type(error).__name__
        if isinstance(error, InvalidDicomError):
            reason = "it is not a DICOM file (no DICM mark at byte 128)"
        raise InputError(f"{path} is no {kind}, or a damaged one: {reason}. Copy or export it again.") from error


class _DamagedError(Exception):
    """The header leads outside the file or to something that is no element."""


class _Window:
    """The first bytes of a file, growing as far as they are asked for."""

    def __init__(self, descriptor: int, head: bytes) -> None:
        self.descriptor, self.bytes = descriptor, head
        self.size = os.fstat(descriptor).st_size
        self.position = 0

    def need(self, end: int) -> bytes:
        if end > len(self.bytes):
            if end > self.size:
                raise _DamagedError
            self.bytes = os.pread(self.descriptor, min(self.size, max(end, 4 * len(self.bytes))), 0)
        return self.bytes


def _file_meta(window: _Window) -> tuple[str, int]:
    """Transfer syntax ("" for a DICOMDIR) and the position behind the file meta information."""
    position, syntax = 132, ""
    while position + 8 <= window.size and window.need(position + 8)[position : position + 2] == b"\x02\x00":
        tag, start, length = _explicit(window, position)
        if length == _UNDEFINED:
            raise _DamagedError
        if tag == 0x00020010:
            syntax = window.need(start + length)[start : start + length].decode("ascii", "replace").strip(" \0")
        if tag == 0x00020002 and window.need(start + length)[start : start + length].strip(b" \0") == _DIRECTORY:
            return "", position
        position = start + length
    if not syntax:
        raise _DamagedError
    return syntax, position


def _explicit(window: _Window, position: int) -> tuple[int, int, int]:
    """Tag, position of the value and length of an element in explicit VR little endian."""
    window.position = position
    buffer = window.bytes if position + 8 <= len(window.bytes) else window.need(position + 8)
    group, element, vr, length = _EXPLICIT_HEAD(buffer, position)
    if vr in _LONG_FORM:
        (length,) = _LENGTH(window.need(position + 12), position + 8)
        return group << 16 | element, position + 12, length
    if group == 0xFFFE:
        (length,) = _LENGTH(buffer, position + 4)
    return group << 16 | element, position + 8, length


def _implicit(window: _Window, position: int) -> tuple[int, int, int]:
    """As `_explicit` for implicit VR little endian."""
    window.position = position
    buffer = window.bytes if position + 8 <= len(window.bytes) else window.need(position + 8)
    group, element, length = _IMPLICIT_HEAD(buffer, position)
    return group << 16 | element, position + 8, length


_Element = Callable[[_Window, int], tuple[int, int, int]]


def _walk(path: Path, syntax: str, window: _Window, position: int) -> Header:
    next_element = _implicit if syntax == IMPLICIT else _explicit
    elements: dict[int, str] = {}
    last, rows = WANTED["RescaleSlope"], WANTED["Rows"]
    while position + 8 <= window.size:
        tag, start, length = next_element(window, position)
        if tag == PIXELS:
            native = syntax in (IMPLICIT, EXPLICIT) and length != _UNDEFINED
            return Header(path, syntax, elements, start if native else None, length if native else None)
        if tag > last and rows not in elements:
            break  # no image: nothing wanted can follow
        if length == _UNDEFINED:
            position = _skip_sequence(window, start, next_element, 0)
            continue
        if tag in _TAGS:
            value = window.need(start + length)[start : start + length]
            if text := _text(tag, value):
                elements[tag] = text
        position = start + length
    if position > window.size or not {WANTED["SOPInstanceUID"], WANTED["SeriesInstanceUID"]} <= elements.keys():
        raise _DamagedError
    return Header(path, syntax, elements)


def _text(tag: int, value: bytes) -> str:
    if tag in _SHORTS:
        return str(int.from_bytes(value[:2], "little")) if len(value) >= 2 else ""
    return value.decode("latin-1").strip(" \0")


def _skip_sequence(window: _Window, position: int, next_element: _Element, depth: int) -> int:
    """Position behind a sequence of undefined length."""
    if depth > _MAX_DEPTH:
        raise _DamagedError
    while True:
        tag, start, length = next_element(window, position)
        if tag == _SEQUENCE_END:
            return start
        if tag != _ITEM:
            raise _DamagedError
        position = start + length if length != _UNDEFINED else _skip_item(window, start, next_element, depth)


def _skip_item(window: _Window, position: int, next_element: _Element, depth: int) -> int:
    while True:
        tag, start, length = next_element(window, position)
        if tag == _ITEM_END:
            return start
        # The value of an undefined-length UN element is written in implicit VR (PS3.5, 6.2.2).
        unknown = window.bytes[position + 4 : position + 6] == b"UN"
        inner = _implicit if unknown else next_element
        position = start + length if length != _UNDEFINED else _skip_sequence(window, start, inner, depth + 1)


def _through_pydicom(path: Path, syntax: str) -> Header:
    elements = {}
    with refusing_damage(path, "DICOM file"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(WANTED))
        for keyword, tag in WANTED.items():
            value = dataset.get(keyword)
            values = value if isinstance(value, list | pydicom.multival.MultiValue) else [value]
            text = "\\".join(str(v) for v in values if v is not None).strip(" \0")
            if text:
                elements[tag] = text
    return Header(path, syntax, elements)
