"""Prepared volumes on disk, found by the content they were made from.

An entry is one file: eight bytes of magic, the length of a JSON header, the header (shape, type, affine, size and
CRC-32 of the rest), zeros up to a page border, then the voxels as a blosc2 frame or as they are. It appears by
rename, so readers and several writers never meet half of one; damage is found by the CRC when an entry is first
opened, and the entry is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import blosc2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from oncoseg.config import content_key
from oncoseg.errors import InputError
from oncoseg.files import written_whole
from oncoseg.volume import Volume

Storage = Literal["blosc2", "plain"]

_log = logging.getLogger(__name__)
_MAGIC = b"oncovol1"
_SUFFIX = ".vol"
_PAGE = 4096
#: A 96^3 patch touches few chunks, and hardly more voxels than it needs are unpacked.
_CHUNK, _BLOCK = (48, 128, 128), (16, 16, 16)


class _DamagedError(Exception):
    """An entry that is not what was written; never leaves this module."""


def volume_key(volume: Volume, configuration: Any) -> str:
    """Key of what `configuration` makes of `volume`: hex SHA-256 over voxels, type, affine and configuration.

    Args:
        volume: the input, before preparation.
        configuration: dataclass or plain data that decides the result.
    """
    voxels = np.ascontiguousarray(volume.voxels)
    content = hashlib.sha256(voxels.reshape(-1).view(np.uint8).data)
    content.update(volume.affine.tobytes())
    return content_key(
        {"voxels": content.hexdigest(), "shape": voxels.shape, "type": voxels.dtype.str, "made": configuration}
    )


@dataclass(frozen=True, eq=False)
class CachedVolume:
    """An entry on disk; only what is asked for is read.

    Attributes:
        path: the entry's file.
        shape: voxels (slices, rows, columns).
        dtype: of the voxels.
        affine: as `Volume.affine`.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine: NDArray[np.float64]
    _voxels: Any

    def read(self) -> Volume:
        """All of it."""
        return Volume(np.array(self._voxels[...]), self.affine)

    def mapped(self) -> Volume:
        """All of it; what is stored plain stays on disk until it is looked at, and cannot be written to."""
        return Volume(np.asarray(self._voxels[...]), self.affine)

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Volume:
        """The half-open box [start, stop) in its place of the patient.

        Raises:
            InputError: when the box is empty or leaves the volume.
        """
        place = Volume(np.broadcast_to(np.zeros((), self.dtype), self.shape), self.affine).crop(start, stop)
        window = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        return Volume(np.array(self._voxels[window], copy=None if self._packed else True), place.affine)

    @property
    def _packed(self) -> bool:
        return not isinstance(self._voxels, np.ndarray)


class VolumeCache:
    """A folder of entries; safe for several processes at once.

    Args:
        folder: made when missing.
        storage: `blosc2` (LZ4 after byte shuffle: about half the size, fewer bytes from a slow disk) or `plain`
            (a memory map: the fastest where everything stays in memory). Either reads the other's entries.
        threads: of blosc2; leave 1 where several processes read.

    Attributes:
        damaged: entries found damaged by this object; each was made again.
    """

    def __init__(self, folder: Path, *, storage: Storage = "blosc2", threads: int = 1) -> None:
        self.folder, self.storage, self.threads = folder, storage, threads
        self.damaged: list[Path] = []
        self._verified: dict[Path, tuple[int, int]] = {}

    def get_or_make(self, key: str, make: Callable[[], Volume]) -> CachedVolume:
        """The entry under `key`; made, written and opened when it is missing or damaged.

        Args:
            key: from `volume_key` or `config.content_key`.
            make: prepares the volume; called only when needed.

        Raises:
            InputError: when the folder cannot be written to.
        """
        entry = self.get(key)
        if entry is None:
            self._write(self._path(key), make())
            entry = self.get(key)
        if entry is None:
            raise InputError(f"Cannot read back {self._path(key)} right after writing it. Check the disk.")
        return entry

    def get(self, key: str) -> CachedVolume | None:
        """The entry under `key`, None when it is missing or damaged; damage is logged and counted."""
        path = self._path(key)
        try:
            return self._open(path)
        except FileNotFoundError:
            return None
        except _DamagedError as error:
            _log.warning("Cache entry %s is damaged (%s); it is made again.", path, error)
            self.damaged.append(path)
            return None

    def prune(self, limit_bytes: int) -> list[Path]:
        """Delete the entries opened longest ago until `limit_bytes` are left; says which."""
        entries = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            status = path.stat()
            entries.append((max(status.st_atime, status.st_mtime), status.st_size, path))
        total, gone = sum(size for _, size, _ in entries), []
        for _, size, path in sorted(entries):
            if total <= limit_bytes:
                break
            path.unlink(missing_ok=True)
            gone.append(path)
            total -= size
        return gone

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _write(self, path: Path, volume: Volume) -> None:
        voxels = np.ascontiguousarray(volume.voxels)
        payload = _pack(voxels, self.threads) if self.storage == "blosc2" else voxels.reshape(-1).view(np.uint8).data
        header = {
            "storage": self.storage,
            "shape": voxels.shape,
            "dtype": voxels.dtype.str,
            "affine": volume.affine.tolist(),
            "bytes": len(payload),
            "crc32": isal_zlib.crc32(payload),
        }
        text = json.dumps(header).encode()
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            stream.write(_MAGIC + len(text).to_bytes(4, "little") + text)
            stream.write(bytes(-stream.tell() % _PAGE))
            stream.write(payload)

    def _open(self, path: Path) -> CachedVolume:
        header, offset = self._checked_header(path)
        shape, dtype = tuple(header["shape"]), np.dtype(header["dtype"])
        voxels: Any
        if header["storage"] == "plain":
            # As a plain array: slicing a memmap object costs more than the patch.
            voxels = np.memmap(path, dtype, mode="r", offset=offset, shape=shape).view(np.ndarray)
        else:
            voxels = blosc2.open(str(path), mode="r", offset=offset, mmap_mode="r", dparams={"nthreads": self.threads})
        return CachedVolume(path, shape, dtype, np.array(header["affine"]), voxels)

    def _checked_header(self, path: Path) -> tuple[dict[str, Any], int]:
        """The header and where the voxels start; the CRC is computed once for a file and this object."""
        with path.open("rb") as stream:
            status = path.stat()
            start = stream.read(len(_MAGIC) + 4)
            if not start.startswith(_MAGIC):
                raise _DamagedError("no entry of this cache")
            try:
                header = json.loads(stream.read(int.from_bytes(start[len(_MAGIC) :], "little")))
            except ValueError as error:
                raise _DamagedError("unreadable header") from error
            offset = stream.tell() + -stream.tell() % _PAGE
            if status.st_size != offset + header["bytes"]:
                raise _DamagedError(f"{status.st_size} bytes instead of {offset + header['bytes']}")
            fresh = (status.st_mtime_ns, status.st_ino)
            if self._verified.get(path) != fresh:
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
                    found = isal_zlib.crc32(view[offset:])
                if found != header["crc32"]:
                    raise _DamagedError("its checksum does not match")
                self._verified[path] = fresh
        return header, offset


def _pack(voxels: NDArray[Any], threads: int) -> bytes:
    chunk = tuple(min(c, n) for c, n in zip(_CHUNK, voxels.shape, strict=True))
    block = tuple(min(b, c) for b, c in zip(_BLOCK, chunk, strict=True))
    settings = {"codec": blosc2.Codec.LZ4, "clevel": 1, "nthreads": threads}
    packed = blosc2.asarray(voxels, chunks=chunk, blocks=block, cparams=settings)
    return bytes(packed.to_cframe())
