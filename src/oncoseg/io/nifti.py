"""NIfTI files: the only place where RAS millimetres exist.

A file stores voxels with its first index fastest; read as (k, j, i) they are a C-ordered array with axes
(slice, row, column). The axes keep the file's order whatever the orientation: the affine says where they point.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.files import require_file, written_whole
from oncoseg.io.inflate import deflate, read_bytes
from oncoseg.io.rescale import rescaled
from oncoseg.volume import Volume, check_affine

SUFFIXES = (".nii", ".nii.gz")
#: RAS <-> LPS: x and y change sign. Its own inverse.
RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Reverses the order of the index axes (i, j, k) <-> (k, j, i). Its own inverse.
REVERSE_AXES = np.eye(4)[[2, 1, 0, 3]]
_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_KINDS = "iuf"


@dataclass(frozen=True)
class _Layout:
    """What the header says about the voxels behind it; shape in file order (i, j, k)."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    affine: NDArray[np.float64]


def read(path: Path) -> Volume:
    """Read a `.nii` or `.nii.gz` file (NIfTI-1 or -2, one file).

    A compressed file is read to the last checksum before its header is looked at. The place is the
    sform, else the qform, else the voxel size alone.

    Returns:
        Voxels with axes (slice, row, column) = the file's (k, j, i): the file's integer type when it has no
        scaling; int16 when scaling is exact in it, float32 otherwise; affine in LPS mm.

    Raises:
        InputError: names the file and the reason: missing, empty, truncated, wrong checksum, no NIfTI, not 3D
            (a fourth axis of size 1 is allowed), dimensions or spacing not positive, header and size disagree,
            NaN slope, singular affine, NaN or infinite voxels, colour or complex voxels.
    """
    require_file(path)
    content = read_bytes(path)
    try:
        layout = _layout(content)
        voxels = _voxels(content, layout)
        volume = Volume(voxels, RAS_LPS @ layout.affine @ REVERSE_AXES)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    volume.require_finite(str(path))
    return volume


def write(path: Path, volume: Volume) -> None:
    """Write a `.nii` or `.nii.gz` file, whole or not at all.

    bool is written as uint8 and float64 as float32; the sform holds the affine, the qform too unless the grid
    is sheared. Equal volumes give equal bytes.

    Raises:
        InputError: when the type or size has no place in NIfTI-1, or the file cannot be written.
    """
    voxels = volume.voxels
    if voxels.dtype == bool:
        voxels = voxels.view(np.uint8)
    elif voxels.dtype.kind == "f":
        voxels = voxels.astype(np.float32, copy=False)
    header = nibabel.Nifti1Header()
    affine = RAS_LPS @ volume.affine @ REVERSE_AXES
    try:
        header.set_data_dtype(voxels.dtype)
        header.set_data_shape(voxels.shape[::-1])
    except HeaderDataError as error:
        raise InputError(f"Cannot write {path}: {error}. Convert or crop the volume first.") from error
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    if not np.allclose(header.get_qform(), affine, atol=1e-3):
        header.set_qform(affine, code=0)
    content = bytes(header.binaryblock) + bytes(4) + voxels.astype(voxels.dtype.newbyteorder("<")).tobytes()
    with written_whole(path) as temporary:
        temporary.write_bytes(deflate(content) if path.name.lower().endswith(".gz") else content)


def _layout(content: NDArray[np.uint8]) -> _Layout:
    header = _header(content)
    dimensions = [int(n) for n in header["dim"]]
    count = dimensions[0]
    sizes = dimensions[1 : count + 1] if 1 <= count <= 7 else []
    if count < 3 or not sizes or min(sizes) < 1:
        raise InputError(f"its header gives dimensions {dimensions}; three positive ones are needed.")
    if any(n != 1 for n in sizes[3:]):
        raise InputError(
            f"it has {count} dimensions {tuple(sizes)}; a 3D image is needed. Split it into one file per "
            "channel or time point."
        )
    spacing = header["pixdim"][1:4].astype(np.float64)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise InputError(f"its voxel size is {tuple(spacing.tolist())} mm; three positive numbers are needed.")
    offset = float(header["vox_offset"])  # a float in NIfTI-1
    if not (np.isfinite(offset) and 0 <= offset < 2**53):
        raise InputError(f"its header says that voxels begin at byte {offset}. Re-export the file.")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite([slope, intercept]).all():
        raise InputError(f"its scaling (scl_slope {slope}, scl_inter {intercept}) is not finite. Re-export the file.")
    try:
        dtype = header.get_data_dtype()
        with np.errstate(all="ignore"):  # what is not finite is refused below
            affine = header.get_best_affine()
        unit = header.get_xyzt_units()[0]
    except (HeaderDataError, KeyError, ValueError) as error:
        raise InputError(f"its header is not valid NIfTI: {error}.") from error
    if dtype.kind not in _KINDS or dtype.itemsize > 8:
        raise InputError(f"its voxels are of type {dtype}; whole or real numbers are needed.")
    check_affine(affine)
    scale = np.diag([_MM_PER_UNIT.get(unit, 1.0)] * 3 + [1.0])
    # A slope of 0 means "no scaling" (nifti1.h).
    slope, intercept = (slope, intercept) if slope else (1.0, 0.0)
    shape = (sizes[0], sizes[1], sizes[2])
    return _Layout(shape, dtype, int(offset), slope, intercept, scale @ affine)


def _header(content: NDArray[np.uint8]) -> Any:
    """The nibabel header; unchecked, the fields that matter are checked by `_layout`."""
    size = content[:4].tobytes()
    second = 540 in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    length = 540 if second else 348
    try:
        header = kind.from_fileobj(io.BytesIO(content[:length].tobytes()), check=False)
    except (WrapStructError, HeaderDataError, ValueError) as error:
        raise InputError(f"it is no NIfTI file or its header is cut off ({error}).") from error
    if int(header["sizeof_hdr"]) != length or bytes(header["magic"])[:3] != (b"n+2" if second else b"n+1"):
        raise InputError("it is no single-file NIfTI (wrong header size or magic). Convert it to .nii.gz first.")
    return header


def _voxels(content: NDArray[np.uint8], layout: _Layout) -> NDArray[Any]:
    needed = int(np.prod(layout.shape, dtype=object)) * layout.dtype.itemsize
    there = len(content) - layout.offset
    if layout.offset < 348 or there < needed:
        raise InputError(
            f"its header announces {' x '.join(map(str, layout.shape))} voxels of {layout.dtype} ({needed} bytes "
            f"from byte {layout.offset}), but {max(there, 0)} bytes are there. "
            "It is truncated or damaged; copy it again."
        )
    stored = content[layout.offset : layout.offset + needed].view(layout.dtype)
    if not layout.dtype.isnative:
        stored = stored.astype(layout.dtype.newbyteorder("="))
    stored = stored.reshape(layout.shape[::-1])
    if layout.slope == 1 and layout.intercept == 0:
        return stored
    return rescaled(stored, layout.slope, layout.intercept)
