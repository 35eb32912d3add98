"""Writing RTSTRUCT: masks as closed contours that planning systems read, in a new structure set or beside others.

The reader is `io.rtstruct`; it shares the filling of polygons with `io.contours`, and nothing else with this module.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

import oncoseg
from oncoseg.errors import InputError
from oncoseg.files import require_file
from oncoseg.io.contours import Ring, Shaping, filled, outlines
from oncoseg.io.dicom_header import refusing_damage
from oncoseg.io.dicom_reference import PATIENT, STUDY, Reference, character_set, identified_like
from oncoseg.io.structures import LONG, RESEARCH_USE, SHORT, TEXT, MadeBy, Structure, require_distinct

#: "Detached Study Management", retired, and the class that readers expect for the study (PS3.3 C.8.8.5).
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
_CONTOUR_DATA = Tag(0x3006, 0x0050)
#: Longest value in bytes that an element of a short-length VR holds in explicit transfer syntaxes (PS3.5 7.1.2).
_SHORT_LENGTH = 0xFFFE
#: Far from the numbers that scanners give.
SERIES_NUMBER = 7001
#: ROI display colours, far apart; repeated when used up.
COLOURS = ((255, 0, 0), (0, 200, 255), (255, 220, 0), (0, 220, 90), (255, 0, 255), (255, 140, 0), (130, 130, 255))


@dataclass(frozen=True)
class WrittenRoi:
    """What became of one structure.

    Attributes:
        name, number: of the ROI.
        contours, points: how many.
        dice: of the mask that the contours enclose with the mask that was given; 1.0 unless outlines were shaped,
            None for an empty mask.
    """

    name: str
    number: int
    contours: int
    points: int
    dice: float | None


def rtstruct(
    structures: Sequence[Structure],
    reference: Reference,
    made_by: MadeBy,
    *,
    add_to: Path | None = None,
    label: str = "oncoseg",
    shaping: Shaping | None = None,
) -> tuple[Dataset, list[WrittenRoi]]:
    """A structure set, ready to be saved, with one ROI for every structure.

    Args:
        structures: on the grid of `reference`; an empty mask becomes a ROI without contours.
        reference: the image they were drawn on.
        made_by: what drew them.
        add_to: an RTSTRUCT of the same image whose ROIs are kept as they are; the file itself is only read.
        label: of a new structure set, cut at 16 characters.
        shaping: None for contours that enclose exactly the masks.

    Returns:
        The data set, with new identifiers and UNAPPROVED, and what became of each structure.

    Raises:
        InputError: when two ROIs would have one name, or `add_to` is of another image.
        GridMismatchError: for a structure on another grid.
    """
    for structure in structures:
        reference.grid.require_same_grid(structure.mask, f"the image series and ROI '{structure.name}'")
    names = [s.name for s in structures]
    made = _new(reference, made_by, label, names) if add_to is None else _extended(add_to, reference, names)
    require_distinct(names, [str(roi.get("ROIName", "")) for roi in made.StructureSetROISequence])
    written = [_add(made, structure, reference, made_by, shaping) for structure in structures]
    _finish(made, made_by)
    return made, written


def _new(reference: Reference, made_by: MadeBy, label: str, names: Sequence[str]) -> Dataset:
    made = Dataset()
    identified_like(made, reference, [*names, made_by.sentence, label])
    made.StructureSetLabel = label[:SHORT]
    made.PositionReferenceIndicator = ""
    made.SeriesNumber = SERIES_NUMBER
    made.ReferencedFrameOfReferenceSequence = [_referenced_frame(reference)]
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    return made


def _referenced_frame(reference: Reference) -> Dataset:
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = reference.series.uid
    series.ContourImageSequence = [_image(reference, k) for k in range(len(reference.headers))]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY_CLASS, reference.series.study
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = reference.series.frame_of_reference
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(reference: Reference, slice_index: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, frames = reference.named(slice_index)
    if frames is not None:
        item.ReferencedFrameNumber = frames[0]
    return item


def _extended(path: Path, reference: Reference, names: Sequence[str]) -> Dataset:
    """The structure set of a file under new identifiers, after checks that it is of this image."""
    require_file(path)
    with refusing_damage(path, "RTSTRUCT"):
        made = pydicom.dcmread(path)
        if str(made.get("Modality", "")) != "RTSTRUCT":
            raise InputError(f"{path} is not an RTSTRUCT (its modality is '{made.get('Modality', '')}').")
        _require_same_image(made, path, reference)
        made = copy.deepcopy(made)
        made.decode()
        _name_predecessor(made)
        if not all(name.isascii() for name in names):
            made.SpecificCharacterSet = character_set(names)
        for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
            if not made.get(keyword):
                setattr(made, keyword, [])
        made.FrameOfReferenceUID = reference.series.frame_of_reference
        for keyword in (*PATIENT, *STUDY, "PositionReferenceIndicator"):  # which must be there, if only empty
            if keyword not in made:
                setattr(made, keyword, "")
        for keyword in ("ReviewDate", "ReviewTime", "ReviewerName"):  # of the approval that ends here
            if keyword in made:
                delattr(made, keyword)
    return made


def _require_same_image(made: Dataset, path: Path, reference: Reference) -> None:
    series = reference.series
    checks = {"PatientID": series.patient, "StudyInstanceUID": series.study}
    for keyword, wanted in checks.items():
        found = str(made.get(keyword, "") or "")
        if found != wanted:
            raise InputError(f"{path} is of another {keyword} ({found}) than the image ({wanted}). Give its own image.")
    frames = [f for f in made.get("ReferencedFrameOfReferenceSequence") or []]
    own = {str(f.get("FrameOfReferenceUID", "")) for f in frames}
    if series.frame_of_reference not in own:
        raise InputError(
            f"{path} was drawn in frame of reference {', '.join(sorted(own)) or '(none)'}, the image has "
            f"{series.frame_of_reference}. Give the image it was drawn on; oncoseg does not register images."
        )
    uids = {
        str(item.get("SeriesInstanceUID", ""))
        for frame in frames
        for study in frame.get("RTReferencedStudySequence") or []
        for item in study.get("RTReferencedSeriesSequence") or []
    }
    if uids and series.uid not in uids:
        raise InputError(f"{path} was drawn on series {', '.join(sorted(uids))}, the image is series {series.uid}.")


def _name_predecessor(made: Dataset) -> None:
    predecessor = Dataset()
    predecessor.ReferencedSOPClassUID, predecessor.ReferencedSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    made.PredecessorStructureSetSequence = [predecessor]


def _add(
    made: Dataset, structure: Structure, reference: Reference, made_by: MadeBy, shaping: Shaping | None
) -> WrittenRoi:
    """Add a structure as one more ROI."""
    number = 1 + max((int(roi.ROINumber) for roi in made.StructureSetROISequence), default=0)
    drawn, kept = _outlined(structure.mask.voxels, reference, shaping)
    item = Dataset()
    item.ROIDisplayColor = list(COLOURS[(number - 1) % len(COLOURS)])
    item.ReferencedROINumber = number
    if drawn:
        numbered = enumerate(drawn, start=1)
        item.ContourSequence = [_contour(n, k, polygon, reference) for n, (k, polygon) in numbered]
    made.ROIContourSequence.append(item)
    made.StructureSetROISequence.append(_roi(structure, number, reference, made_by))
    made.RTROIObservationsSequence.append(_observation(made, structure, number))
    points = sum(len(polygon) for _, polygon in drawn)
    return WrittenRoi(structure.name, number, len(drawn), points, kept)


def _outlined(
    mask: NDArray[np.bool_], reference: Reference, shaping: Shaping | None
) -> tuple[list[tuple[int, Ring]], float | None]:
    """Slice and polygon of every contour, and the Dice of what they enclose."""
    spacing = (reference.grid.spacing[1], reference.grid.spacing[2])
    drawn: list[tuple[int, Ring]] = []
    both = enclosed = 0
    for k in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        polygons = outlines(mask[k], spacing=spacing, shaping=shaping)
        inside = filled(polygons, mask.shape[1:])
        both, enclosed = both + int((inside & mask[k]).sum()), enclosed + int(inside.sum())
        drawn += [(k, polygon) for polygon in polygons]
    voxels = int(np.count_nonzero(mask))
    return drawn, 2 * both / (enclosed + voxels) if voxels else None


def _contour(number: int, slice_index: int, polygon: Ring, reference: Reference) -> Dataset:
    contour = Dataset()
    contour.ContourImageSequence = [_image(reference, slice_index)]
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(polygon)
    contour.ContourNumber = number
    text = "\\".join(_decimals(reference.mm(slice_index, polygon).ravel().tolist())).encode()
    text += b" " * (len(text) % 2)
    # As bytes: pydicom's own way through decimal strings takes 20 times as long.
    contour[_CONTOUR_DATA] = RawDataElement(_CONTOUR_DATA, "DS", len(text), text, 0, False, True)
    return contour


def _decimals(numbers: Sequence[float]) -> Iterator[str]:
    """Numbers in mm with at most 4 decimals, within the 16 characters of a DS."""
    for number in numbers:
        text = f"{number:.4f}".rstrip("0").rstrip(".")
        yield "0" if text == "-0" else text


def _roi(structure: Structure, number: int, reference: Reference, made_by: MadeBy) -> Dataset:
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = reference.series.frame_of_reference
    roi.ROIName = structure.name
    roi.ROIDescription = made_by.sentence[:TEXT]
    roi.ROIGenerationAlgorithm = made_by.generation or ""
    short = f", weights {made_by.weights_sha256[:12]}" if made_by.weights_sha256 else ""
    roi.ROIGenerationDescription = f"{made_by.algorithm or 'not stated'}, oncoseg {made_by.version}{short}"[:LONG]
    if made_by.algorithm and made_by.generation != "MANUAL":
        roi.ROIDerivationAlgorithmIdentificationSequence = [_algorithm(made_by)]
    return roi


def _algorithm(made_by: MadeBy) -> Dataset:
    family, algorithm = Dataset(), Dataset()
    family.CodeValue, family.CodingSchemeDesignator, family.CodeMeaning = "123110", "DCM", "Artificial Intelligence"
    algorithm.AlgorithmFamilyCodeSequence = [family]
    algorithm.AlgorithmName, algorithm.AlgorithmVersion = made_by.algorithm[:LONG], made_by.version[:LONG]
    algorithm.AlgorithmParameters = made_by.sentence[:TEXT]
    return algorithm


def _observation(made: Dataset, structure: Structure, number: int) -> Dataset:
    observation = Dataset()
    used = [int(o.ObservationNumber) for o in made.RTROIObservationsSequence]
    observation.ObservationNumber = 1 + max(used, default=0)
    observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = structure.kind
    observation.ROIInterpreter = ""
    return observation


def _finish(made: Dataset, made_by: MadeBy) -> None:
    """Identifiers, dates, equipment and status of an object that is new, whatever it began from."""
    now = datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = (
        RTStructureSetStorage,
        generate_uid(),
        generate_uid(),
    )
    made.Modality = "RTSTRUCT"
    for keyword in ("InstanceCreation", "Series", "StructureSet"):
        setattr(made, f"{keyword}Date", date)
        setattr(made, f"{keyword}Time", time)
    made.SeriesDescription = "oncoseg RTSTRUCT, research use only"
    made.StructureSetDescription = f"{RESEARCH_USE} {made_by.sentence}"[:TEXT]
    made.Manufacturer, made.ManufacturerModelName = "oncoseg", "oncoseg"
    made.SoftwareVersions = oncoseg.__version__
    made.OperatorsName = ""
    made.ApprovalStatus = "UNAPPROVED"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, made.SOPInstanceUID
    implicit = _longest_contour(made) > _SHORT_LENGTH
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    made.file_meta = meta
    for contour in _contours(made):
        if contour.get_item(_CONTOUR_DATA).is_raw and contour.original_encoding == (None, None):
            # Made here, of bytes that stand as they are: pydicom would read and write every number again.
            contour.set_original_encoding(implicit, True, default_encoding)


def _contours(made: Dataset) -> Iterator[Dataset]:
    return (c for roi in made.ROIContourSequence for c in roi.get("ContourSequence") or [] if _CONTOUR_DATA in c)


def _longest_contour(made: Dataset) -> int:
    """Bytes of the longest ContourData; from 64 KiB on only the implicit transfer syntax can say its length."""
    values = (contour.get_item(_CONTOUR_DATA).value for contour in _contours(made))
    return max((len(v) if isinstance(v, bytes) else 16 * len(v) for v in values if v), default=0)
