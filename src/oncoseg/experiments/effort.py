"""What a matrix would take before anything is run: epochs, steps, hours by what was measured, and disk.

Seconds come from earlier runs beside the output folder, else from the table of measurements that is shipped with the
machine named. Where neither knows a training, it is "not measured": nothing is guessed from other networks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg import registry
from oncoseg.config import fill, load_toml
from oncoseg.contracts import Dataset
from oncoseg.errors import OncosegError
from oncoseg.experiments.matrix import Cell, training_config
from oncoseg.experiments.reproducing import room, sources
from oncoseg.experiments.sides import sides
from oncoseg.experiments.store import CELL, is_finished, read_cell
from oncoseg.training.settings import TrainConfig

#: Bytes of a stored weight; while it learns there are its two moments too.
_WEIGHT, _STATE = 4, 12


@dataclass(frozen=True)
class Measured:
    """How long one sample of a training took, forward, backward and step.

    Attributes:
        model: name with its variant.
        seconds: per sample.
        machine: that it was measured on.
        recipes: that show the network an input of this size.
        gpu: whether it was an accelerator.
    """

    model: str
    seconds: float
    machine: str
    recipes: tuple[str, ...] = ()
    gpu: bool = False


@dataclass(frozen=True)
class Effort:
    """What one cell takes.

    Attributes:
        cell: which.
        cases: training cases.
        expected: whether that number is of the published data set, and not of files that were found.
        epochs: through these cases; None where it trains nothing.
        steps: of the optimiser; 0 where a package of its own counts them.
        seconds: of training; None where it was not measured.
        measured: how `seconds` was found, in words; "" when it was not.
        gpu: whether `seconds` is of an accelerator.
        megabytes: of weights, kept and while it trains.
    """

    cell: Cell
    cases: int = 0
    expected: bool = True
    epochs: float | None = None
    steps: int = 0
    seconds: float | None = None
    measured: str = ""
    gpu: bool = False
    megabytes: float = 0.0


def efforts(cells: Iterable[Cell], output: Path) -> list[Effort]:
    """What cells take; equal trainings count once, at the first cell that needs them.

    Args:
        cells: planned; impossible ones are passed over.
        output: folder of the run, whose earlier cells and neighbours were measured.
    """
    known = [*_earlier(output), *_shipped()]
    opened: dict[str, Dataset | None] = {}
    trained: set[str] = set()
    found = []
    for cell in cells:
        if cell.skipped:
            continue
        key = repr([cell.model, cell.source_id or cell.dataset_id, cell.train, cell.fraction, cell.seed, cell.fold])
        found.append(Effort(cell) if key in trained or not cell.trains else _effort(cell, known, opened))
        trained.add(key)
    return found


def _effort(cell: Cell, known: Sequence[Measured], opened: dict[str, Dataset | None]) -> Effort:
    config = training_config(cell.train or {}, cell.seed)
    cases, expected = _cases(cell, opened)
    if _trains_itself(cell):
        return Effort(cell, cases, expected, float(config.epochs), megabytes=_megabytes(cell, config))
    steps = config.total_steps(cases)
    samples = steps * config.batch * config.accumulate
    one = next((m for m in known if _fits(m, cell)), None)
    return Effort(
        cell,
        cases,
        expected,
        float(config.epochs or round(config.epochs_done(steps, max(cases, 1)), 1)),
        steps,
        None if one is None else one.seconds * samples,
        "" if one is None else one.machine,
        one is not None and one.gpu,
        _megabytes(cell, config),
    )


def _trains_itself(cell: Cell) -> bool:
    """Whether another package trains it, by epochs of its own."""
    return cell.model is not None and hasattr(registry.load("models", cell.model.info.name), "INSTALLS")


def _fits(one: Measured, cell: Cell) -> bool:
    """Whether a measurement is of this network on inputs of this size."""
    if cell.model is None or one.model != cell.model.name:
        return False
    return not one.recipes or any(sentence.startswith(f"Recipe {r}:") for r in one.recipes for sentence in cell.recipe)


def _cases(cell: Cell, opened: dict[str, Dataset | None]) -> tuple[int, bool]:
    """Training cases: of the files where they are there, else of the published data set; the latter is told."""
    identifier, spec = cell.source_id or cell.dataset_id, cell.source or cell.dataset
    if identifier not in opened:
        try:
            opened[identifier] = spec.open()
        except OncosegError:
            opened[identifier] = None
    dataset = opened[identifier]
    if dataset is not None:
        return len(sides(cell.at_home, dataset).train), False
    root = str(spec.options.get("root", ""))
    whole = sources()[root].cases if root in sources() else 0
    share = 1 - (spec.split.test if spec.split.test != "all" else 1)
    return max(1, round(whole * share * (1 - spec.split.validation) * cell.fraction)), True


def _megabytes(cell: Cell, config: TrainConfig) -> float:
    if cell.model is None:
        return 0.0
    info = cell.model.info
    kept = (config.epochs if config.keep_every_epoch else 0) + 1
    return (kept * info.parameters * _WEIGHT + info.trainable_parameters * _STATE) / 1e6


def _shipped() -> list[Measured]:
    held: Mapping[str, Any] = load_toml(room() / "throughput.toml")
    return [fill(Measured, values, "throughput.toml") for values in held["measured"]]


def _earlier(output: Path) -> list[Measured]:
    """Medians of trainings in this run and those beside it, of networks of the same size alone."""
    found = []
    for source in sorted([*output.glob(f"*/{CELL}"), *output.parent.glob(f"*/*/{CELL}")]):
        if not is_finished(source.parent):
            continue
        try:
            result = read_cell(source.parent)
        except OncosegError:
            continue
        record, speeds = result.record, [line for line in result.speed if line.get("samples")]
        built, full = record.parameters_built, record.model_info.get("parameters")
        if speeds and built is not None and built == full:
            seconds = statistics.median(line["seconds"] / line["samples"] for line in speeds)
            name = ".".join(filter(None, (record.model, record.variant)))
            recipes = [sentence.partition(":")[0].removeprefix("Recipe ") for sentence in record.recipe[:1]]
            machine = record.provenance.machine
            place = str(machine.get("accelerator") or machine.get("cpu") or "this machine")
            found.append(
                Measured(name, seconds, f"an earlier run on {place}", tuple(recipes), "accelerator" in machine)
            )
    return found


def total(found: Iterable[Effort]) -> dict[str, Any]:
    """Sums as plain data: cells, trainings, steps, hours of what was measured on an accelerator, what was not, disk."""
    listed = list(found)
    training = [e for e in listed if e.epochs is not None]
    on_gpu = [e.seconds for e in training if e.seconds is not None and e.gpu]
    return {
        "cells": len(listed),
        "trainings": len(training),
        "steps": sum(e.steps for e in training),
        "gpu_hours": math.fsum(on_gpu) / 3600 if on_gpu else None,
        "not_measured_on_gpu": sum(not (e.gpu and e.seconds is not None) for e in training),
        "gigabytes": math.fsum(e.megabytes for e in training) / 1000,
    }
