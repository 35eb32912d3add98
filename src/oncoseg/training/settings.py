"""What a training is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from oncoseg.config import plain
from oncoseg.errors import ConfigError
from oncoseg.training.schedule import Schedule, rate_factor

Precision = Literal["float32", "bfloat16", "float16"]
Keep = Literal["memory", "blosc2", "plain"]


@dataclass(frozen=True)
class TrainConfig:
    """A training, complete: with the same data, threads and processes it gives the same weights to the last bit.

    Attributes:
        steps: optimiser steps; 0 when `epochs` is given.
        epochs: epochs; 0 when `steps` is given.
        epoch_steps: optimiser steps that count as one epoch, e.g. nnU-Net's 250; 0 for as many as visit every case.
        samples_per_case: samples of a case in one visit.
        batch: samples that go through the network at once; several processes share them.
        accumulate: such batches behind one optimiser step.
        optimiser: `adamw`, `adam`, or `sgd`.
        learning_rate: highest rate.
        group_rates: factor on it for a parameter group, by the group's name, or by that of the loss that moves it.
        weight_decay, momentum: of the optimiser; momentum of `sgd` only.
        nesterov: momentum of `sgd` is Nesterov's, as in nnU-Net; else the plain one.
        schedule, warm_up, milestones, gamma: how the rate runs, see `rate_factor`; `milestones` and `gamma` are of
            `multistep`.
        rate_every: whether the rate changes, and `warm_up` and `milestones` count, by `step` or by `epoch`. The
            poly schedule of nnU-Net is by epoch, that of TransUNet by step.
        ema: decay of the exponential moving average of the weights, e.g. 0.999, which is then what is validated and
            kept, see `oncoseg.training.average`; 0 averages nothing.
        clip: largest gradient norm of all parameters that one loss moves; 0 does not clip.
        precision: of the forward pass; weights stay float32.
        validate_every: steps between validations; the log has a line for each.
        save_every: steps between saved states, a multiple of `validate_every`; 0 saves at every validation.
        patience: validations without a better score after which training stops; 0 never stops early.
        select: which weights are kept: of the `best` validation, or the `last`.
        seed: of data order and every random choice.
        redraw: a case of which the model makes no sample (e.g. because its tumour is too small) is replaced by others,
            drawn at random, as in SAM-Med3D's loader; without it, such a case ends the training with an error.
        workers: processes that prepare batches; does not change them.
        device: `auto` takes an accelerator where torch sees one.
        prepared: where cases wait that the model has prepared (resampled): in `memory` alone, or on disk as well,
            `plain` (mapped: only what is looked at is read, and all processes share one copy) or packed by
            `blosc2` (smaller, but unpacked whole for every sample where memory is short).
        keep_state: keep the last optimiser state after the end, e.g. to compare it.
        keep_prepared: keep the prepared cases after the end.
        tensorboard: write TensorBoard's event files too.
        keep_every_epoch: keep the weights at the end of every epoch, in `epochs/`, and score each of them: the log
            gets a line an epoch, with Dice, sensitivity and specificity of the validation slices that hold tumour.
            Validations and states are then those, in place of `validate_every` and `save_every`.
    """

    steps: int = 0
    epochs: int = 0
    epoch_steps: int = 0
    samples_per_case: int = 1
    batch: int = 8
    accumulate: int = 1
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    group_rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    momentum: float = 0.99
    nesterov: bool = True
    schedule: Schedule = "poly"
    warm_up: int = 0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    rate_every: Literal["step", "epoch"] = "step"
    ema: float = 0.0
    clip: float = 0.0
    precision: Precision = "float32"
    validate_every: int = 100
    save_every: int = 0
    patience: int = 0
    select: Literal["best", "last"] = "best"
    seed: int = 0
    redraw: bool = False
    workers: int = 0
    device: str = "auto"
    prepared: Keep = "plain"
    keep_state: bool = False
    keep_prepared: bool = False
    tensorboard: bool = False
    keep_every_epoch: bool = False

    def __post_init__(self) -> None:
        positive = (self.samples_per_case, self.batch, self.accumulate, self.validate_every)
        counts = (self.steps, self.epochs, self.epoch_steps, self.warm_up, self.save_every)
        rising = all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False))
        rules = {
            "give either steps or epochs, above 0": (self.steps > 0) != (self.epochs > 0),
            "samples_per_case, batch, accumulate and validate_every must be at least 1": min(positive) >= 1,
            "learning_rate and group_rates must be positive": min([self.learning_rate, *self.group_rates.values()]) > 0,
            "steps, epochs, epoch_steps, warm_up and save_every must not be negative": min(counts) >= 0,
            "weight_decay and clip must not be negative": min(self.weight_decay, self.clip) >= 0,
            "seed, patience and workers must not be negative": min(self.seed, self.patience, self.workers) >= 0,
            "momentum and ema must lie in 0 to 1": 0 <= self.momentum < 1 and 0 <= self.ema < 1,
            "save_every must be a multiple of validate_every": self.save_every % self.validate_every == 0,
            "milestones must rise from above 0, and gamma be above 0 and at most 1": rising and 0 < self.gamma <= 1,
            "milestones belong to schedule multistep, which needs some": bool(self.milestones)
            == (self.schedule == "multistep"),
        }
        for rule, kept in rules.items():
            if not kept:
                held = ", ".join(f"{name} = {value}" for name, value in plain(self).items() if name in rule)
                raise ConfigError(f"training: {rule}; got {held}.")

    def total_steps(self, cases: int) -> int:
        """Optimiser steps of a training on so many cases; epochs are rounded up to whole steps."""
        if self.steps:
            return self.steps
        if self.epoch_steps:
            return self.epochs * self.epoch_steps
        return -(-self.epochs * cases * self.samples_per_case // (self.batch * self.accumulate))

    def epochs_done(self, step: int, cases: int) -> float:
        """Epochs behind so many optimiser steps on so many cases."""
        done, whole = self._fraction(step, cases)
        return done / whole

    def whole_epochs(self, step: int, cases: int) -> int:
        """Epochs that so many optimiser steps on so many cases have finished."""
        done, whole = self._fraction(step, cases)
        return done // whole

    def rate(self, step: int, cases: int) -> float:
        """Learning rate of a step (from 0) of a training on so many cases, before `group_rates`."""
        steps = self.total_steps(cases)
        place, places = step, steps
        if self.rate_every == "epoch":
            done, whole = self._fraction(step, cases)
            last, _ = self._fraction(steps, cases)
            place, places = done // whole, self.epochs or -(-last // whole)
        return self.learning_rate * rate_factor(
            place,
            places=places,
            schedule=self.schedule,
            warm_up=self.warm_up,
            milestones=self.milestones,
            gamma=self.gamma,
        )

    def group_rate(self, group: str) -> float:
        """Factor on the learning rate for a parameter group: its own, else that of its loss, else 1."""
        return self.group_rates.get(group, self.group_rates.get(loss_of(group), 1.0))

    def _fraction(self, step: int, cases: int) -> tuple[int, int]:
        """Epochs behind a step as a fraction of whole numbers, which never falls a bit short of a whole epoch."""
        if self.epoch_steps:
            return step, self.epoch_steps
        return step * self.batch * self.accumulate, cases * self.samples_per_case


def loss_of(group: str) -> str:
    """The loss that moves a parameter group.

    Example:
        >>> loss_of("network.encoder"), loss_of("critic")
        ('network', 'critic')
    """
    return group.partition(".")[0]


#: Fields that change how fast and with what left behind, but not what is learnt.
INDIFFERENT = ("workers", "prepared", "keep_state", "keep_prepared", "tensorboard")
