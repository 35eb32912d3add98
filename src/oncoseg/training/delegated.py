"""Trainings that a model does by itself leave the same folder behind as those of our loop; one door for both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from oncoseg.case import Case
from oncoseg.config import plain
from oncoseg.contracts import FitStep, Model, SelfTraining, Trainable
from oncoseg.errors import ConfigError, InputError
from oncoseg.training import record
from oncoseg.training.loader import names_of
from oncoseg.training.loop import Progress, train
from oncoseg.training.ranks import ALONE, Ranks
from oncoseg.training.record import Line, TrainResult
from oncoseg.training.settings import INDIFFERENT, TrainConfig

#: Settings of `TrainConfig` that a model which trains itself understands; all others belong to our loop.
UNDERSTOOD = ("epochs", "seed", "device", "keep_state")
_SCORE = "{name} was watched by a score of its own, on random patches; it is no Dice of whole volumes."


def train_model(
    model: Model,
    *,
    training: Sequence[Case],
    validation: Sequence[Case] = (),
    config: TrainConfig,
    folder: Path,
    dataset: str | None = None,
    start: str | None = None,
    progress: Callable[[Progress], None] = lambda told: None,
    ranks: Ranks = ALONE,
) -> TrainResult:
    """Train a model by our loop or by its own, whichever it has; arguments and errors as `loop.train`.

    Raises:
        InputError: when the model cannot be trained.
        NotApplicableError: when it has no form for these data.
    """
    if isinstance(model, Trainable):
        return train(
            model,
            training=training,
            validation=validation,
            config=config,
            folder=folder,
            dataset=dataset,
            start=start,
            progress=progress,
            ranks=ranks,
        )
    if not isinstance(model, SelfTraining):
        raise InputError(f"{model.info.full_name} cannot be trained. `oncoseg models` says which can.")
    if ranks.count > 1:
        raise ConfigError(f"{model.info.full_name} trains itself, in one process: leave --processes away.")
    return _delegate(model, training, validation, config=config, folder=folder, dataset=dataset, tell=progress)


def _delegate(
    model: SelfTraining,
    training: Sequence[Case],
    validation: Sequence[Case],
    *,
    config: TrainConfig,
    folder: Path,
    dataset: str | None,
    tell: Callable[[Progress], None],
) -> TrainResult:
    _require_understood(model, config)
    if not len(training):
        raise InputError("There is no case to train on. Give a larger fraction or another split.")
    asked = {
        "model": model.info.full_name,
        "options": plain(model.options()),
        "config": {"epochs": config.epochs, "seed": config.seed, "device": config.device},
        "cases": names_of(training),
        "validation_cases": names_of(validation),
        "dataset": dataset,
        "start": None,
    }
    record.claim(folder, asked)
    result = record.finished(folder)
    if result is not None:
        return result
    (folder / record.STATE).mkdir(parents=True, exist_ok=True)
    log = _Log(folder, tell)
    checkpoint = model.fit(
        training=training,
        validation=validation,
        epochs=config.epochs,
        seed=config.seed,
        device=config.device,
        folder=folder,
        dataset=dataset,
        progress=log,
    )
    notes = (_SCORE.format(name=model.info.title),)
    result = TrainResult(checkpoint, log.step, log.step, None, False, log.resumed_from, notes)
    record.finish(folder, result, keep_state=config.keep_state)
    return result


class _Log:
    """Writes the lines of `training.jsonl` and tells the user."""

    def __init__(self, folder: Path, tell: Callable[[Progress], None]) -> None:
        self.folder, self.tell = folder, tell
        self.step, self.steps, self.resumed_from = 0, 0, 0
        self.validation: float | None = None
        self.rate: float | None = None
        self._repeating = self._begun = False

    def __call__(self, told: FitStep) -> None:
        if told.message is not None:
            self.tell(Progress(self.step, self.steps, message=told.message))
            return
        if told.earlier:
            if not self._repeating:
                # A kill may have come between the weights of an epoch and its line: all of them are written anew.
                self._repeating = True
                record.truncate(self.folder, told.step - 1)
            self.resumed_from = told.step
        elif not self._begun:
            self._begun, self.resumed_from = True, told.step - 1
            record.truncate(self.folder, told.step - 1)
        self.step, self.steps, self.rate = told.step, told.steps, told.learning_rate or self.rate
        if told.epoch is not None:
            self.validation = told.validation
            losses = dict(told.losses)
            line = Line(
                told.step,
                told.epoch,
                told.learning_rate or 0.0,
                losses.get("training", 0.0),
                losses,
                told.validation,
                int(told.validation is not None),
            )
            record.append(self.folder, line)
        self.tell(Progress(self.step, self.steps, told.loss, self.validation, self.rate))


def _require_understood(model: SelfTraining, config: TrainConfig) -> None:
    name = model.info.full_name
    if not config.epochs:
        raise ConfigError(f"{name} counts in epochs of its own, which have a fixed number of steps: give --epochs N.")
    for field in dataclasses.fields(TrainConfig):
        if field.name in (*UNDERSTOOD, *INDIFFERENT, "steps"):
            continue
        default = {} if field.default is dataclasses.MISSING else field.default
        if getattr(config, field.name) != default:
            raise ConfigError(
                f"{name} trains itself: '{field.name}' is a setting of our loop and would change nothing. Leave it "
                f"away; it understands {', '.join(UNDERSTOOD)} and the options of the model (--set)."
            )
