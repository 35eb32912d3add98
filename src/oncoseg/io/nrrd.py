"""NRRD files, through pynrrd: `.nrrd` with its data inside, and `.nhdr` beside its data file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np
from nrrd.errors import NRRDError
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.files import require_file, written_whole
from oncoseg.io.inflate import inflate
from oncoseg.volume import Volume

SUFFIXES = (".nrrd", ".nhdr")
#: What each space's axes must be multiplied with to become LPS.
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_GZIP = ("gzip", "gz")


def read(path: Path) -> Volume:
    """Read an NRRD file.

    A file without `space` is taken as axial with its `spacings`, as other readers do.

    Returns:
        Voxels of the file's type with axes (slice, row, column) = the file's (k, j, i); affine in LPS mm.

    Raises:
        InputError: names the file and the reason: missing, empty, truncated, wrong checksum, no NRRD, not 3D,
            unknown space, spacing not positive, singular affine, NaN or infinite voxels.
    """
    require_file(path)
    try:
        with path.open("rb") as stream:
            header = nrrd.read_header(stream)
            sizes = _sizes(header)
            affine = _affine(header)
            voxels = _voxels(stream, path, header)
        volume = Volume(voxels.reshape(sizes[::-1]), affine)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error
    except (NRRDError, ValueError, KeyError, TypeError, OSError, StopIteration, AttributeError) as error:
        raise InputError(
            f"{path} is no NRRD file, or a damaged one: {str(error).rstrip('.')}. Copy or export it again."
        ) from error
    volume.require_finite(str(path))
    return volume


def write(path: Path, volume: Volume) -> None:
    """Write a `.nrrd` file with gzip encoding in LPS, whole or not at all; bool becomes uint8, float64 float32.

    Raises:
        InputError: for another suffix than `.nrrd`, or when the file cannot be written.
    """
    if path.suffix.lower() != ".nrrd":
        raise InputError(f"Cannot write {path}: NRRD is written as one file, with suffix .nrrd.")
    voxels = volume.voxels
    if voxels.dtype == bool:
        voxels = voxels.view(np.uint8)
    elif voxels.dtype.kind == "f":
        voxels = voxels.astype(np.float32, copy=False)
    header = {
        "space": "left-posterior-superior",
        "space directions": volume.affine[:3, 2::-1].T,
        "space origin": volume.affine[:3, 3],
        "kinds": ["domain", "domain", "domain"],
        "encoding": "gzip",
    }
    with written_whole(path) as temporary:
        nrrd.write(str(temporary), np.ascontiguousarray(voxels), header, index_order="C", compression_level=1)


def _sizes(header: dict[str, Any]) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in header["sizes"])
    if len(sizes) != 3 or header["dimension"] != 3:
        raise InputError(f"it has sizes {sizes}; a 3D image is needed. Split it into one file per channel.")
    if min(sizes) < 1:
        raise InputError(f"it has sizes {sizes}; they must be positive.")
    return sizes


def _affine(header: dict[str, Any]) -> NDArray[np.float64]:
    directions, origin = header.get("space directions"), header.get("space origin")
    signs: tuple[int, ...] = (1, 1, 1)
    if directions is None:
        spacings = np.asarray(header.get("spacings", (np.nan,) * 3), dtype=np.float64)
        if spacings.shape != (3,) or not (np.isfinite(spacings).all() and (spacings > 0).all()):
            raise InputError("it has neither 'space directions' nor three positive 'spacings'.")
        directions = np.diag(spacings)
        origin = header.get("axis mins", header.get("axismins")) if origin is None else origin
    else:
        space = str(header.get("space", "")).lower()
        if space not in _TO_LPS:
            known = "left-posterior-superior, right-anterior-superior or left-anterior-superior"
            raise InputError(f"its space is '{space}'; {known} is needed to place it in the patient.")
        signs = _TO_LPS[space]
    affine = np.eye(4)
    # One row per axis i, j, k in the file; one column per axis k, j, i in the affine.
    affine[:3, :3] = np.asarray(directions, dtype=np.float64)[::-1].T
    affine[:3, 3] = 0 if origin is None else np.asarray(origin, dtype=np.float64)
    affine[:3] *= np.array(signs)[:, None]
    return affine


def _voxels(stream: BinaryIO, path: Path, header: dict[str, Any]) -> NDArray[Any]:
    """The numbers in file order, flat or shaped (k, j, i)."""
    data_file = header.get("data file", header.get("datafile"))
    if data_file is not None:
        return _detached(path, header, str(data_file))
    if header["encoding"] not in _GZIP:
        return _native(nrrd.read_data(header, stream, str(path), index_order="C"))
    if header.get("line skip", header.get("lineskip")):
        raise InputError("it skips lines before its compressed data, which is not read. Write it again without.")
    content = io.BytesIO(inflate(stream, path).data)
    return _native(nrrd.read_data({**header, "encoding": "raw"}, content, index_order="C"))


def _detached(path: Path, header: dict[str, Any], name: str) -> NDArray[Any]:
    """Data of a `.nhdr`; only from its own folder, so that a header cannot make us read other files."""
    beside = path.parent / name
    if Path(name).name != name or not beside.is_file():
        raise InputError(f"its data file '{name}' is not beside it. Put both into one folder.")
    return _native(nrrd.read_data(header, None, str(path), index_order="C"))


def _native(voxels: NDArray[Any]) -> NDArray[Any]:
    if voxels.dtype.kind not in "iuf":
        raise InputError(f"its voxels are of type {voxels.dtype}; whole or real numbers are needed.")
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
