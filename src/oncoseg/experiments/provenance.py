"""Where a result comes from: versions, hashes, seeds, machine and times; no names of people, hosts or folders."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

import oncoseg
from oncoseg.score import Provenance

_PACKAGES = ("numpy", "scipy", "torch", "transformers", "safetensors", "nibabel", "pydicom", "highdicom", "pynrrd")
#: Rooms whose code cannot change a score.
_WITHOUT_INFLUENCE = ("cli", "report")


@dataclass(frozen=True)
class Clock:
    """When something began.

    Attributes:
        started: ISO 8601 UTC.
        ticks: of the monotonic clock, in seconds.
    """

    started: str = field(default_factory=lambda: now())
    ticks: float = field(default_factory=time.monotonic)


def now() -> str:
    """The time as ISO 8601 UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(
    clock: Clock,
    *,
    hashes: Mapping[str, str],
    seeds: Mapping[str, int],
    command: str | None = None,
    fallbacks: tuple[str, ...] = (),
) -> Provenance:
    """The record of something that began at `clock` and ends now.

    Args:
        clock: made at the beginning.
        hashes: what -> SHA-256.
        seeds: what -> seed.
        command: the command line; folders are left out of it.
        fallbacks: everything that was done differently from what was asked.
    """
    return Provenance(
        versions=versions(),
        hashes={**hashes, "code": code_hash()},
        seeds=dict(seeds),
        machine=machine(),
        started=clock.started,
        finished=now(),
        seconds=round(time.monotonic() - clock.ticks, 3),
        command=None if command is None else without_folders(command),
        fallbacks=list(fallbacks),
    )


def versions() -> dict[str, str]:
    """Versions of oncoseg, Python and the installed libraries that decide results; nothing is imported."""
    found = {"oncoseg": oncoseg.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | float]:
    """Processor, cores, memory (GiB), accelerator and threads; torch is asked only when it is loaded already."""
    facts: dict[str, str | float] = {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "platform": f"{platform.system()} {platform.machine()}",
        "accelerator": "none",
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["torch_threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            facts["accelerator"] = torch.cuda.get_device_name()
    return facts


@cache
def code_hash() -> str:
    """Hex SHA-256 over the sources of oncoseg that can change a score."""
    root = Path(oncoseg.__file__).parent
    digest = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        inside = source.relative_to(root)
        if inside.parts[0] not in _WITHOUT_INFLUENCE:
            digest.update(f"{inside.as_posix()}\0".encode() + source.read_bytes() + b"\0")
    return digest.hexdigest()


def without_folders(text: str) -> str:
    """`text` with every absolute path reduced to its last part.

    Example:
        >>> without_folders("oncoseg bench /home/ann/lung1.toml --set dataset.lung1.options.root=/data/LUNG1")
        'oncoseg bench lung1.toml --set dataset.lung1.options.root=LUNG1'
    """
    return re.sub(r"""(^|[\s='"(])~?/(?:[^\s'",;)/]+/)*(?=[^\s/])""", r"\1", text)


def _cpu() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
