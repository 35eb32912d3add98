"""One plain training loop for every model; `record` says what it leaves in its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from oncoseg.case import Case
from oncoseg.config import fill, plain
from oncoseg.contracts import Preparing, Trainable, ValidatedWithPrompts
from oncoseg.errors import ConfigError, InputError
from oncoseg.evaluation.metrics.dice import dice
from oncoseg.evaluation.pair import MaskPair
from oncoseg.training import record
from oncoseg.training.checkpoint import Counters, load_state, save_state
from oncoseg.training.descent import Descent, repeatable, require_device
from oncoseg.training.event_files import EventFiles
from oncoseg.training.loader import Batch, Samples, batches, names_of
from oncoseg.training.preparing import PreparedFolder, prepared_cases
from oncoseg.training.ranks import ALONE, Ranks
from oncoseg.training.record import Line, TrainResult
from oncoseg.training.settings import INDIFFERENT, TrainConfig
from oncoseg.training.speed import Meter
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
        learning_rate: of the newest step, before group factors; None in a message.
        samples_per_second: since the last validation, of all processes together; None in a message.
        memory_bytes: largest resident memory of this process since then; None in a message.
        message: something the user should know, e.g. a damaged state that was passed over.
    """

    step: int
    steps: int
    loss: float | None = None
    validation: float | None = None
    learning_rate: float | None = None
    samples_per_second: float | None = None
    memory_bytes: int | None = None
    message: str | None = None

    @property
    def numbers(self) -> str:
        """The numbers in one short line; "" for a message."""
        parts = (
            ("loss {:.3f}", self.loss),
            ("validation Dice {:.3f}", self.validation),
            ("rate {:.2g}", self.learning_rate),
            ("{:.3g} samples/s", self.samples_per_second),
            ("{:.2g} GB", None if self.memory_bytes is None else self.memory_bytes / 1e9),
        )
        return "  ".join(text.format(number) for text, number in parts if number is not None)


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
    ranks: Ranks = ALONE,
) -> TrainResult:
    """Train a model, or go on with a training that was killed; the model holds the chosen weights afterwards.

    Called again with the same folder, data and configuration it goes on from the last saved state and ends
    with the same weights, optimiser and log as one that was never killed (on the CPU, with the same number
    of threads and processes); a finished training is only read back.

    Args:
        model: what to train; its present weights are the start.
        training: cases, or `CasesOnDemand`.
        validation: cases for choosing weights and stopping early; may be empty.
        config: how.
        folder: for checkpoint, log and state; made when missing. Only the first process uses it, but for cases
            that the model prepares.
        dataset: fingerprint of the data, written into the checkpoint. Without it cases that the model prepares are
            kept in memory alone: files could not be told from those of other data.
        start: SHA-256 of the weights the model begins with; None when they are new.
        validate: score of one case, the higher the better; None takes the Dice of `predict` without prompts.
        progress: told after every step.
        ranks: processes that train together, from `oncoseg.training.ranks.joined`.

    Raises:
        ConfigError: when the folder holds another training, for patience without validation cases, or a batch that
            cannot be divided among the processes.
        InputError: without training cases, or when the folder cannot be written to or the disk is full; the
            newest saved state stays whole.
        OncosegError: when the loss is no longer a number.
    """
    if not len(training):
        raise InputError("There is no case to train on. Give a larger fraction or another split.")
    if config.patience and not len(validation):
        raise ConfigError("patience needs validation cases to judge by. Give some, or set patience to 0.")
    if config.batch % ranks.count:
        raise ConfigError(
            f"A batch of {config.batch} cannot be divided among {ranks.count} processes. Choose a multiple for batch."
        )
    asked = {
        "model": model.info.full_name,
        "options": plain(model.options()),
        "config": {key: value for key, value in plain(config).items() if key not in INDIFFERENT},
        "cases": names_of(training),
        "validation_cases": names_of(validation),
        "dataset": dataset,
        "start": start,
    }
    require_device(config.device, ranks)
    if ranks.first:
        record.claim(folder, asked)
    result = _finished(model, folder, ranks)
    if result is not None:
        return result
    if isinstance(model, Preparing):
        about = {key: asked[key] for key in ("model", "options", "dataset")}
        kept = config.prepared if dataset else "memory"
        store = None if kept == "memory" else PreparedFolder(folder / record.PREPARED, about, storage=kept)
        # Every process that prepares batches keeps cases of its own.
        training = prepared_cases(model, training, folder=store, keep_gigabytes=4.0 / max(1, config.workers))
    course = _Course(model, config, folder, cases=len(training), tell=progress, ranks=ranks)
    with repeatable(course.descent.device):
        course.resume()
        course.run(training, validation, validate or tumour_dice)
        return course.finish(dataset)


def tumour_dice(model: Trainable, case: Case) -> float | None:
    """Dice of `predict` at probability 0.5 against the tumour mask; None when both are empty.

    A promptable model gets its own `validation_prompts`; without one it is not asked and has found nothing.
    """
    prompts = model.validation_prompts(case) if isinstance(model, ValidatedWithPrompts) else []
    if model.info.prompts and not prompts:
        nothing = case.image.with_voxels(np.zeros(case.image.shape, bool))
        return dice(MaskPair(case.mask(), nothing).counts).value
    probability = model.predict(case.image, prompts)
    predicted = probability.with_voxels(probability.voxels >= 0.5)
    return dice(MaskPair(case.mask(), predicted).counts).value


def _finished(model: Trainable, folder: Path, ranks: Ranks) -> TrainResult | None:
    """The result of a training that had ended, its weights in the model; None where there is none yet."""
    held = record.finished(folder) if ranks.first else None
    shared = ranks.share(plain(held))
    if shared is None:
        return None
    result = fill(TrainResult, shared, str(folder / record.RESULT))
    weights = ranks.share_tensors(read_checkpoint(result.checkpoint).state if ranks.first else {})
    load_strictly(model.network, weights, str(result.checkpoint))
    return result


class _Course:
    """A training under way: the model with its optimisers, how far it is, its best weights so far."""

    def __init__(
        self,
        model: Trainable,
        config: TrainConfig,
        folder: Path,
        *,
        cases: int,
        tell: Callable[[Progress], None],
        ranks: Ranks,
    ) -> None:
        self.model, self.config, self.folder, self.tell, self.ranks = model, config, folder, tell, ranks
        self.cases, self.steps = cases, config.total_steps(cases)
        self.descent = Descent(model, config, ranks)
        self.counters = Counters(processes=ranks.count)
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
        loaded = self._batches(training)
        events = (
            EventFiles(self.folder / record.EVENTS, self.begin) if self.ranks.first and config.tensorboard else None
        )
        meter = Meter(self.descent.device)
        recent: list[dict[str, float]] = []
        score = None
        while self.counters.step < self.steps and not self.stopped:
            step = self.counters.step
            rate = config.rate(step, self.cases)
            recent.append(self.descent.step(list(islice(loaded, config.accumulate)), step, rate))
            self.counters = replace(self.counters, step=step + 1)
            meter.count(config.batch * config.accumulate)
            told = Progress(step + 1, self.steps, sum(recent[-1].values()), score, rate)
            told = replace(told, samples_per_second=meter.samples_per_second, memory_bytes=meter.memory_bytes)
            if self._due(config.validate_every):
                meter.pause()
                score, scored = self._validated(validation, validate)
                line = self._line(recent, rate, score, scored)
                recent = []
                speed = meter.end(step + 1)
                if self.ranks.first:
                    record.append(self.folder, line, speed)
                if events:
                    events.add(line, speed)
                if self._due(config.save_every or config.validate_every) or self.stopped:
                    self.save()
            self.tell(replace(told, validation=score))
        if events:
            events.close()

    def save(self) -> None:
        """Write the state, from which another process can go on."""
        if not self.ranks.first:
            return
        tensors, scaler = self.descent.state()
        tensors |= {_BEST + name: tensor for name, tensor in self.best.items()}
        save_state(self.folder / record.STATE, tensors, replace(self.counters, scaler=scaler))

    def resume(self) -> None:
        """Go back to the newest whole state; without one, save the start, so that every resume begins alike."""
        state = load_state(self.folder / record.STATE, self._note) if self.ranks.first else None
        if self.ranks.first and state is None:
            self.save()
        saved, scaler = self.descent.state()
        start = replace(self.counters, scaler=scaler)
        counters = fill(Counters, self.ranks.share(plain(state.counters if state else start)), record.STATE)
        if state is not None or self.ranks.count > 1:
            tensors = self.ranks.share_tensors(state.tensors if state else saved)
            self.descent.restore(tensors, counters.scaler)
            best = {name: tensor for name, tensor in tensors.items() if name.startswith(_BEST)}
            self.best = {name.removeprefix(_BEST): tensor for name, tensor in best.items()}
        self.begin = counters.step
        if counters.processes != self.ranks.count:
            self._note(
                f"From step {counters.step} on {self.ranks.count} processes train in place of {counters.processes}: "
                "the last bits of the weights depend on that."
            )
        self.counters = replace(counters, processes=self.ranks.count)
        if self.ranks.first:
            record.truncate(self.folder, self.begin)

    def finish(self, dataset: str | None) -> TrainResult:
        """Give the model the chosen weights and write them."""
        info, counters = self.model.info, self.counters
        chosen = counters.best_step if self.best and counters.best_step is not None else counters.step
        # The state of the last step is already saved with the network's own weights.
        if self.best:
            load_strictly(self.model.network, self.best, "The best weights")
        elif self.descent.average:
            self.descent.average.settle()
        target = self.folder / record.CHECKPOINT
        result = TrainResult(target, counters.step, chosen, counters.best, self.stopped, self.begin, tuple(self.notes))
        if self.ranks.first:
            about = About(info.name, info.variant, plain(self.model.options()), chosen, dataset)
            write_checkpoint(target, self.model.network.state_dict(), about)
            config = self.config
            record.finish(self.folder, result, keep_state=config.keep_state, keep_prepared=config.keep_prepared)
        self.ranks.share(None)  # nobody goes on before the files are there
        return result

    def _batches(self, training: Sequence[Case]) -> Iterator[Batch]:
        config = self.config
        return batches(
            Samples(self.model, training, seed=config.seed, per_case=config.samples_per_case),
            size=config.batch,
            first=self.begin * config.accumulate,
            stop=self.steps * config.accumulate,
            workers=config.workers,
            ranks=self.ranks,
        )

    def _validated(self, cases: Sequence[Case], validate: Validate) -> tuple[float | None, int]:
        """Mean of the defined scores and their number; remembers the weights when they are the best so far."""
        ours = range(self.ranks.rank, len(cases), self.ranks.count)
        with self.descent.chosen():
            found = {place: validate(self.model, cases[place]) for place in ours}
            scores = [s for s in self.ranks.gather([found.get(n) for n in range(len(cases))]) if s is not None]
            score = sum(scores) / len(scores) if scores else None
            self._judge(score)
        return score, len(scores)

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

    def _line(self, recent: Sequence[dict[str, float]], rate: float, score: float | None, scored: int) -> Line:
        step = self.counters.step
        losses = {name: sum(found[name] for found in recent) / len(recent) for name in recent[0]}
        epoch = self.config.epochs_done(step, self.cases)
        return Line(step, epoch, rate, sum(losses.values()), losses, score, scored)

    def _note(self, text: str) -> None:
        _LOG.warning(text)
        self.notes.append(text)
        self.tell(Progress(self.counters.step, self.steps, message=text))
