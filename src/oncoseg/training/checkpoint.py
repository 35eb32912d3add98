"""The state of a running training on disk: whole, checked by hash, the previous one kept.

state/
  state-00000200.safetensors   tensors: network, best network so far, optimisers
  state-00000200.json          SHA-256 of the tensors, counters; written after them
Nothing is pickled. A tensor file without its JSON was cut short by a kill and is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oncoseg.config import fill, plain
from oncoseg.errors import InputError
from oncoseg.files import read_json, remove_partial, sha256, write_json
from oncoseg.weights.loading import read_tensors
from oncoseg.weights.trained import write_tensors

#: States kept: the newest, and one to fall back to.
KEPT = 2


@dataclass(frozen=True)
class Counters:
    """How far a training has come.

    Attributes:
        step: optimiser steps done.
        best, best_step: highest validation score so far and when; None before the first.
        stale: validations since then.
        scaler: loss scale and steps since it last grew, in float16 trainings.
        processes: among which batches were divided; another number rounds differently.
    """

    step: int = 0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    scaler: dict[str, float] | None = None
    processes: int = 1


@dataclass(frozen=True)
class _Manifest:
    sha256: str
    counters: Counters


@dataclass(frozen=True, eq=False)
class State:
    """A state as read from disk."""

    counters: Counters
    tensors: dict[str, Tensor]


def save_state(folder: Path, tensors: Mapping[str, Tensor], counters: Counters) -> None:
    """Write a state whole, then forget all but the previous one.

    Raises:
        InputError: when the folder cannot be written to or the disk is full; older states stay.
    """
    target = folder / f"state-{counters.step:08d}.safetensors"
    write_tensors(target, tensors, {})
    write_json(target.with_suffix(".json"), plain(_Manifest(sha256(target), counters)))
    for manifest in _manifests(folder)[KEPT:]:
        manifest.unlink()
        manifest.with_suffix(".safetensors").unlink(missing_ok=True)


def load_state(folder: Path, report: Callable[[str], None]) -> State | None:
    """The newest whole state, None when there is none yet.

    Args:
        folder: of the states; temporaries of killed processes in it are removed.
        report: told about every damaged state that was passed over.

    Raises:
        InputError: when there are states and none is whole.
    """
    remove_partial(folder)
    manifests = _manifests(folder)
    for stray in folder.glob("state-*.safetensors"):
        if stray.with_suffix(".json") not in manifests:
            stray.unlink()
    for manifest in manifests:
        try:
            return _read(manifest)
        except InputError as error:
            report(f"{error} The training goes on from an older state.")
    if manifests:
        raise InputError(f"No state in {folder} is whole. Remove the folder to start the training again.")
    return None


def optimiser_tensors(name: str, optimiser: Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as flat tensors `optimiser.<name>.<parameter number>.<entry>`."""
    return {
        f"optimiser.{name}.{number}.{entry}": value
        for number, entries in optimiser.state_dict()["state"].items()
        for entry, value in entries.items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(name: str, optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the state that `optimiser_tensors` made of it."""
    parameters: list[nn.Parameter] = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if match := re.fullmatch(rf"optimiser\.{re.escape(name)}\.(\d+)\.(\w+)", key):
            number = int(match[1])
            # Memory laid out as the parameter's: another layout may round differently in the last bit.
            like = parameters[number] if value.shape == parameters[number].shape and value.ndim else value
            state.setdefault(number, {})[match[2]] = torch.empty_like(like, device="cpu").copy_(value)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _read(manifest: Path) -> State:
    source = manifest.with_suffix(".safetensors")
    held = fill(_Manifest, read_json(manifest), str(manifest))
    if not source.exists() or sha256(source) != held.sha256:
        raise InputError(f"{source} is damaged or missing: its SHA-256 is not that of its manifest.")
    return State(held.counters, read_tensors(source).state)


def _manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.json"), reverse=True)
