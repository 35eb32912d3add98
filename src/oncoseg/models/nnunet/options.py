"""Options of nnU-Net: what it learns, how long, with what, and how it predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oncoseg.config import plain
from oncoseg.dense.options import CLASSES, Labels
from oncoseg.errors import ConfigError


@dataclass(frozen=True)
class NnunetOptions:
    """Everything else nnU-Net decides by itself, from the data.

    Attributes:
        labels: what is told apart: `tumour` alone, or right lung, left lung and tumour (classes 1, 2, 3).
        spacing: mm (slice, row, column) that images are resampled to before nnU-Net sees them; None leaves them
            to nnU-Net's own planning.
        window: HU range that images are clipped to before nnU-Net sees them; None leaves that to nnU-Net too.
        iterations: optimiser steps an epoch.
        validation_iterations: batches of the validation cases behind each epoch's pseudo Dice.
        memory_gb: graphics memory that the planner sizes network, patch and batch for.
        stage_folds: networks of the first stage of the cascade, each predicting the cases it did not see, as
            nnU-Net's cross-validation does; 1 trains a single one, which predicts the cases it was trained on.
        compile: compile the network, which needs a C compiler; on accelerators only.
        processes: for preprocessing and augmentation; 0 for one less than there are cores, 12 at most. Changes
            no result on purpose, nor do the options below what is learnt.
        mirror: average predictions over all flips that were trained.
        step: of the sliding window, in patches.
        folds: of a folder that nnU-Net trained, whose networks are averaged; empty for all that are finished.
        checkpoint: name of the weights file in such a folder.
        label: name of the tumour's label in such a folder, where the names leave it open.
        trust: open files that hold more than tensors and numbers; only for files you made yourself.
        device: that predicts: `auto` takes an accelerator where torch sees one.
        python: interpreter that has `nnunetv2`; None looks for one, see `environment`.
    """

    labels: Labels = "tumour"
    spacing: tuple[float, float, float] | None = None
    window: tuple[float, float] | None = None
    iterations: int = 250
    validation_iterations: int = 50
    memory_gb: float = 8.0
    stage_folds: int = 5
    compile: bool = False
    processes: int = 0
    mirror: bool = True
    step: float = 0.5
    folds: tuple[int, ...] = ()
    checkpoint: str = "checkpoint_final.pth"
    label: str | None = None
    trust: bool = False
    device: str = "auto"
    python: Path | None = None

    def __post_init__(self) -> None:
        rules = {
            "iterations, validation_iterations and stage_folds must be at least 1": min(
                self.iterations, self.validation_iterations, self.stage_folds
            )
            >= 1,
            "memory_gb must be positive": self.memory_gb > 0,
            "processes must not be negative": self.processes >= 0,
            "step must lie above 0 and be at most 1": 0 < self.step <= 1,
            "spacing must be positive": self.spacing is None or min(self.spacing) > 0,
            "window must go from a lower to a higher value": self.window is None or self.window[0] < self.window[1],
        }
        for rule, kept in rules.items():
            if not kept:
                held = ", ".join(f"{name} = {value}" for name, value in plain(self).items() if name in rule.split())
                raise ConfigError(f"nnunet: {rule}; got {held}.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the masks of class 1, 2, ..."""
        return CLASSES[self.labels]


#: Options that say how it is computed, not what is learnt: a checkpoint neither keeps nor fixes them.
FREE = ("compile", "processes", "mirror", "step", "folds", "checkpoint", "label", "trust", "device", "python")
