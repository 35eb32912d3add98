"""Prompts as JSON files; a mask prompt is a file of its own beside the JSON, which names it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oncoseg.errors import InputError
from oncoseg.files import read_json
from oncoseg.io.images import read_mask, write_volume
from oncoseg.prompt import MaskPrompt, Prompt, from_json, to_json
from oncoseg.volume import Volume


def read_prompts(source: Path, image: Volume) -> list[Prompt]:
    """The prompts of a JSON file, checked against the image they are for.

    Args:
        source: a list as `oncoseg.prompt.from_json` reads it; files that it names lie beside it or have a full path.
        image: must hold every prompt.

    Raises:
        InputError: names the file, the item and what is wrong with it.
    """
    return prompts_from(read_json(source), image, folder=source.parent, source=source)


def prompts_from(items: Any, image: Volume, *, folder: Path, source: Path | None = None) -> list[Prompt]:
    """Prompts from plain data that lay in a folder; raises InputError, which names `source`."""
    try:
        return from_json(items, image, lambda name: read_mask(folder / name))
    except InputError as error:
        raise InputError(f"{source or folder}: {error}") from error


def prompts_into(prompts: Iterable[Prompt], folder: Path, stem: str) -> list[dict[str, Any]]:
    """Prompts as plain data; masks are written to `folder` as `STEM.NUMBER.nii.gz`.

    Args:
        prompts: what a model is given.
        folder: that the plain data will lie in.
        stem: place in the folder and first part of the files' names, e.g. "prompts/case-1".
    """

    def write(prompt: MaskPrompt, number: int) -> str:
        name = f"{stem}.{number}.nii.gz"
        write_volume(folder / name, prompt.mask)
        return name

    return to_json(prompts, write)
