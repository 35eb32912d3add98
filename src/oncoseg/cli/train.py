"""`oncoseg train`: train a model on a data set, or go on with a training that was stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oncoseg.cli.show import say

if TYPE_CHECKING:
    from oncoseg.contracts import Dataset
    from oncoseg.experiments.splits import Split
    from oncoseg.training.loop import Progress

Settings = list[str] | None
#: Set by torchrun in the processes it starts.
_LAUNCHED = "TORCHELASTIC_RUN_ID"


def train(
    model: Annotated[str, typer.Argument(help="A trainable model, or a checkpoint to start from.")],
    dataset: Annotated[str, typer.Argument(help="A name from `oncoseg datasets`, or a prepared folder.")],
    out: Annotated[Path, typer.Option(help="Folder of this training; the same command goes on after a stop.")],
    weights: Annotated[
        Path | None, typer.Option(help="Start from this weights file, e.g. an official one, or an id of the catalogue.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="How a paper trained it; `oncoseg models --json` lists them.")
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="Optimiser steps.")] = 0,
    epochs: Annotated[int, typer.Option(min=0, help="Times every case is visited, in place of --steps.")] = 0,
    fraction: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the training patients.")] = 1.0,
    split: Annotated[Path | None, typer.Option(help="Split file; default: one is drawn and kept in --out.")] = None,
    test: Annotated[float, typer.Option(min=0.0, max=0.99, help="Share of patients kept for testing.")] = 0.2,
    validation: Annotated[float, typer.Option(min=0.0, max=0.99, help="Share of the rest that chooses weights.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Of split, initialisation and data order.")] = 0,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples at once; 8 without a recipe.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share every batch, one for each GPU.")] = 1,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files too.")] = False,
    settings: Annotated[Settings, typer.Option("--set", help="Option of the model, name=value. Repeatable.")] = None,
    data: Annotated[Settings, typer.Option("--data", help="Option of the data set, name=value. Repeatable.")] = None,
    lungs: Annotated[
        str | None, typer.Option(help="Give cases lungs: drawn, classical, or your weights file of lungmask.")
    ] = None,
    loop: Annotated[
        Settings, typer.Option("--train", help="Setting of the loop, e.g. learning_rate=3e-4. Repeatable.")
    ] = None,
) -> None:
    """Train a model. Can be killed at any time; the same command goes on and ends with the same weights."""
    from oncoseg.cli.settings import named_model, open_dataset, open_model
    from oncoseg.config import fill, parse_settings, plain
    from oncoseg.contracts import SelfTraining, Trainable
    from oncoseg.errors import InputError
    from oncoseg.experiments.identity import weights_hash
    from oncoseg.experiments.specs import ModelSpec
    from oncoseg.experiments.splits import Split, cases_of, training_fraction
    from oncoseg.training.delegated import train_model
    from oncoseg.training.loader import CasesOnDemand
    from oncoseg.training.ranks import joined

    given = {"steps": steps, "epochs": epochs, "batch": batch, "device": device, "precision": precision}
    given |= {"tensorboard": tensorboard}
    changed = {name: value for name, value in given.items() if value} | parse_settings(loop or [])
    options = parse_settings(settings or [])
    tell = say if _speaks() else _silent
    if recipe is not None:
        options, changed = _by_recipe(model, recipe, options, changed, tell)
    config = _config(changed, seed)
    if processes > 1:
        _several(processes)
    opened = open_dataset(dataset, data or [], lungs)
    _seed_everything(seed)
    name, start = named_model(model, weights)
    built = open_model(name, start, options)
    if not isinstance(built, Trainable | SelfTraining):
        raise InputError(f"{model} cannot be trained. `oncoseg models` says which can.")
    with joined() as ranks:
        drawn = _split(split, out, opened, test=test, validation=validation, seed=seed) if ranks.first else None
        sides = fill(Split, ranks.share(plain(drawn)), "split")
        entries = opened.entries()
        training = cases_of(training_fraction(sides.train, fraction, seed), entries)
        held = cases_of(sides.validation, entries)
        tell(
            f"{built.info.full_name}: {len(training)} cases to train on, {len(held)} to choose weights, "
            f"{len(cases_of(sides.test, entries))} kept for testing ({out / 'split.json'})"
        )
        with _bar(built.info.full_name) as progress:
            result = train_model(
                built,
                training=CasesOnDemand(opened.load, training),
                validation=CasesOnDemand(opened.load, held),
                config=config,
                folder=out,
                dataset=opened.fingerprint(),
                start=weights_hash(ModelSpec(name, options, start)),
                progress=progress,
                ranks=ranks,
            )
    best = "" if result.best is None else f", best validation Dice {result.best:.3f}"
    tell(f"wrote {result.checkpoint} (step {result.chosen_step} of {result.steps}{best})")
    tell(f"use it: oncoseg predict {result.checkpoint} IMAGE --out mask.nii.gz")


def _several(processes: int) -> None:
    """Become torchrun, which starts this command in so many processes; in one of those nothing happens."""
    if _LAUNCHED in os.environ:
        return
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--max-restarts=3"]
    os.execv(sys.executable, [sys.executable, *launcher, "-m", "oncoseg.cli.main", *sys.argv[1:]])


def _speaks() -> bool:
    """Whether this is the one process that talks to the user: the only one, or torchrun's first."""
    return _LAUNCHED not in os.environ or os.environ.get("RANK") == "0"


def _silent(text: str) -> None:
    """Say nothing."""


def _bar(name: str) -> AbstractContextManager[Callable[[Progress], None]]:
    from oncoseg.cli.progress import training_bar

    return training_bar(name) if _speaks() else nullcontext(lambda step: None)


def _by_recipe(
    model: str, name: str, options: dict[str, Any], changed: dict[str, Any], tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options and settings of a recipe with what the user changed; says what the recipe is and leaves open."""
    from oncoseg.experiments import recipes

    chosen = recipes.recipe(model, name)
    for sentence in recipes.in_words(name, chosen, {**options, **changed}):
        tell(sentence)
    return recipes.options_by(chosen, options), recipes.training_by(chosen, changed)


def _config(asked: dict[str, Any], seed: int) -> Any:
    from oncoseg.config import fill
    from oncoseg.errors import ConfigError
    from oncoseg.training.settings import TrainConfig

    if not asked.get("steps") and not asked.get("epochs"):
        raise ConfigError("Say how long to train: --steps N or --epochs N, or take a --recipe.")
    return fill(TrainConfig, {**asked, "seed": seed}, "--train")


def _split(file: Path | None, out: Path, dataset: Dataset, *, test: float, validation: float, seed: int) -> Split:
    """The split of a file, of an earlier start of this training, or a new one; kept in the training's folder."""
    from oncoseg.experiments.splits import hold_out, load_splits, require_fit, save_splits

    kept = out / "split.json"
    source = file or (kept if kept.exists() else None)
    if source is not None:
        splits = load_splits(source)
        require_fit(splits, dataset.entries(), str(source))
    else:
        splits = hold_out(dataset.entries(), test, seed, validation_share=validation)
    if not kept.exists():
        save_splits(kept, splits)
    return splits.folds[0]


def _seed_everything(seed: int) -> None:
    import torch

    torch.manual_seed(seed)
