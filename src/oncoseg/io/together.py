"""Several files that belong together: all of them appear, or none, and never over what they were made from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from pydicom.dataset import Dataset

from oncoseg.errors import InputError
from oncoseg.files import written_whole

#: Writes one file at the path it is given.
Writer = Callable[[Path], None]


def written_together(writers: Mapping[Path, Writer]) -> None:
    """Write every file beside its place and rename all of them at the end; after an error none is there.

    Raises:
        InputError: when a file cannot be written.
    """
    with ExitStack() as stack:
        temporaries = {target: stack.enter_context(written_whole(target)) for target in writers}
        for target, write in writers.items():
            write(temporaries[target])
        for temporary in temporaries.values():  # a full disk shows here, before the first one is in its place
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())


def saving(made: Dataset) -> Writer:
    """What writes a DICOM object in the file format (PS3.10)."""
    return lambda path: made.save_as(path, enforce_file_format=True)


def require_not_over(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise InputError when a file would be written over an input, or two over each other."""
    kept = {path.resolve() for path in inputs}
    seen: set[Path] = set()
    for target in targets:
        place = target.resolve()
        if place in kept:
            raise InputError(f"{target} is read here and would be written over. Choose another name for the result.")
        if place in seen:
            raise InputError(f"{target} is given twice. Choose a name for each result.")
        if place.is_dir():
            raise InputError(f"{target} is a folder. Give the name of a file.")
        seen.add(place)
