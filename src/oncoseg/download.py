"""Large files from their address: resumed, tried again, checked by hash, and there whole or not at all."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oncoseg.errors import FetchError
from oncoseg.files import require_writable, sha256

#: Suffix of what has come so far; kept over failures and kills, and gone on with.
PART = ".part"
_BLOCK = 2**20
_TIMEOUT = 30
#: Answers after which trying again may help.
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Remote:
    """A file at an address.

    Attributes:
        url: where it lies.
        sha256: hex hash; None when its makers publish none.
        size: in bytes; None when unknown.
    """

    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """Name of the file in the address."""
        return self.url.rsplit("/", 1)[-1].partition("?")[0]


class _CutError(Exception):
    """The connection ended early or the server is busy; what came is kept."""


def download(
    remote: Remote,
    target: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
    attempts: int = 5,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch a file unless it is there.

    What came before a cut connection, a failure or a kill is kept beside the target (`.part`) and the rest asked for
    with a range request; a server that does not know ranges, or whose file has changed, sends it from the start.

    Args:
        remote: what to fetch.
        target: where to put it; appears whole, after its hash was checked.
        say: told how far it is, about ten times.
        attempts: connections in which nothing new came, before it is given up.
        pause: sleeps between them; seconds.

    Returns:
        `target`.

    Raises:
        FetchError: without a network, when the server refuses, or when size or hash differ; then nothing is kept.
        InputError: when the folder cannot be written to.
    """
    if target.exists():
        return target
    require_writable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    failed = 0
    while True:
        before = _size(part)
        try:
            _continue(remote, part, say)
            break
        except (_CutError, ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError) as error:
            failed = failed + 1 if _size(part) <= before else 0
            if failed >= attempts:
                raise _given_up(remote, target, error) from error
            pause(min(2.0**failed, 30.0))
    _check(remote, part)
    part.replace(target)
    _validator(part).unlink(missing_ok=True)
    return target


def _continue(remote: Remote, part: Path, say: Callable[[str], None]) -> None:
    have = _size(part)
    request = urllib.request.Request(remote.url, headers={"User-Agent": "oncoseg", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if _validator(part).exists():
            request.add_header("If-Range", _validator(part).read_text(encoding="utf-8"))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if have and not resumed:
                part.unlink()
                have = 0
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if tag and not tag.startswith("W/"):
                _validator(part).write_text(tag, encoding="utf-8")
            length = response.headers.get("Content-Length")
            total = None if length is None else have + int(length)
            _receive(response, part, total, _Progress(remote.name, total or remote.size, have, say))
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # all of it is here already, or more than there is
            if have != _whole(error):
                part.unlink()
                raise _CutError("what was kept does not fit the file") from error
        elif error.code in _BUSY:
            raise _CutError(f"the server says {error.code} {error.reason}") from error
        else:
            raise FetchError(
                f"{remote.url} cannot be had: the server says {error.code} {error.reason}. Fetch the file by hand and "
                "register it: oncoseg weights add FILE --as ID."
            ) from error


def _receive(response: http.client.HTTPResponse, part: Path, total: int | None, progress: _Progress) -> None:
    with part.open("ab") as stream:
        while block := response.read(_BLOCK):
            stream.write(block)
            progress(len(block))
    if total is not None and _size(part) < total:
        raise _CutError(f"the connection ended after {_size(part):,} of {total:,} bytes")


class _Progress:
    """Says how far a download is, about every tenth of it."""

    def __init__(self, name: str, total: int | None, done: int, say: Callable[[str], None]) -> None:
        self.name, self.total, self.done, self.say = name, total, done, say
        self.step = max((total or 0) // 10, 10 * _BLOCK)
        self.told = done

    def __call__(self, count: int) -> None:
        self.done += count
        if self.done - self.told >= self.step or (self.done == self.total and self.done > self.told):
            self.told = self.done
            of = f" of {self.total / 1e6:,.0f}" if self.total else ""
            self.say(f"{self.name}: {self.done / 1e6:,.0f}{of} MB")


def _check(remote: Remote, part: Path) -> None:
    size = _size(part)
    problem = None
    if remote.size is not None and size != remote.size:
        problem = f"it has {size:,} bytes, expected {remote.size:,}"
    elif remote.sha256 is not None and (found := sha256(part)) != remote.sha256:
        problem = f"its SHA-256 is {found}, expected {remote.sha256}"
    if problem:
        part.unlink()
        _validator(part).unlink(missing_ok=True)
        raise FetchError(f"{remote.url} is not the expected file: {problem}. Nothing was kept; try again.")


def _whole(error: urllib.error.HTTPError) -> int | None:
    size = error.headers.get("Content-Range", "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


def _validator(part: Path) -> Path:
    """Where the mark is kept by which the server knows that its file has not changed."""
    return part.with_name(part.name + ".etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _given_up(remote: Remote, target: Path, error: Exception) -> FetchError:
    kept = _size(target.with_name(target.name + PART))
    rest = f" {kept / 1e6:,.1f} MB are kept; the same command goes on from there." if kept else ""
    return FetchError(
        f"Could not download {remote.url} ({getattr(error, 'reason', None) or error}).{rest} Connect to the network, "
        "or fetch the file on another machine and register it: oncoseg weights add FILE --as ID."
    )
