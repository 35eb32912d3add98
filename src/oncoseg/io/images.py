"""Reading and writing images and masks by the look of their path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncoseg import files
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.io import dicom, nifti, nrrd, rtstruct, seg
from oncoseg.io.dicom_header import read_header
from oncoseg.volume import Volume

#: Suffixes that are read; a folder is read as DICOM too, whatever its name.
SUFFIXES = (*nifti.SUFFIXES, *nrrd.SUFFIXES, ".dcm")
#: Suffixes that are written.
WRITTEN = (*nifti.SUFFIXES, ".nrrd")


def read_image(path: Path) -> Volume:
    """Read NIfTI, NRRD, a folder with one DICOM image series, or the series of one DICOM file.

    Returns:
        HU for CT, raw intensities otherwise; int16 when that holds every value exactly, else float32.

    Raises:
        InputError: names the file and the reason; a folder with several series lists them.
    """
    volume = _read(path)
    return Volume(_int16_or_float32(volume.voxels), volume.affine)


def read_labels(path: Path) -> Volume:
    """Read a label map: whole numbers, in the smallest integer type of the file or int32.

    Raises:
        InputError: as `read_image`; names a value that is not whole or does not fit int32.
    """
    volume = _read(path)
    voxels = volume.voxels
    if voxels.dtype.kind in "iu" and voxels.dtype.itemsize < 4:
        return volume
    limits = np.iinfo(np.int32)
    bad = (voxels < limits.min) | (voxels > limits.max)
    if voxels.dtype.kind == "f":
        bad |= voxels != np.rint(voxels)
    if bad.any():
        raise InputError(
            f"{path} is not a label map: {int(bad.sum())} voxels are no whole numbers (the first is {voxels[bad][0]}). "
            "Give the mask instead of an image or a probability map, or threshold it first."
        )
    return Volume(voxels.astype(np.int32), volume.affine)


def read_mask(path: Path) -> Volume:
    """Read a mask: True where the label map is not zero.

    Raises:
        InputError: as `read_labels`.
    """
    labels = read_labels(path)
    return Volume(labels.voxels != 0, labels.affine)


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume as NIfTI or NRRD by its suffix, whole or not at all; bool becomes uint8.

    Raises:
        InputError: for another suffix, or when the file cannot be written.
    """
    suffix = _suffix(path, WRITTEN)
    (nifti if suffix in nifti.SUFFIXES else nrrd).write(path, volume)


def require_writable(path: Path) -> None:
    """Raise InputError unless `write_volume` knows the suffix and may write into the folder: asked before long work."""
    _suffix(path, WRITTEN)
    files.require_writable(path)


def read_drawn(path: Path, image: Path, *, pattern: str | None = None) -> dict[str, Volume]:
    """Masks of an RTSTRUCT or DICOM-SEG on the grid of the image they were drawn on, by ROI name.

    Args:
        path: the RTSTRUCT or DICOM-SEG file.
        image: the DICOM series (then the frame of reference is checked), or the same image as NIfTI or NRRD.
        pattern: regular expression for ROI names; None for all.

    Raises:
        InputError: as `rtstruct.read_rois` and `seg.read_segments`; when no ROI matches; for another modality.
    """
    volume = read_image(image)
    series = dicom.find_series(image) if image.is_dir() else []
    frame = series[0].frame_of_reference if len(series) == 1 else None
    header = read_header(path) if path.is_file() else None
    modality = header.text("Modality") if header is not None else ""
    if modality != "SEG":
        return rtstruct.read_rois(path, volume, pattern=pattern, frame_of_reference=frame)
    found = seg.read_segments(path, volume)
    chosen = {n: v for n, v in found.items() if pattern is None or re.search(pattern, n, re.IGNORECASE)}
    if not chosen:
        raise UnknownNameError(f"segment in {path}:", str(pattern), found)
    return chosen


def _read(path: Path) -> Volume:
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the path.")
    if path.is_dir():
        return dicom.read_image(path)
    if not path.suffix and read_header(path) is not None:
        return dicom.read_image(path)  # exports of many scanners have no suffix
    suffix = _suffix(path, SUFFIXES)
    if suffix in nifti.SUFFIXES:
        return nifti.read(path)
    return nrrd.read(path) if suffix in nrrd.SUFFIXES else dicom.read_image(path)


def _suffix(path: Path, allowed: tuple[str, ...]) -> str:
    for suffix in allowed:
        if path.name.lower().endswith(suffix):
            return suffix
    raise InputError(f"{path}: the suffix is none of {', '.join(allowed)}. Rename or convert the file.")


def _int16_or_float32(voxels: NDArray[Any]) -> NDArray[Any]:
    if voxels.dtype == np.int16:
        return voxels
    if voxels.dtype.kind in "iu":
        limits = np.iinfo(np.int16)
        if voxels.dtype.itemsize == 1 or (voxels.min() >= limits.min and voxels.max() <= limits.max):
            return voxels.astype(np.int16)
    return voxels.astype(np.float32, copy=False)
