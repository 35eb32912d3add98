"""Small DICOM files for tests: CT series, RTSTRUCT and SEG with the tags that place and identify them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from oncoseg.volume import Volume

FRAME, STUDY, SERIES = "1.2.3.1", "1.2.3.2", "1.2.3.3"


def _texts(numbers: Any) -> list[str]:
    # DICOM's decimal strings hold 16 characters.
    return [f"{float(n):.10g}"[:16] for n in np.ravel(numbers)]


def dataset(sop_class: str, modality: str, *, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """An object of patient P1 with the identifiers every object has."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    made.Modality, made.PatientID, made.PatientName = modality, "P1", "Doe^Jane"
    made.PatientBirthDate = made.PatientSex = made.AccessionNumber = made.StudyID = ""
    made.StudyDate, made.StudyTime, made.SeriesNumber = "20200101", "120000", 1
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = STUDY, SERIES, FRAME
    return made


def ct_slices(volume: Volume, *, slope: float = 1, intercept: float = -1024, **tags: Any) -> list[Dataset]:
    """One dataset per slice of a volume in HU, stored unsigned; `tags` overwrite tags of every slice."""
    affine, slices = volume.affine, []
    step = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    for k, plane in enumerate(volume.voxels):
        made = dataset(CTImageStorage, "CT", syntax=tags.get("syntax", ExplicitVRLittleEndian))
        made.InstanceNumber = k + 1
        made.Manufacturer, made.ManufacturerModelName = "Mock", "Scanner"
        made.SliceThickness, made.KVP, made.ConvolutionKernel = "3", "120", "B30f"
        made.ImagePositionPatient = _texts(affine[:3, 3] + k * affine[:3, 0])
        made.ImageOrientationPatient = _texts([step[:, 2], step[:, 1]])
        made.PixelSpacing = _texts([volume.spacing[1], volume.spacing[2]])
        made.Rows, made.Columns = plane.shape
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
        made.RescaleSlope, made.RescaleIntercept = _texts([slope, intercept])
        made.PixelData = np.rint((plane - intercept) / slope).astype("<u2").tobytes()
        for keyword, value in tags.items():
            if keyword != "syntax":
                setattr(made, keyword, value)
        slices.append(made)
    return slices


def save(folder: Path, slices: Sequence[Dataset], prefix: str = "slice") -> list[Path]:
    """Write datasets as prefix-000.dcm, ... in the given order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}-{k:03d}.dcm" for k in range(len(slices))]
    for path, made in zip(paths, slices, strict=True):
        made.save_as(path, enforce_file_format=True)
    return paths


def write_ct(folder: Path, volume: Volume, **options: Any) -> list[Path]:
    """A CT series of one file a slice, in order of the volume; `options` as `ct_slices`."""
    return save(folder, ct_slices(volume, **options))


def square(centre: Sequence[float], half: float, volume: Volume) -> np.ndarray:
    """A square contour in LPS mm round a voxel position (slice, row, column) of a volume, in its slice plane."""
    corners = [(0, -half, -half), (0, -half, half), (0, half, half), (0, half, -half)]
    return volume.index_to_mm(np.array(centre) + corners)


def rtstruct(
    rois: Mapping[str, Sequence[np.ndarray]],
    *,
    frame: str = FRAME,
    kind: str = "CLOSED_PLANAR",
    refers_to: str | None = None,
) -> Dataset:
    """An RTSTRUCT; ROI name -> contours (n, 3) in LPS mm. `refers_to`: SOP instance every contour refers to."""
    made = dataset(RTStructureSetStorage, "RTSTRUCT")
    made.SeriesInstanceUID = "1.2.3.4"
    del made.FrameOfReferenceUID
    made.StructureSetLabel = "MOCK"
    series, study, reference = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = SERIES
    study.RTReferencedSeriesSequence = Items([series])
    reference.FrameOfReferenceUID, reference.RTReferencedStudySequence = frame, Items([study])
    made.ReferencedFrameOfReferenceSequence = Items([reference])
    structures, drawn = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, item = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        roi.ROIGenerationAlgorithm = "MANUAL"
        item.ReferencedROINumber = number
        item.ContourSequence = Items([_contour(points, kind, refers_to) for points in contours])
        structures.append(roi)
        drawn.append(item)
    made.StructureSetROISequence, made.ROIContourSequence = Items(structures), Items(drawn)
    return made


def _contour(points: np.ndarray, kind: str, refers_to: str | None) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
    contour.ContourData = _texts(points)
    if refers_to:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CTImageStorage, refers_to
        contour.ContourImageSequence = Items([reference])
    return contour


def write_rtstruct(path: Path, rois: Mapping[str, Sequence[np.ndarray]], **options: Any) -> Path:
    """An RTSTRUCT file; `options` as `rtstruct`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rtstruct(rois, **options).save_as(path, enforce_file_format=True)
    return path


def write_seg(
    path: Path,
    ct_files: Sequence[Path],
    masks: Mapping[str, np.ndarray],
    *,
    kind: str = "BINARY",
    omit_empty_frames: bool = True,
    edit: Callable[[Dataset], None] | None = None,
) -> Path:
    """A DICOM-SEG by highdicom; masks (slices, rows, columns) in the order of `ct_files`; `edit` changes it last."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence("mock", codes.DCM.ArtificialIntelligence, "1")
    segments = [
        hd.seg.SegmentDescription(
            number,
            name,
            codes.SCT.MorphologicallyAbnormalStructure,
            codes.SCT.Neoplasm,
            hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm,
        )
        for number, name in enumerate(masks, start=1)
    ]
    made = hd.seg.Segmentation(
        [pydicom.dcmread(file) for file in ct_files],
        np.stack([np.asarray(mask) for mask in masks.values()], axis=-1),
        hd.seg.SegmentationTypeValues[kind],
        segments,
        hd.UID(),
        2,
        hd.UID(),
        1,
        "Mock",
        "Mock",
        "1",
        "1",
        fractional_type="PROBABILITY",
        omit_empty_frames=omit_empty_frames,
    )
    if edit is not None:
        edit(made)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path)
    return path
