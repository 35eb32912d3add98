"""Multi-frame images (Enhanced CT, MR and PET, and their legacy-converted forms): each frame as if it were a file.

What slices of one file each say in their header stands in functional groups here, shared ones and those of a frame
(PS3.3 C.7.6.16); a frame's own group comes before a shared one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pydicom
from pydicom.dataset import Dataset

from oncoseg.errors import InputError
from oncoseg.io.dicom_header import WANTED, Header, refusing_damage

#: keyword of a slice's header -> functional group and keyword that say it for a frame.
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
    "KVP": "CTXRayDetailsSequence",
}
#: Frames of one file that are told apart; more are no volume of a patient.
MOST_FRAMES = 20_000


def is_multi_frame(header: Header) -> bool:
    """Whether a file says that it holds several frames.

    Raises:
        InputError: when the number is none.
    """
    return header.number("NumberOfFrames", 1) > 1


def may_describe_frames(header: Header) -> bool:
    """Whether a file of pixels may say in functional groups what others say in their header; raises as above."""
    alone = header.text("NumberOfFrames") and not header.text("ImagePositionPatient")
    return bool(alone) or is_multi_frame(header)


def frames_of(header: Header) -> list[Header]:
    """One header for every frame of a file; the file's own alone when it has no functional groups.

    Args:
        header: of a file of pixels for which `may_describe_frames` is true.

    Returns:
        Headers in the order of the frames, with `frame` counting from 0, and the place of the frame's pixels in the
        file where they are not compressed.

    Raises:
        InputError: when the file is damaged, or says another number of frames than it describes.
    """
    with refusing_damage(header.path, "multi-frame image"):
        whole = pydicom.dcmread(header.path, stop_before_pixels=True)
        groups = whole.get("PerFrameFunctionalGroupsSequence") or []
        if not groups:
            return [header]
        shared = (whole.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        count = header.count("NumberOfFrames")
        if count > MOST_FRAMES:
            raise InputError(f"{header.path} has {count} frames; at most {MOST_FRAMES} are read.")
        if count != len(groups):
            raise InputError(
                f"{header.path} says that it has {count} frames and describes {len(groups)}. Export it again."
            )
        length = _length(header, count)
        return [_frame(header, k, dict(_elements(shared, group)), length) for k, group in enumerate(groups)]


def _length(header: Header, count: int) -> int | None:
    """Bytes of a frame that is not compressed."""
    if header.pixel_length is None:
        return None
    length = header.count("Rows") * header.count("Columns") * (header.count("BitsAllocated") // 8)
    needed = length * count
    if header.pixel_length not in (needed, needed + needed % 2):
        raise InputError(
            f"{header.path}: its pixel data have {header.pixel_length} bytes, {count} frames need {needed}. "
            "The file is damaged; export it again."
        )
    return length


def _elements(shared: Dataset, group: Dataset) -> Iterator[tuple[int, str]]:
    for keyword, sequence in _GROUPS.items():
        for source in (group, shared):
            items = source.get(sequence) or []
            if items and items[0].get(keyword) not in (None, ""):
                value = items[0].get(keyword)
                several = isinstance(value, pydicom.multival.MultiValue | list)
                yield WANTED[keyword], "\\".join(map(str, value)) if several else str(value)
                break


def _frame(header: Header, number: int, elements: dict[int, str], length: int | None) -> Header:
    offset = None if length is None or header.pixel_offset is None else header.pixel_offset + number * length
    return replace(
        header, elements={**header.elements, **elements}, pixel_offset=offset, pixel_length=length, frame=number
    )
