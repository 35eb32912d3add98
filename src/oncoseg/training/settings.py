"""What a training is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from oncoseg.config import plain
from oncoseg.errors import ConfigError
from oncoseg.training.schedule import Schedule

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TrainConfig:
    """A training, complete: with the same data and threads it gives the same weights to the last bit.

    Attributes:
        steps: optimiser steps; 0 when `epochs` is given.
        epochs: times every case is visited; 0 when `steps` is given.
        samples_per_case: samples of a case in one epoch.
        batch: samples that go through the network at once.
        accumulate: such batches behind one optimiser step.
        optimiser: `adamw`, `adam`, or `sgd` with Nesterov momentum.
        learning_rate: highest rate.
        group_rates: factor on it for a parameter group, by the group's name.
        weight_decay, momentum: of the optimiser; momentum of `sgd` only.
        schedule, warm_up: how the rate runs, see `rate_factor`; warm-up in steps.
        clip: largest gradient norm of a parameter group; 0 does not clip.
        precision: of the forward pass; weights stay float32.
        validate_every: steps between validations; the log has a line for each.
        save_every: steps between saved states, a multiple of `validate_every`; 0 saves at every validation.
        patience: validations without a better score after which training stops; 0 never stops early.
        select: which weights are kept: of the `best` validation, or the `last`.
        seed: of data order and every random choice.
        workers: processes that prepare batches; does not change them.
        device: `auto` takes an accelerator where torch sees one.
        keep_state: keep the last optimiser state after the end, e.g. to compare it.
    """

    steps: int = 0
    epochs: int = 0
    samples_per_case: int = 1
    batch: int = 8
    accumulate: int = 1
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    group_rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    momentum: float = 0.99
    schedule: Schedule = "poly"
    warm_up: int = 0
    clip: float = 0.0
    precision: Precision = "float32"
    validate_every: int = 100
    save_every: int = 0
    patience: int = 0
    select: Literal["best", "last"] = "best"
    seed: int = 0
    workers: int = 0
    device: str = "auto"
    keep_state: bool = False

    def __post_init__(self) -> None:
        positive = (self.samples_per_case, self.batch, self.accumulate, self.validate_every)
        not_negative = (self.steps, self.epochs, self.weight_decay, self.warm_up, self.clip, self.save_every)
        rules = {
            "give either steps or epochs, above 0": (self.steps > 0) != (self.epochs > 0),
            "samples_per_case, batch, accumulate and validate_every must be at least 1": min(positive) >= 1,
            "learning_rate and group_rates must be positive": min([self.learning_rate, *self.group_rates.values()]) > 0,
            "steps, epochs, weight_decay, warm_up, clip and save_every must not be negative": min(not_negative) >= 0,
            "seed, patience and workers must not be negative": min(self.seed, self.patience, self.workers) >= 0,
            "momentum must lie in 0 to 1": 0 <= self.momentum < 1,
            "save_every must be a multiple of validate_every": self.save_every % self.validate_every == 0,
        }
        for rule, kept in rules.items():
            if not kept:
                held = ", ".join(f"{name} = {value}" for name, value in plain(self).items() if name in rule)
                raise ConfigError(f"training: {rule}; got {held}.")

    def total_steps(self, cases: int) -> int:
        """Optimiser steps of a training on so many cases; epochs are rounded up to whole steps."""
        if self.steps:
            return self.steps
        return -(-self.epochs * cases * self.samples_per_case // (self.batch * self.accumulate))


#: Fields that change how fast and with what left behind, but not what is learnt.
INDIFFERENT = ("workers", "keep_state")
