"""Options of models and data sets on the command line: `--set name=value`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg import registry
from oncoseg.cli.show import say
from oncoseg.config import fill, load_toml, parse_settings
from oncoseg.contracts import Dataset, Model, choose_variant
from oncoseg.errors import ConfigError, InputError, UnknownNameError

if TYPE_CHECKING:
    from oncoseg.experiments.specs import DatasetSpec


def open_model(name: str, weights: Path | None, options: Mapping[str, Any], *, trained: bool = False) -> Model:
    """A model by name (`unet.primakov`), a checkpoint or training folder of `oncoseg train`, or a foreign one.

    Args:
        name: of a model, or the path of a checkpoint.
        weights: for a name; None takes the catalogue's, if there are any.
        options: of the model.
        trained: refuse a network that would have random weights.

    Raises:
        UnknownNameError: for a name that is neither.
        InputError: for weights that are missing or do not fit.
    """
    name, weights = named_model(name, weights)
    base, variant = registry.split_variant(name)
    module = registry.load("models", base)
    info = choose_variant(module.INFOS, variant)
    published = info.weights
    if trained and weights is None and published is None and info.trainable:
        raise InputError(
            f"{info.full_name} knows nothing yet: {_published_for(info.name)}. Train it "
            f"(oncoseg train {name} DATASET --out FOLDER --steps N) and predict with that folder, or give --weights."
        )
    if weights is None and published is not None and not options.get("random_weights"):
        from oncoseg.weights.catalogue import locate

        weights = locate(published, say)
    model: Model = module.build(variant, weights=weights, **options)
    return model


def _published_for(model: str) -> str:
    """Which weights of the catalogue a model reads, in words."""
    from oncoseg.weights.catalogue import read_by

    ids = [known.id for known in read_by(model)]
    if not ids:
        return "no published weights are known for it"
    return (
        f"it comes without weights, but reads those of {', '.join(ids)} (e.g. --weights {ids[0]}; see: oncoseg weights)"
    )


def named_model(name: str, weights: Path | None) -> tuple[str, Path | None]:
    """The name of a model with its variant, and its weights file: what `name` says, which may be a checkpoint.

    In place of a file `weights` may be an id of the catalogue.

    Raises:
        InputError: for weights that are missing or given twice, or a checkpoint that does not say whose it is.
    """
    checkpoint = checkpoint_of(name)
    if checkpoint is not None:
        if weights is not None:
            raise InputError(f"{name} is a checkpoint already; leave --weights out or give the model's name.")
        return _described(checkpoint), checkpoint
    if weights is not None and not weights.exists():
        from oncoseg.weights.catalogue import named

        weights = named(weights, say)
        if not weights.exists():
            raise InputError(f"Weights {weights} do not exist. Check the path, or see: oncoseg weights list.")
    return name, weights


def checkpoint_of(name: str) -> Path | None:
    """What is meant by the path of a checkpoint or training folder; None for the name of a model.

    A training folder is its checkpoint; the folder of another program that a model knows is itself.
    """
    place = Path(name)
    named = registry.split_variant(name)[0] in registry.names("models")  # a folder called unet is not meant
    if named or not (place.exists() or place.suffix in (".safetensors", ".pth", ".pt")):
        return None
    if not place.is_dir():
        return place
    inside = place / "checkpoint.safetensors"
    return place if not inside.exists() and _foreign(place) is not None else inside


def _foreign(folder: Path) -> str | None:
    """The model, with its variant, that another program trained in a folder; None when no model knows it."""
    for name in registry.names("models"):
        recognise = getattr(registry.load("models", name), "trained_variant", None)
        variant = None if recognise is None else recognise(folder)
        if variant is not None:
            return f"{name}.{variant}"
    return None


def _described(place: Path) -> str:
    """The model's name as a checkpoint says it."""
    from oncoseg.weights.trained import read_checkpoint

    foreign = _foreign(place) if place.is_dir() else None
    if foreign is not None:
        return foreign
    about = read_checkpoint(place).about
    if about is None:
        raise InputError(
            f"{place} does not say which model it belongs to. Name the model and give the file: "
            f"oncoseg predict MODEL IMAGE --weights {place}."
        )
    return f"{about.model}.{about.variant}" if about.variant else about.model


def open_dataset(name: str, settings: list[str], lungs: str | None = None) -> Dataset:
    """A data set by name, or the path of a prepared folder.

    Args:
        name: of the data set, or a folder.
        settings: `name=value` options of the data set.
        lungs: how its cases get lungs, see `oncoseg.experiments.lungs`; None leaves them as they are.

    Raises:
        UnknownNameError: for a name that is neither.
        ConfigError: for a wrong option or an unknown way to make lungs.
    """
    options = parse_settings(settings)
    try:
        module = registry.load("datasets", name)
    except UnknownNameError:
        if not Path(name).is_dir():
            raise
        module, options = registry.load("datasets", "folder"), {"root": name, **options}
    dataset: Dataset = module.build(**options)
    if lungs is None:
        return dataset
    from oncoseg.experiments.lungs import WithLungs

    return WithLungs(dataset, lungs)


def named_datasets(text: str, settings: list[str], cases: tuple[str, ...] = ()) -> dict[str, DatasetSpec]:
    """Data sets by id: those of a TOML file, or the one of a name or folder.

    Args:
        text: a name of the shelf, a prepared folder, or a TOML file with tables `[dataset.ID]`.
        settings: options as name=value; they change those of every table.
        cases: only these; empty for what the tables say.

    Raises:
        UnknownNameError: for a name that is neither.
        ConfigError: for a TOML file without a data set, or a wrong table.
    """
    from dataclasses import replace

    from oncoseg.experiments.specs import DatasetSpec

    options = parse_settings(settings)
    if Path(text).suffix == ".toml":
        tables = load_toml(Path(text)).get("dataset")
        if not isinstance(tables, dict) or not tables:
            raise ConfigError(f"{text}: give at least one [dataset.NAME] table.")
        found = {name: fill(DatasetSpec, table, f"{text} [dataset.{name}]") for name, table in tables.items()}
        return {
            name: replace(spec, options={**spec.options, **options}, cases=cases or spec.cases)
            for name, spec in found.items()
        }
    if text in registry.names("datasets"):
        return {text: DatasetSpec(text, options, cases=cases)}
    if Path(text).is_dir():
        return {Path(text).resolve().name: DatasetSpec("folder", {"root": text, **options}, cases=cases)}
    raise UnknownNameError("data set", text, registry.names("datasets"))
