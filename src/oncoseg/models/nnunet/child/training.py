"""Fingerprint, plan, preprocessing and training, each skipped when an earlier process has done it."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Tell = Callable[[dict[str, Any]], None]
#: Files are known by these names inside nnU-Net's folders.
PLANS, FINGERPRINT = "nnUNetPlans", "dataset_fingerprint.json"
_LATEST, _FINAL, _PREDICTED = "checkpoint_latest.pth", "checkpoint_final.pth", "oncoseg_predicted"


def plan(job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Measure the cases and plan.

    Args:
        job: `dataset` (name), `number`, `memory_gb`, `processes`.
        tell: told what is being done.

    Returns:
        nnU-Net's `plans` and `fingerprint`, and its version.
    """
    from importlib.metadata import version

    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    folder = _preprocessed(job)
    if not _is_done(folder, "fingerprint"):
        tell({"doing": "measuring the cases"})
        api.extract_fingerprints([job["number"]], num_processes=job["processes"], clean=True, show_progress_bar=False)
        _done(folder, "fingerprint")
    if not _is_done(folder, "plan"):
        tell({"doing": "planning"})
        api.plan_experiments([job["number"]], gpu_memory_target_in_gb=job["memory_gb"])
        _done(folder, "plan")
    plans, fingerprint = (json.loads((folder / name).read_text()) for name in (f"{PLANS}.json", FINGERPRINT))
    return {"plans": plans, "fingerprint": fingerprint, "version": version("nnunetv2")}


def train(job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Preprocess and train every network of a job.

    Args:
        job: of `plan`, and `networks` ((configuration, fold, whether the next stage needs its predictions), ...),
            `configurations` to preprocess, `epochs`, `iterations`, `validation_iterations`, `seed`, `device`.
        tell: told what is being done, and every step and epoch.

    Returns:
        `checkpoints`: path of the trained weights, one a network; `parameters`: of each.
    """
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    folder = _preprocessed(job)
    for name in job["configurations"]:
        if not _is_done(folder, name):
            tell({"doing": f"preprocessing for {name}"})
            api.preprocess([job["number"]], PLANS, (name,), (job["processes"],), show_progress_bar=False)
            _done(folder, name)
    steps = job["epochs"] * job["iterations"]
    checkpoints, parameters = [], []
    for number, (configuration, fold, predicts) in enumerate(job["networks"]):
        course = _Course(job, tell, done=number * steps, planned=len(job["networks"]) * steps)
        trainer, finished = _trainer(job, configuration, fold)
        tell({"doing": f"training {configuration}{'' if len(job['networks']) == 1 else f', network {number + 1}'}"})
        course.repeat(trainer)
        if not finished:
            course.watch(trainer)
            _seed(job["seed"] + number, trainer.current_epoch)
            trainer.run_training()
        marker = Path(trainer.output_folder) / _PREDICTED
        if predicts and not marker.exists():
            tell({"doing": f"predicting with {configuration} for the next stage"})
            trainer.perform_actual_validation(False)
            marker.touch()
        checkpoints.append(str(Path(trainer.output_folder) / _FINAL))
        parameters.append(sum(p.numel() for p in trainer.network.parameters()))
    return {"checkpoints": checkpoints, "parameters": parameters}


def _trainer(job: dict[str, Any], configuration: str, fold: int | str) -> tuple[Any, bool]:
    """nnU-Net's own trainer, as far as an earlier process has come, and whether it has ended."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    folder = _preprocessed(job)
    plans = json.loads((folder / f"{PLANS}.json").read_text())
    described = json.loads((folder / "dataset.json").read_text())
    output = _place("nnUNet_results") / job["dataset"] / f"nnUNetTrainer__{PLANS}__{configuration}"
    saved = next((p for p in (output / f"fold_{fold}" / n for n in (_FINAL, _LATEST)) if p.exists()), None)
    trainer = nnUNetTrainer(
        plans={**plans, "continue_training": saved is not None},
        configuration=configuration,
        fold=fold,
        dataset_json=described,
        device=torch.device(job["device"]),
    )
    trainer.num_epochs = job["epochs"]
    trainer.num_iterations_per_epoch = job["iterations"]
    trainer.num_val_iterations_per_epoch = job["validation_iterations"]
    trainer.save_every = max(1, job["epochs"] // 100)
    trainer.plot_network_architecture = lambda: None  # needs a package that no longer works, and says so at length
    _save_whole(trainer)
    trainer.initialize()
    if saved is not None:
        trainer.load_checkpoint(str(saved))
    return trainer, saved is not None and saved.name == _FINAL


def _save_whole(trainer: Any) -> None:
    """Checkpoints appear by rename: nnU-Net writes them in place, and a kill would leave half a file."""
    save = trainer.save_checkpoint

    def whole(filename: str) -> None:
        partial = f"{filename}.partial"
        save(partial)
        os.replace(partial, filename)

    trainer.save_checkpoint = whole


class _Course:
    """Tells how a training goes on, from inside nnU-Net's loop."""

    def __init__(self, job: dict[str, Any], tell: Tell, *, done: int, planned: int) -> None:
        self.job, self.tell, self.done, self.planned = job, tell, done, planned
        self.here = 0

    def watch(self, trainer: Any) -> None:
        step, end = trainer.train_step, trainer.on_epoch_end
        self.here = trainer.current_epoch * self.job["iterations"]

        def one_step(batch: Any) -> Any:
            result = step(batch)
            self.here += 1
            self.tell({"step": self.done + self.here, "steps": self.planned, "loss": _number(result["loss"])})
            return result

        def epoch_end() -> None:
            told = self._epoch(trainer, trainer.current_epoch)
            end()
            self.tell(told)

        trainer.train_step, trainer.on_epoch_end = one_step, epoch_end

    def repeat(self, trainer: Any) -> None:
        """Tell the epochs that an earlier process finished: it may have been killed before it told of the last one."""
        for epoch in range(trainer.current_epoch):
            self.tell({**self._epoch(trainer, epoch), "earlier": True})

    def _epoch(self, trainer: Any, epoch: int) -> dict[str, Any]:
        """What nnU-Net wrote down of one epoch, counted from 0."""
        value = trainer.logger.get_value
        losses = {"training": value("train_losses", epoch), "validation": value("val_losses", epoch)}
        return {
            "step": self.done + (epoch + 1) * self.job["iterations"],
            "steps": self.planned,
            "epoch": self.done // self.job["iterations"] + epoch + 1,
            "learning_rate": _number(value("lrs", epoch)),
            "losses": {name: _number(loss) for name, loss in losses.items()},
            "dice": [_number(v) for v in value("dice_per_class_or_region", epoch)],
        }


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _seed(seed: int, epoch: int) -> None:
    """Repeats the initial draws; nnU-Net's augmentation runs in processes whose order is left to chance."""
    mixed = (seed * 1_000_003 + epoch) % 2**32
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def _place(variable: str) -> Path:
    return Path(os.environ[variable])


def _preprocessed(job: dict[str, Any]) -> Path:
    folder: Path = _place("nnUNet_preprocessed") / job["dataset"]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_done(folder: Path, what: str) -> bool:
    return (folder / f"{what}.done").exists()


def _done(folder: Path, what: str) -> None:
    (folder / f"{what}.done").touch()
