"""One plain training loop for every model; `record` says what it leaves in its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from torch import Tensor

from oncoseg.case import Case
from oncoseg.config import fill, plain
from oncoseg.contracts import Preparing, Surveying, Trainable, Watched
from oncoseg.errors import ConfigError, InputError
from oncoseg.training import record
from oncoseg.training.checkpoint import Counters, load_state, save_state
from oncoseg.training.descent import Descent, repeatable, require_device
from oncoseg.training.event_files import EventFiles
from oncoseg.training.loader import Batch, Samples, batches, names_of
from oncoseg.training.preparing import PreparedFolder, once, prepared_cases
from oncoseg.training.ranks import ALONE, Ranks
from oncoseg.training.record import Line, TrainResult
from oncoseg.training.settings import INDIFFERENT, TrainConfig
from oncoseg.training.speed import Meter
from oncoseg.training.validating import Validate, Validation, means, summed_up, watch
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.trained import About, read_checkpoint, write_checkpoint

_LOG = logging.getLogger(__name__)
_BEST = "best."


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
    if isinstance(model, Surveying):
        cases = (once(training, index) for index in range(len(training)))
        model.take(ranks.share(record.surveyed(folder, lambda: model.survey(cases)) if ranks.first else {}))
    result = _finished(model, folder, ranks)
    if result is not None:
        return result
    if isinstance(model, Preparing):
        about = {key: asked[key] for key in ("model", "options", "dataset")}
        kept = config.prepared if dataset else "memory"
        store = None if kept == "memory" else PreparedFolder(folder / record.PREPARED, about, storage=kept)
        # Every process that prepares batches keeps cases of its own.
        training = prepared_cases(model, training, folder=store, keep_gigabytes=4.0 / max(1, config.workers))
    course = _Course(
        model, config, folder, cases=len(training), dataset=dataset, start=start, tell=progress, ranks=ranks
    )
    with repeatable(course.descent.device):
        course.resume()
        course.run(training, validation, validate)
        return course.finish()


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
        dataset: str | None,
        start: str | None,
        tell: Callable[[Progress], None],
        ranks: Ranks,
    ) -> None:
        self.model, self.config, self.folder, self.tell, self.ranks = model, config, folder, tell, ranks
        self.dataset, self.start = dataset, start
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

    def run(self, training: Sequence[Case], validation: Sequence[Case], validate: Validate | None) -> None:
        """Every step that is left."""
        config = self.config
        if config.redraw:
            self._note("A case of which the model makes no sample is replaced by others, drawn at random (redraw).")
        loaded = self._batches(training)
        events = (
            EventFiles(self.folder / record.EVENTS, self.begin) if self.ranks.first and config.tensorboard else None
        )
        meter = Meter(self.descent.device)
        recent: list[dict[str, float]] = []
        watched: list[Mapping[str, float]] = []
        score = None
        while self.counters.step < self.steps and not self.stopped:
            step = self.counters.step
            rate = config.rate(step, self.cases)
            recent.append(self.descent.step(list(islice(loaded, config.accumulate)), step, rate))
            if isinstance(self.model, Watched):
                watched.append(dict(self.model.watched))
            self.counters = replace(self.counters, step=step + 1)
            meter.count(config.batch * config.accumulate)
            told = Progress(step + 1, self.steps, sum(recent[-1].values()), score, rate)
            told = replace(told, samples_per_second=meter.samples_per_second, memory_bytes=meter.memory_bytes)
            if self._due(config.validate_every):
                meter.pause()
                found = self._validated(validation, validate)
                score = found.score
                line = self._line(recent, watched, rate=rate, found=found)
                recent, watched = [], []
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

    def finish(self) -> TrainResult:
        """Give the model the chosen weights and write them."""
        counters = self.counters
        chosen = counters.best_step if self.best and counters.best_step is not None else counters.step
        # The state of the last step is already saved with the network's own weights.
        if self.best:
            load_strictly(self.model.network, self.best, "The best weights")
        elif self.descent.average:
            self.descent.average.settle()
        target = self.folder / record.CHECKPOINT
        result = TrainResult(target, counters.step, chosen, counters.best, self.stopped, self.begin, tuple(self.notes))
        if self.ranks.first:
            self._write(target, chosen)
            config = self.config
            record.finish(self.folder, result, keep_state=config.keep_state, keep_prepared=config.keep_prepared)
        self.ranks.share(None)  # nobody goes on before the files are there
        return result

    def _write(self, target: Path, step: int) -> None:
        """Write the network's present weights as a checkpoint."""
        info = self.model.info
        about = About(info.name, info.variant, plain(self.model.options()), step, self.dataset, self.start)
        write_checkpoint(target, self.model.network.state_dict(), about)

    def _batches(self, training: Sequence[Case]) -> Iterator[Batch]:
        config = self.config
        return batches(
            Samples(self.model, training, seed=config.seed, per_case=config.samples_per_case, redraw=config.redraw),
            size=config.batch,
            first=self.begin * config.accumulate,
            stop=self.steps * config.accumulate,
            workers=config.workers,
            ranks=self.ranks,
        )

    def _validated(self, cases: Sequence[Case], validate: Validate | None) -> Validation:
        """Scores of the weights as they are; remembers them when they are the best so far, or keeps every epoch's."""
        ours = range(self.ranks.rank, len(cases), self.ranks.count)
        slices = self.config.keep_every_epoch
        with self.descent.chosen():
            watched = {place: watch(self.model, cases[place], validate, slices=slices) for place in ours}
            found = summed_up(watched, len(cases), self.ranks.gather)
            self._judge(found.score)
            if slices and self.ranks.first:
                epoch = self.config.whole_epochs(self.counters.step, self.cases)
                self._write(record.epoch_file(self.folder, epoch), self.counters.step)
        return found

    def _due(self, every: int) -> bool:
        step = self.counters.step
        if self.config.keep_every_epoch:
            ended = self.config.whole_epochs(step, self.cases) > self.config.whole_epochs(step - 1, self.cases)
            return ended or step == self.steps
        return step % every == 0 or step == self.steps

    def _judge(self, score: float | None) -> None:
        """Remember the weights of a better score; a score that is undefined is not better."""
        if score is not None and (self.counters.best is None or score > self.counters.best):
            self.counters = replace(self.counters, best=score, best_step=self.counters.step, stale=0)
            if self.config.select == "best":
                self.best = {name: t.detach().cpu().clone() for name, t in self.model.network.state_dict().items()}
        else:
            self.counters = replace(self.counters, stale=self.counters.stale + 1)

    def _line(
        self,
        recent: Sequence[Mapping[str, float]],
        watched: Sequence[Mapping[str, float]],
        *,
        rate: float,
        found: Validation,
    ) -> Line:
        step, losses = self.counters.step, means(recent)
        epoch, total = self.config.epochs_done(step, self.cases), sum(losses.values())
        return Line(step, epoch, rate, total, losses, found.score, found.scored, found.slices, means(watched))

    def _note(self, text: str) -> None:
        _LOG.warning(text)
        self.notes.append(text)
        self.tell(Progress(self.counters.step, self.steps, message=text))
