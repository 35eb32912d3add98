"""Errors a user can act on: each names the wrong file or value and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OncosegError(Exception):
    """Base of every error oncoseg raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


class InputError(OncosegError):
    """A file or value given by the user cannot be used."""

    exit_code = 2


class GridMismatchError(InputError):
    """Two volumes that must share one grid do not."""


class UnknownNameError(InputError):
    """A name that is on no shelf; the message suggests near ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        super().__init__(f"Unknown {kind} '{name}'. {suggest(name, choices)}")
        self.kind, self.name, self.known = kind, name, choices


class ConfigError(InputError):
    """A configuration key or value is wrong."""


class NotApplicableError(InputError):
    """A model has no form for these data: nothing failed, and trying again will not help."""


class UnsafeFileError(InputError):
    """A weights file holds more than tensors and was not opened."""


class FetchError(OncosegError):
    """Something that must come over the network could not be had."""

    exit_code = 3


class PartialFailureError(OncosegError):
    """Some cases or cells failed; the others are finished and kept."""

    exit_code = 4


def suggest(name: str, choices: Iterable[str]) -> str:
    """Say which of `choices` is meant by a misspelt `name`.

    Returns:
        "Did you mean: ...?" when something is near, otherwise the list of choices.

    Example:
        >>> suggest("une", ["unet", "ellipsoid"])
        'Did you mean: unet?'
    """
    choices = list(choices)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if near:
        return f"Did you mean: {', '.join(near)}?"
    return f"Choose from: {', '.join(choices)}." if choices else "There is none to choose from."
