"""Leases: one worker a cell, whatever the number of processes and machines that share the folder.

A lease saves work, it does not carry correctness: two workers that finish the same cell write the same
scores, and the later rename is harmless.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from oncoseg.files import write_text

LEASE = "lease"
#: How long a lease lasts without being renewed; it is renewed every third of that.
DURATION_S = 60.0


@contextmanager
def leased(folder: Path, duration_s: float = DURATION_S) -> Iterator[bool]:
    """Claim `folder` for the block, renewing the claim in the background.

    Yields:
        True when the folder is ours; False when somebody else's lease has not run out (nothing is claimed).
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = uuid.uuid4().hex
    if not _claim(folder / LEASE, owner, duration_s):
        yield False
        return
    ended = threading.Event()
    renewing = threading.Thread(target=_keep, args=(folder / LEASE, owner, duration_s, ended), daemon=True)
    renewing.start()
    try:
        yield True
    finally:
        ended.set()
        renewing.join()
        if _read(folder / LEASE).get("owner") == owner:
            (folder / LEASE).unlink(missing_ok=True)


def wait_for(folder: Path, poll_s: float = 0.2, give_up: Callable[[], bool] = lambda: False) -> None:
    """Return once nobody holds a valid lease on `folder`, or `give_up` says so."""
    while (folder / LEASE).exists() and not _has_ended(folder / LEASE) and not give_up():
        time.sleep(poll_s)


def release(folder: Path) -> None:
    """Remove the lease that a killed process left in a folder; a valid one stays."""
    if (folder / LEASE).exists():
        with leased(folder):
            pass


def _claim(lease: Path, owner: str, duration_s: float) -> bool:
    if lease.exists() and _has_ended(lease):
        # Renaming takes the old lease away from exactly one of several takers.
        taken = lease.with_name(f"{LEASE}-{owner}")
        try:
            lease.rename(taken)
        except FileNotFoundError:
            return False
        taken.unlink()
    try:
        descriptor = os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(_content(owner, duration_s))
    return True


def _keep(lease: Path, owner: str, duration_s: float, ended: threading.Event) -> None:
    while not ended.wait(duration_s / 3):
        if _read(lease).get("owner") != owner:
            return
        write_text(lease, _content(owner, duration_s))


def _content(owner: str, duration_s: float) -> str:
    holder = {"owner": owner, "process": os.getpid(), "machine": _machine(), "expires": time.time() + duration_s}
    return json.dumps(holder)


def _has_ended(lease: Path) -> bool:
    held = _read(lease)
    if not held:
        # Either just being written, or its writer died between creating and writing it.
        return lease.exists() and time.time() - lease.stat().st_mtime > DURATION_S
    if held["machine"] == _machine() and not psutil.pid_exists(held["process"]):
        return True
    return bool(held["expires"] < time.time())


def _read(lease: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(lease.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content


def _machine() -> str:
    """The same text on the same machine, without its name."""
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()}".encode()).hexdigest()[:16]
