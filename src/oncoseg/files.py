"""Files appear whole or not at all, and are known by their content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oncoseg.errors import InputError

#: Marks unfinished files, so that they can be recognised after a kill.
PARTIAL = ".partial"


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that becomes `target` when the block ends well.

    The temporary file keeps the target's suffixes, is flushed to disk, then renamed over the target;
    after an exception it is removed and the old target stands untouched.

    Raises:
        InputError: when the folder cannot be written to or the disk is full.
    """
    require_writable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{PARTIAL}-", suffix=f"-{target.name}", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise InputError(
            f"Cannot write {target}: {error.strerror}. Choose another place or free some space."
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    except OSError as error:
        raise InputError(
            f"Cannot write {target}: {error.strerror or error}. Choose another place or free some space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file whole."""
    with written_whole(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write a UTF-8 text file whole."""
    write_bytes(target, content.encode())


def write_json(target: Path, content: Any) -> None:
    """Write plain data as indented JSON, whole; NaN and infinity are refused."""
    write_text(target, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(source: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: when the file is missing or is not JSON.
    """
    require_file(source)
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{source} is not valid JSON: {error}.") from error


def require_file(source: Path) -> None:
    """Raise InputError unless `source` is a readable file that is not empty."""
    if source.is_dir():
        raise InputError(f"{source} is a folder; a file is needed.")
    if not source.exists():
        raise InputError(f"{source} does not exist. Check the path.")
    if source.stat().st_size == 0:
        raise InputError(f"{source} is empty (0 bytes). Copy or export it again.")


def require_writable(target: Path) -> None:
    """Raise InputError unless a file could be written at `target`; makes nothing."""
    place = target.parent.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"Cannot write {target}: {place} is not a folder you may write to. Choose another place.")


def sha256(source: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remove_partial(folder: Path) -> None:
    """Delete temporaries that a killed process left in `folder`."""
    for stray in folder.glob(f"{PARTIAL}-*"):
        stray.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
