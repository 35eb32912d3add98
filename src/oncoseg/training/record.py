"""The folder of a training: what was asked, the log, the result.

folder/
  training.json            what was asked; another request for the same folder is refused
  training.jsonl           one line a validation, see `Line`; the same in every repetition
  speed.jsonl              as many lines of time and memory, see `speed.Speed`
  state/                   of the running training, see `checkpoint`; removed at the end
  prepared/                cases of a model that prepares them, see `preparing`; removed at the end
  events/                  TensorBoard's files, where they were asked for
  epochs/                  epoch-0001.safetensors ..., the weights after each epoch, where they were asked for
  survey.json              options that the model found in the training cases, see `contracts.Surveying`
  checkpoint.safetensors   the chosen weights, see `oncoseg.weights.trained`
  trained.json             TrainResult; the training is finished when it exists
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncoseg.config import fill, plain
from oncoseg.errors import ConfigError, InputError
from oncoseg.files import read_json, remove_partial, write_json, write_text
from oncoseg.training.speed import Speed

ASKED, LOG, SPEED, RESULT = "training.json", "training.jsonl", "speed.jsonl", "trained.json"
STATE, PREPARED, EVENTS, CHECKPOINT = "state", "prepared", "events", "checkpoint.safetensors"
SURVEY = "survey.json"


def epoch_file(folder: Path, epoch: int) -> Path:
    """Where the weights after an epoch lie."""
    return folder / "epochs" / f"epoch-{epoch:04d}.safetensors"


@dataclass(frozen=True)
class Line:
    """One line of `training.jsonl`; nothing in it depends on time or machine.

    Attributes:
        step: optimiser steps done.
        epoch: epochs done.
        learning_rate: of the newest step, before group factors.
        loss: sum of the losses, mean over the steps since the last line.
        losses: the same for each loss.
        validation: score, None without validation cases or when it is undefined for all of them.
        validated: cases with a defined score.
        scores: of the validation slices that hold tumour, mean over slices, where every epoch is scored.
        watched: further numbers of the model, mean over the steps since the last line.
    """

    step: int
    epoch: float
    learning_rate: float
    loss: float
    losses: dict[str, float]
    validation: float | None
    validated: int
    scores: dict[str, float] = field(default_factory=dict)
    watched: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    Attributes:
        checkpoint: the weights.
        steps: optimiser steps done.
        chosen_step: step the weights are of.
        best: highest validation score, None without validation.
        stopped_early: patience ran out.
        resumed_from: step an earlier, killed process had saved; 0 for none.
        notes: everything that went differently, e.g. damaged states.
    """

    checkpoint: Path
    steps: int
    chosen_step: int
    best: float | None
    stopped_early: bool
    resumed_from: int = 0
    notes: tuple[str, ...] = ()


def claim(folder: Path, asked: Mapping[str, Any]) -> None:
    """Make the folder that of one training.

    Raises:
        ConfigError: when it is already that of another one; names what differs.
        InputError: when it cannot be written to.
    """
    target = folder / ASKED
    if not target.exists():
        write_json(target, asked)
    remove_partial(folder)
    held = read_json(target)
    if held == asked:
        return
    wanted, found = (_flat(side) for side in (asked, held))
    differing = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
    shown = "; ".join(
        f"{key} is {_short(found.get(key))}, asked for {_short(wanted.get(key))}" for key in differing[:3]
    )
    raise ConfigError(f"{folder} holds another training: {shown}. Choose another folder or remove it.")


def surveyed(folder: Path, survey: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What a model finds in its training cases, found once for the folder."""
    target = folder / SURVEY
    if not target.exists():
        write_json(target, plain(survey()))
    held: dict[str, Any] = read_json(target)
    return held


def append(folder: Path, line: Line, speed: Speed | None = None) -> None:
    """Add a line to the log, and one to the record of speed where it was measured, and flush them to disk.

    Raises:
        InputError: when the disk is full.
    """
    _append(folder / LOG, line)
    if speed is not None:
        _append(folder / SPEED, speed)


def truncate(folder: Path, step: int) -> None:
    """Forget the lines after a step: those steps will be done again."""
    for source in (folder / LOG, folder / SPEED):
        if source.exists():
            lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
            # A kill may have cut the last line; it then lies after the last saved step.
            whole = [line for line in lines if line.endswith("}\n")]
            write_text(source, "".join(line for line in whole if json.loads(line)["step"] <= step))


def finish(folder: Path, result: TrainResult, *, keep_state: bool, keep_prepared: bool = False) -> None:
    """Write the result and let go of the state and of prepared cases, unless they are to be kept."""
    write_json(folder / RESULT, plain(result) | {"checkpoint": CHECKPOINT})
    for name, kept in ((STATE, keep_state), (PREPARED, keep_prepared)):
        if not kept and (folder / name).exists():
            shutil.rmtree(folder / name)


def finished(folder: Path) -> TrainResult | None:
    """The result of a finished training, None of one that is not.

    Raises:
        InputError: when the result is damaged.
    """
    source = folder / RESULT
    if not source.exists():
        return None
    held = read_json(source)
    return fill(TrainResult, held | {"checkpoint": str(folder / held["checkpoint"])}, str(source))


def _append(target: Path, line: Line | Speed) -> None:
    try:
        with target.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(plain(line), allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(f"Cannot write {target}: {error.strerror}. Free some space and start again.") from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat
