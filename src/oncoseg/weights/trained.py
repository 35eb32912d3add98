"""Checkpoints of models trained here: the network's tensors and what is needed to build it again.

One safetensors file. Its metadata has the single key `oncoseg` with JSON: several keys would be
stored in random order, and equal trainings would give files of different hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from oncoseg.config import fill, plain
from oncoseg.contracts import ModelInfo
from oncoseg.errors import ConfigError, InputError
from oncoseg.files import written_whole
from oncoseg.weights.loading import SAFE_SUFFIX, read_metadata, read_tensors

KEY = "oncoseg"


@dataclass(frozen=True)
class About:
    """What a checkpoint says of itself.

    Attributes:
        model, variant: names on the shelf.
        options: what `build` was given.
        step: optimiser steps behind these weights.
        dataset: fingerprint of the training data, None when it was not given.
        began: SHA-256 of the weights file that the training began with, None when they were new.
    """

    model: str
    variant: str
    options: dict[str, Any]
    step: int = 0
    dataset: str | None = None
    began: str | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Tensors of the network, what they are (None for a file of other makers) and the file's SHA-256."""

    state: dict[str, Tensor]
    about: About | None
    sha256: str


def write_checkpoint(target: Path, state: Mapping[str, Tensor], about: About) -> None:
    """Write a checkpoint whole.

    Raises:
        InputError: when the folder cannot be written to or the disk is full; an older file stays.
    """
    write_tensors(target, state, {KEY: json.dumps(plain(about), sort_keys=True, allow_nan=False)})


def read_checkpoint(source: Path) -> Checkpoint:
    """Read a checkpoint written here, or a foreign weights file, for which `about` is None.

    Raises:
        InputError: as `read_tensors`, or when the file's description is damaged.
    """
    content = read_tensors(source)
    return Checkpoint(content.state, _about(content.metadata, source), content.sha256)


def read_about(source: Path) -> About | None:
    """What a checkpoint says of itself, without reading its tensors; None for a foreign file.

    Raises:
        InputError: when the file's description is damaged.
    """
    if source.suffix != SAFE_SUFFIX:
        return None
    return _about(read_metadata(source), source)


def _about(metadata: Mapping[str, str], source: Path) -> About | None:
    if KEY not in metadata:
        return None
    try:
        return fill(About, json.loads(metadata[KEY]), str(source))
    except (json.JSONDecodeError, ConfigError) as error:
        raise InputError(f"{source} does not say what model it is ({error}). Copy it again.") from error


def agreed(
    about: About | None, info: ModelInfo, variant: str | None, options: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """The variant and options to build a model with: those of its checkpoint.

    Args:
        about: of the checkpoint, None for a file that does not say; then what was asked for is returned.
        info: any variant of the model that is to be built.
        variant: asked for, None for whatever the checkpoint has.
        options: asked for; may repeat those of the checkpoint.

    Raises:
        ConfigError: when the checkpoint is of another model or variant, or an option differs.
    """
    if about is None:
        return variant, dict(options)
    if about.model != info.name or (variant is not None and variant != about.variant):
        asked = f"{info.name}.{variant}" if variant else info.name
        raise ConfigError(f"The weights are of {about.model}.{about.variant}, not of {asked}. Name the model they fit.")
    for key, value in plain(options).items():
        if key not in about.options or about.options[key] != value:
            held = about.options.get(key, "nothing")
            raise ConfigError(
                f"Option '{key}' is {value!r}, but the weights were made with {held!r}. "
                "Leave the option away: a checkpoint brings its own."
            )
    return about.variant, dict(about.options)


def write_tensors(target: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file whole; equal content gives an equal hash when `metadata` has one key.

    Raises:
        InputError: when the folder cannot be written to or the disk is full; an older file stays.
    """
    # Tied weights share memory, which safetensors refuses: each tensor gets its own.
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    with written_whole(target) as partial:
        try:
            save_file(own, partial, metadata)
        except SafetensorError as error:
            raise InputError(f"Cannot write {target}: {error}. Choose another place or free some space.") from error
