"""One hash for many files: equal content, equal fingerprint, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oncoseg.config import content_key
from oncoseg.errors import InputError
from oncoseg.fetch import cache_folder
from oncoseg.files import require_file, sha256, write_json


def fingerprint(root: Path, files: Iterable[Path], about: Any = None) -> str:
    """Hex SHA-256 over the names (relative to `root`) and contents of files.

    Hashes are remembered in the user's cache folder and taken from there while a file's size and
    time of change stay the same, so a data set of many gigabytes is read once. Names of files, which may be those of
    patients, are remembered as hashes too.

    Args:
        root: folder the names are relative to; it does not enter the hash, so data may be moved.
        files: below `root`; a missing file counts as missing, it does not raise.
        about: further plain data that decides what is read (label map, options).
    """
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()
    memory = cache_folder() / "fingerprints" / f"{place[:32]}.json"
    known = _recall(memory)
    found: dict[str, list[Any]] = {}
    names: dict[str, str] = {}
    for file in sorted(set(files)):
        stat = file.stat() if file.is_file() else None
        name = hashlib.sha256(f"{place}/{file.relative_to(root).as_posix()}".encode()).hexdigest()
        names[name] = file.relative_to(root).as_posix()
        state = [stat.st_size, stat.st_mtime_ns] if stat else [None, None]
        same = name in known and known[name][:2] == state
        found[name] = known[name] if same else [*state, sha256(file) if stat else None]
    if any(known.get(name) != entry for name, entry in found.items()):
        _remember(memory, {**known, **found})
    return content_key({"files": {names[name]: entry[2] for name, entry in found.items()}, "about": about})


def weights_fingerprint(weights: Path) -> str:
    """Hex SHA-256 of a weights file, or of everything but pictures and masks in a folder of them.

    Raises:
        InputError: when the file is missing or empty.
    """
    if not weights.is_dir():
        require_file(weights)
        return sha256(weights)
    kinds = (".json", ".pth", ".pt", ".safetensors")
    return fingerprint(weights, (file for file in weights.rglob("*") if file.suffix in kinds))


def _recall(memory: Path) -> dict[str, list[Any]]:
    try:
        held = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # nothing remembered, or a damaged cache: hash again
    return held if isinstance(held, dict) else {}


def _remember(memory: Path, found: dict[str, list[Any]]) -> None:
    try:
        write_json(memory, found)
    except InputError:
        return  # a cache folder that cannot be written to only costs time
