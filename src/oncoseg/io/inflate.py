"""Gzip streams, read to their last checksum or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from oncoseg.errors import InputError

#: Deflate cannot shrink data by more than this factor; a larger claim in a trailer is a lie.
MAX_RATIO = 1032
#: Bytes inflated per step: small enough that the copy into the buffer stays in the processor's cache.
STEP = 1 << 18
#: Largest uncompressed volume that is read, in bytes (a 1024 x 1024 x 4000 float32 image has 16 GiB).
MAX_BYTES = 1 << 34

_MARK = b"\x1f\x8b"


def inflate(stream: BinaryIO, source: Path) -> NDArray[np.uint8]:
    """The uncompressed content of a gzip stream, from its position to its end.

    Every member's CRC and length are checked before anything is returned, so a truncated or damaged
    file never yields voxels.

    Args:
        stream: open for reading; its last four bytes size the buffer.
        source: named in errors.

    Returns:
        A writable array of bytes; empty for an empty stream.

    Raises:
        InputError: truncated stream, wrong checksum, damaged or no gzip data, or more than `MAX_BYTES`.
    """
    start = stream.tell()
    mark = stream.read(len(_MARK))
    if mark and mark != _MARK:
        raise InputError(f"{source} is not gzip data, though it should be by its name or header. Copy or rename it.")
    packed = stream.seek(0, io.SEEK_END) - start
    stream.seek(max(start, start + packed - 4))
    claimed = int.from_bytes(stream.read(4), "little")
    stream.seek(start)
    buffer = np.empty(min(claimed, packed * MAX_RATIO, MAX_BYTES) + 1, np.uint8)
    filled = 0
    try:
        with igzip.IGzipFile(fileobj=stream, mode="rb") as unpacked:
            while count := unpacked.readinto(buffer[filled : filled + STEP].data):
                filled += count
                if filled > MAX_BYTES:
                    raise InputError(f"{source} inflates to more than {MAX_BYTES >> 30} GiB; it is not read.")
                if filled == len(buffer):
                    # Several members or more than 4 GiB: the trailer told too little.
                    buffer = np.concatenate([buffer, np.empty(filled + STEP, np.uint8)])
    except EOFError as error:
        raise InputError(f"{source} is truncated: its gzip stream ends early. Copy or download it again.") from error
    except (OSError, igzip_lib.IsalError) as error:  # type: ignore[misc]
        raise InputError(f"{source} is damaged: {error}. Copy or download it again.") from error
    return buffer[:filled]


def deflate(content: bytes) -> bytes:
    """Gzip `content`; the same content gives the same bytes (no name, no time)."""
    return igzip.compress(content, compresslevel=2, mtime=0)  # type: ignore[no-any-return]


def read_bytes(source: Path) -> NDArray[np.uint8]:
    """A whole file as a writable array of bytes; `.gz` files are inflated.

    Raises:
        InputError: as `inflate`.
    """
    with source.open("rb") as stream:
        if source.name.lower().endswith(".gz"):
            return inflate(stream, source)
        size = os.fstat(stream.fileno()).st_size
        buffer = np.empty(size, np.uint8)
        filled = stream.readinto(buffer.data)
        return buffer[:filled]
