"""The matrix: which models on which data with which prompts, written by hand as TOML.

    name = "demo"

    [dataset.phantom]                  # an id of your own
    use = "phantom"                    # a name from `oncoseg datasets`
    options = { cases = 10 }
    split = { test = 0.4, seed = 0 }

    [[cells]]                          # lists are multiplied out
    dataset = "phantom"
    model = ["unet", "unet.primakov"]
    train = { steps = 300 }
    seed = [0, 1]

    [[cells]]
    dataset = "phantom"
    model = ["deeplabv3", "unet"]
    recipe = "lung-ct-benchmark"       # as that paper trained them; options and train change it
    train = { epochs = 30 }

    [[cells]]
    dataset = "phantom"
    model = ["filled_box", "lite_medsam"]
    prompt = ["box", { use = "box", jitter_mm = 5.0, repeats = 3 }]

    [[cells]]
    dataset = "phantom"
    model = "lite_medsam"              # ten corrections, each after a look at the prediction
    prompt = { use = "centre_click", then = "edt_error", rounds = 10 }

    [[cells]]
    dataset = "msd"
    model = ["m_sam", "unetr"]         # shown 128 voxels round the reference and nothing else, as M-SAM's paper did
    prompt = [{ use = "random_click", around_reference = 128 }, { use = "none", around_reference = 128 }]

    [[cells]]
    dataset = "lidc"
    model = "lite_medsam"
    prompt = "box"
    choose = { crop_px = [96, 192], threshold = [0.3, 0.5, 0.7] }   # the best on the training patients

    [[cells]]
    dataset = ["phantom", "lidc"]
    source = ["phantom", "lidc"]       # trained on one, scored on the other; equal ids are the usual cell
    model = "unet"
    recipe = "smoke"

A combination that makes no sense (a model that takes no such prompt) stays in the plan with the reason.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncoseg.config import fill, load_toml, parse_settings
from oncoseg.errors import ConfigError, suggest
from oncoseg.evaluation.scoring import DEFAULT_METRICS, chosen_protocols, metric
from oncoseg.experiments.recipes import in_words, options_by, recipe, training_by
from oncoseg.experiments.specs import NO_PROMPT, DatasetSpec, ModelSpec, PromptSpec
from oncoseg.training.settings import TrainConfig

#: What `choose` calls the probability above which a voxel is tumour.
THRESHOLD = "threshold"
#: How human readers are called in cells, tables and folders.
HUMAN_READER = "human reader"
_NO_PROMPT = PromptSpec()


@dataclass(frozen=True)
class Block:
    """One `[[cells]]` table; lists are multiplied out.

    Attributes:
        dataset: ids of `[dataset.ID]` tables.
        source: ids of the data sets that are trained on, on the training side of their splits; empty for the data set
            that is scored.
        model: names with variant; the options, weights and training below go to each of them.
        recipe: how each model is built and trained, see `oncoseg models --json`; `options` and `train` change it.
        options: of the model.
        weights: checkpoint to start from, or an id of `oncoseg weights list`.
        train: settings of the training loop; None without a recipe uses the model as it comes.
        fraction: shares of the training patients; 0 scores the model untrained.
        prompt: simulators.
        fold: of the data set's split.
        seed: of initialisation, training and prompt draws; empty for the matrix's.
        threshold: probability above which a voxel is tumour.
        choose: values by option of the model, and by `threshold`; the best on the training patients are taken, see
            `oncoseg.experiments.choosing`.
        human_readers: score each reader against the consensus of the others.
    """

    dataset: tuple[str, ...]
    model: tuple[str, ...] = ()
    recipe: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    train: Mapping[str, Any] | None = None
    fraction: tuple[float, ...] = (1.0,)
    prompt: tuple[PromptSpec, ...] = (_NO_PROMPT,)
    fold: tuple[int, ...] = (0,)
    seed: tuple[int, ...] = ()
    threshold: float = 0.5
    choose: Mapping[str, Any] = field(default_factory=dict)
    human_readers: bool = False
    source: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.source and self.train is None and self.recipe is None:
            raise ConfigError("[[cells]]: source says what is trained on; give train = {...} or a recipe too.")
        if not self.model and not self.human_readers:
            raise ConfigError("[[cells]]: give model = [...] or human_readers = true.")
        if self.train is None and self.recipe is None and self.fraction != (1.0,):
            raise ConfigError(
                "[[cells]]: fraction is the share of the training patients; give train = {...} or a recipe too."
            )
        if any(not 0 <= f <= 1 for f in self.fraction):
            raise ConfigError(f"[[cells]]: fraction is {list(self.fraction)}; give shares from 0 to 1.")
        if self.train is not None and self.recipe is None:
            training_config(self.train, 0)
        for prompt in self.prompt:
            prompt.build()
            prompt.corrector()
        for name, values in self.choose.items():
            if not isinstance(values, list | tuple) or not values:
                raise ConfigError(f"[[cells]]: choose.{name} is {values!r}; give a list of values to choose from.")


@dataclass(frozen=True)
class Cell:
    """One configuration to run.

    Attributes:
        dataset_id: id of its table in the matrix, used in labels.
        dataset, model, prompt: what meets; `model` is None for human readers.
        train: settings of the training loop; None when the model is used as it comes.
        fraction: share of the training patients; 0 when nothing is trained here.
        fold, seed, threshold, metrics, protocols: see `Block` and `Matrix`.
        cost: whether cost is measured.
        choose: values by name, of which the best on the training patients are taken; empty when nothing is open.
        recipe: sentences on the recipe, repeated in every report; empty without one.
        source_id, source: the data set that is trained on where it is another than the one that is scored; "" and None
            where it is the same, or nothing is trained here.
        skipped: why the combination makes no sense; None when it does.
    """

    dataset_id: str
    dataset: DatasetSpec
    model: ModelSpec | None
    prompt: PromptSpec = _NO_PROMPT
    train: Mapping[str, Any] | None = None
    fraction: float = 0.0
    fold: int = 0
    seed: int = 0
    threshold: float = 0.5
    metrics: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("case3d",)
    cost: bool = True
    choose: Mapping[str, Any] = field(default_factory=dict)
    recipe: tuple[str, ...] = ()
    source_id: str = ""
    source: DatasetSpec | None = None
    skipped: str | None = None

    @property
    def at_home(self) -> Cell:
        """The cell whose training this one uses: the same on the data set that is trained on."""
        if self.source is None:
            return self
        return dataclasses.replace(self, dataset_id=self.source_id, dataset=self.source, source_id="", source=None)

    @property
    def trains(self) -> bool:
        """Whether the model is trained for this cell."""
        return self.train is not None and self.fraction > 0

    @property
    def label(self) -> str:
        """For people, e.g. "lite_medsam on lidc, box jitter 5 mm"."""
        name = HUMAN_READER if self.model is None else self.model.name
        parts = [f"{name} on {self.dataset_id}"]
        parts += [self.prompt.label] if self.prompt.info is not None or self.prompt.cube is not None else []
        parts += [f"trained on {self.source_id}"] if self.source_id else []
        parts += [f"{self.fraction:.0%} of training"] if self.train is not None and self.fraction != 1 else []
        parts += [f"fold {self.fold}"] if self.fold else []
        parts += [f"seed {self.seed}"] if self.seed else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Matrix:
    """All cells of a run.

    Attributes:
        name: of the run.
        dataset: id -> data set.
        cells: blocks that are multiplied out by `plan`.
        seed: for blocks that name none.
        metrics: what is measured.
        protocol: scoring protocols; `all` for every one that needs no other object than the tumour.
        cost: whether cost is measured.
    """

    name: str
    dataset: Mapping[str, DatasetSpec]
    cells: tuple[Block, ...]
    seed: int = 0
    metrics: tuple[str, ...] = tuple(DEFAULT_METRICS)
    protocol: tuple[str, ...] = ("case3d",)
    cost: bool = True

    def __post_init__(self) -> None:
        for name in (self.name, *self.dataset):  # they become names of files
            if not re.fullmatch(r"\w[\w .-]*", name):
                raise ConfigError(f"'{name}' names the run or a data set: use letters, digits, '.', '-' and '_'.")
        for name in self.metrics:
            metric(name)
        chosen_protocols(self.protocol)
        for name in itertools.chain.from_iterable((*block.dataset, *block.source) for block in self.cells):
            if name not in self.dataset:
                raise ConfigError(f"[[cells]]: there is no [dataset.{name}]. {suggest(name, self.dataset)}")

    def plan(self) -> list[Cell]:
        """Every cell once, in the order of the file; impossible ones with `skipped` set.

        Raises:
            UnknownNameError: for a model, data set or simulator that is not on its shelf.
        """
        cells = itertools.chain.from_iterable(self._expand(block) for block in self.cells)
        return list({cell_text(cell): cell for cell in cells}.values())

    def _expand(self, block: Block) -> Iterable[Cell]:
        seeds = block.seed or (self.seed,)
        shared: dict[str, Any] = {"metrics": self.metrics, "protocols": chosen_protocols(self.protocol)}
        if block.human_readers:
            for name in block.dataset:
                yield Cell(name, self.dataset[name], None, seed=seeds[0], cost=False, **shared)
        axes = (block.dataset, block.source or ("",), block.model, block.prompt, block.fraction, block.fold, seeds)
        for name, source, model, prompt, fraction, fold, seed in itertools.product(*axes):
            options, train, told = _followed(block, model)
            elsewhere = source if source != name and fraction > 0 else ""
            cell = Cell(
                name,
                self.dataset[name],
                ModelSpec(model, options, _found(block.weights)),
                prompt=prompt,
                train=train,
                fraction=0.0 if train is None else fraction,
                fold=fold,
                seed=seed,
                threshold=block.threshold,
                cost=self.cost,
                choose=block.choose,
                recipe=told,
                source_id=elsewhere,
                source=self.dataset[elsewhere] if elsewhere else None,
                **shared,
            )
            yield dataclasses.replace(cell, skipped=why_impossible(cell))


def load_matrix(path: Path, overrides: Iterable[str] = ()) -> Matrix:
    """Read a matrix.

    Args:
        path: TOML file.
        overrides: `name=value` with dotted names, e.g. "dataset.lung1.options.root=/data/LUNG1".

    Raises:
        InputError: when the file is missing, or a name is on no shelf.
        ConfigError: names the key that is unknown, missing or wrong.
    """
    values = _merge(load_toml(path), parse_settings(overrides))
    tables = values.get("dataset", {})
    if not isinstance(tables, Mapping) or not tables:
        raise ConfigError(f"{path}: give at least one [dataset.NAME] table.")
    datasets = {name: fill(DatasetSpec, _table(t, path), f"{path} [dataset.{name}]") for name, t in tables.items()}
    blocks = values.get("cells", [])
    if not isinstance(blocks, list) or not blocks:
        raise ConfigError(f"{path}: give at least one [[cells]] table.")
    cells = tuple(_block(b, f"{path} [[cells]] {n}") for n, b in enumerate(blocks, start=1))
    as_lists = _lists(values, ("metrics", "protocol"))
    return fill(Matrix, {**as_lists, "dataset": datasets, "cells": cells}, str(path))


def training_config(settings: Mapping[str, Any], seed: int) -> TrainConfig:
    """The `train` table of a matrix as the loop's configuration; the seed is the cell's.

    Raises:
        ConfigError: for an unknown or wrong setting, or a seed among them.
    """
    if "seed" in settings:
        raise ConfigError("[[cells]]: the seed of a training is the cell's; write seed = [...] beside train.")
    return fill(TrainConfig, {**settings, "seed": seed}, "[[cells]]: train")


def why_impossible(cell: Cell) -> str | None:
    """Why a model cannot meet a prompt or a training; None when it can."""
    if cell.model is None:
        return None
    info, simulator = cell.model.info, cell.prompt.info
    takes = " or ".join(info.prompts)
    if simulator is None and info.prompts and not info.prompts_optional:
        return f"{cell.model.name} needs a prompt ({takes}) and the cell gives none"
    if simulator is not None and not set(simulator.prompts) <= set(info.prompts):
        makes = ", ".join(simulator.prompts)
        return f"{cell.model.name} takes {takes or 'no prompt'}, and {cell.prompt.use} makes {makes}"
    corrector = cell.prompt.corrector()
    if corrector is not None and not set(corrector.info.prompts) <= set(info.prompts):
        makes = ", ".join(corrector.info.prompts)
        return f"{cell.model.name} takes {takes or 'no prompt'}, and {cell.prompt.then} corrects with {makes}"
    if cell.trains and not info.trainable:
        return f"{cell.model.name} cannot be trained"
    home = cell.at_home
    if cell.trains and not home.dataset.split.trains:
        return f'all patients of {home.dataset_id} are tested (split.test = "all"), so none is left for training'
    if cell.choose and not home.dataset.split.trains:
        return f'all patients of {home.dataset_id} are tested (split.test = "all"), so none is left to choose on'
    if cell.choose and cell.train is not None and cell.fraction == 0:
        return "nothing can be chosen on 0 % of the training patients"
    for name, spec in {cell.dataset_id: cell.dataset, home.dataset_id: home.dataset}.items():
        if cell.fold >= max(spec.split.folds, 1) and spec.split.file is None:
            return f"the split of {name} has no fold {cell.fold}"
    return None


def cell_text(cell: Cell) -> str:
    """What distinguishes cells of one matrix."""
    return repr(dataclasses.replace(cell, skipped=None))


def _followed(block: Block, model: str) -> tuple[Mapping[str, Any], Mapping[str, Any] | None, tuple[str, ...]]:
    """Options and training of one model of a block, and what is to be said about its recipe."""
    if block.recipe is None:
        return block.options, block.train, ()
    chosen, changed = recipe(model, block.recipe), block.train or {}
    train = training_by(chosen, changed)
    training_config(train, 0)
    told = in_words(block.recipe, chosen, {**block.options, **changed})
    return options_by(chosen, block.options), train, tuple(told)


def _block(values: Any, where: str) -> Block:
    table = _lists(_table(values, where), ("dataset", "source", "model", "fraction", "prompt", "fold", "seed"))
    if "prompt" in table:
        table["prompt"] = [_prompt(p, where) for p in table["prompt"]]
    try:
        return fill(Block, table, where)
    except ConfigError as error:
        raise ConfigError(str(error).replace("[[cells]]: ", f"{where}: ")) from error


def _prompt(value: Any, where: str) -> PromptSpec:
    if isinstance(value, str):
        return PromptSpec(value)
    table = dict(_table(value, f"{where}: 'prompt'"))
    names = ("use", "repeats", "then", "rounds", "around_reference", "around_reference_mm")
    own: dict[str, Any] = {key: table.pop(key) for key in names if key in table}
    if isinstance(own.get("then"), Mapping):
        then = dict(own["then"])
        own |= {"then": then.pop("use", NO_PROMPT), "then_options": then}
    return fill(PromptSpec, {**own, "options": {**table.pop("options", {}), **table}}, f"{where}: 'prompt'")


def _lists(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The same table where a single value may stand for a list of one."""
    return {k: [v] if k in keys and not isinstance(v, list | tuple) else v for k, v in values.items()}


def _table(value: Any, where: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a table, got {value!r}.")
    return value


def _merge(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in overrides.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _found(weights: Path | None) -> Path | None:
    """The weights file of a block, where it gives an id of the catalogue."""
    if weights is None or weights.exists():
        return weights
    from oncoseg.weights.catalogue import named

    return named(weights)
