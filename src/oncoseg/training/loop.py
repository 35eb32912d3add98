"""One plain training loop for every model; `record` says what it leaves in its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from torch import Tensor

from oncoseg.case import Case
from oncoseg.config import plain
from oncoseg.contracts import Trainable
from oncoseg.errors import ConfigError, InputError
from oncoseg.evaluation.metrics.dice import dice
from oncoseg.evaluation.pair import MaskPair
from oncoseg.training import record
from oncoseg.training.checkpoint import Counters, load_state, save_state
from oncoseg.training.descent import Descent, repeatable, require_device
from oncoseg.training.loader import Samples, batches, names_of
from oncoseg.training.record import Line, TrainResult
from oncoseg.training.schedule import rate_factor
from oncoseg.training.settings import INDIFFERENT, TrainConfig
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.trained import About, read_checkpoint, write_checkpoint

_LOG = logging.getLogger(__name__)
_BEST = "best."

#: Scores a validation case; higher is better, None is undefined and left out of the mean.
Validate = Callable[[Trainable, Case], float | None]


@dataclass(frozen=True)
class Progress:
    """Where a training stands, told after every step.

    Attributes:
        step, steps: done and planned.
        loss: of the newest step; None in a message.
        validation: newest validation score, None before the first.
        message: something the user should know, e.g. a damaged state that was passed over.
    """

    step: int
    steps: int
    loss: float | None = None
    validation: float | None = None
    message: str | None = None


def train(
    model: Trainable,
    *,
    training: Sequence[Case],
    validation: Sequence[Case] = (),
    config: TrainConfig,
    folder: Path,
    dataset: str | None = None,
    start: str | None = None,
    validate: Validate | None = None,
    progress: Callable[[Progress], None] = lambda told: None,
) -> TrainResult:
    """Train a model, or go on with a training that was killed; the model holds the chosen weights afterwards.

    Called again with the same folder, data and configuration it goes on from the last saved state and ends
    with the same weights, optimiser and log as one that was never killed (on the CPU, with the same number
    of threads); a finished training is only read back.

    Args:
        model: what to train; its present weights are the start.
        training: cases, or `CasesOnDemand`.
        validation: cases for choosing weights and stopping early; may be empty.
        config: how.
        folder: for checkpoint, log and state; made when missing.
        dataset: fingerprint of the data, written into the checkpoint.
        start: SHA-256 of the weights the model begins with; None when they are new.
        validate: score of one case, the higher the better; None takes the Dice of `predict` without prompts.
        progress: told after every step.

    Raises:
        ConfigError: when the folder holds another training, or for patience without validation cases.
        InputError: without training cases, or when the folder cannot be written to or the disk is full; the
            newest saved state stays whole.
        OncosegError: when the loss is no longer a number.
    """
    if not len(training):
        raise InputError("There is no case to train on. Give a larger fraction or another split.")
    if config.patience and not len(validation):
        raise ConfigError("patience needs validation cases to judge by. Give some, or set patience to 0.")
    asked = {
        "model": model.info.full_name,
        "options": plain(model.options()),
        "config": {key: value for key, value in plain(config).items() if key not in INDIFFERENT},
        "cases": names_of(training),
        "validation_cases": names_of(validation),
        "dataset": dataset,
        "start": start,
    }
    require_device(config.device)
    record.claim(folder, asked)
    result = record.finished(folder)
    if result is not None:
        load_strictly(model.network, read_checkpoint(result.checkpoint).state, str(result.checkpoint))
        return result
    course = _Course(model, config, folder, steps=config.total_steps(len(training)), tell=progress)
    with repeatable(course.descent.device):
        course.resume()
        course.run(training, validation, validate or tumour_dice)
        return course.finish(dataset)


def tumour_dice(model: Trainable, case: Case) -> float | None:
    """Dice of `predict` at probability 0.5 against the tumour mask; None when both are empty."""
    probability = model.predict(case.image)
    predicted = probability.with_voxels(probability.voxels >= 0.5)
    return dice(MaskPair(case.mask(), predicted).counts).value


class _Course:
    """A training under way: the model with its optimisers, how far it is, its best weights so far."""

    def __init__(
        self, model: Trainable, config: TrainConfig, folder: Path, *, steps: int, tell: Callable[[Progress], None]
    ) -> None:
        self.model, self.config, self.folder, self.steps, self.tell = model, config, folder, steps, tell
        self.descent = Descent(model, config)
        self.counters = Counters()
        self.best: dict[str, Tensor] = {}
        self.begin = 0
        self.notes: list[str] = []

    @property
    def stopped(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.config.patience <= self.counters.stale

    def run(self, training: Sequence[Case], validation: Sequence[Case], validate: Validate) -> None:
        """Every step that is left."""
        config = self.config
        samples = Samples(self.model, training, seed=config.seed, per_case=config.samples_per_case)
        first, stop = self.begin * config.accumulate, self.steps * config.accumulate
        loaded = batches(samples, size=config.batch, first=first, stop=stop, workers=config.workers)
        recent: list[dict[str, float]] = []
        score = None
        while self.counters.step < self.steps and not self.stopped:
            step = self.counters.step
            share = rate_factor(step, steps=self.steps, schedule=config.schedule, warm_up=config.warm_up)
            rate = config.learning_rate * share
            recent.append(self.descent.step(list(islice(loaded, config.accumulate)), step, rate))
            self.counters = replace(self.counters, step=step + 1)
            loss = sum(recent[-1].values())
            if self._due(config.validate_every):
                scores = [s for s in (validate(self.model, case) for case in validation) if s is not None]
                score = sum(scores) / len(scores) if scores else None
                self._judge(score)
                epoch = (
                    self.counters.step * config.batch * config.accumulate / (len(training) * config.samples_per_case)
                )
                record.append(self.folder, _line(recent, self.counters.step, epoch, rate, score, len(scores)))
                recent = []
                if self._due(config.save_every or config.validate_every) or self.stopped:
                    self.save()
            self.tell(Progress(self.counters.step, self.steps, loss, score))

    def save(self) -> None:
        """Write the state, from which another process can go on."""
        tensors, scaler = self.descent.state()
        tensors |= {_BEST + name: tensor for name, tensor in self.best.items()}
        save_state(self.folder / record.STATE, tensors, replace(self.counters, scaler=scaler))

    def resume(self) -> None:
        """Go back to the newest whole state; without one, save the start, so that every resume begins alike."""
        state = load_state(self.folder / record.STATE, self._note)
        if state is None:
            self.save()
        else:
            self.descent.restore(state.tensors, state.counters.scaler)
            best = {name: tensor for name, tensor in state.tensors.items() if name.startswith(_BEST)}
            self.best = {name.removeprefix(_BEST): tensor for name, tensor in best.items()}
            self.counters = state.counters
            self.begin = state.counters.step
        record.truncate(self.folder, self.begin)

    def finish(self, dataset: str | None) -> TrainResult:
        """Give the model the chosen weights and write them."""
        info, counters = self.model.info, self.counters
        chosen = counters.best_step if self.best and counters.best_step is not None else counters.step
        if self.best:
            load_strictly(self.model.network, self.best, "The best weights")
        target = self.folder / record.CHECKPOINT
        about = About(info.name, info.variant, plain(self.model.options()), chosen, dataset)
        write_checkpoint(target, self.model.network.state_dict(), about)
        result = TrainResult(target, counters.step, chosen, counters.best, self.stopped, self.begin, tuple(self.notes))
        record.finish(self.folder, result, keep_state=self.config.keep_state)
        return result

    def _due(self, every: int) -> bool:
        return self.counters.step % every == 0 or self.counters.step == self.steps

    def _judge(self, score: float | None) -> None:
        """Remember the weights of a better score; a score that is undefined is not better."""
        if score is not None and (self.counters.best is None or score > self.counters.best):
            self.counters = replace(self.counters, best=score, best_step=self.counters.step, stale=0)
            if self.config.select == "best":
                self.best = {name: t.detach().cpu().clone() for name, t in self.model.network.state_dict().items()}
        else:
            self.counters = replace(self.counters, stale=self.counters.stale + 1)

    def _note(self, text: str) -> None:
        _LOG.warning(text)
        self.notes.append(text)
        self.tell(Progress(self.counters.step, self.steps, message=text))


def _line(
    recent: Sequence[dict[str, float]], step: int, epoch: float, rate: float, score: float | None, scored: int
) -> Line:
    losses = {name: sum(found[name] for found in recent) / len(recent) for name in recent[0]}
    return Line(step, epoch, rate, sum(losses.values()), losses, score, scored)
