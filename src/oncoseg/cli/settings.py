"""Options of models and data sets on the command line: `--set name=value`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from oncoseg import registry
from oncoseg.contracts import Dataset, Model
from oncoseg.errors import ConfigError, InputError, UnknownNameError


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`["root=/data", "shape=[64,64,64]"]` to typed values; dotted names nest.

    Values are TOML; anything that is not TOML is taken as text, so paths and words need no quotes.

    Raises:
        ConfigError: for a setting without `=`.

    Example:
        >>> parse_settings(["steps=100", "root=/data/lung", "train.lr=1e-3"])
        {'steps': 100, 'root': '/data/lung', 'train': {'lr': 0.001}}
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set '{setting}' is not of the form name=value.")
        *tables, key = name.split(".")
        table = parsed
        for part in tables:
            table = table.setdefault(part, {})
        table[key] = _value(text)
    return parsed


def open_model(name: str, weights: Path | None, settings: list[str]) -> Model:
    """A model by name (`unet.primakov`) or a checkpoint written by `oncoseg train`."""
    options = parse_settings(settings)
    place = Path(name)
    if place.suffix in (".safetensors", ".pth", ".pt") or place.exists():
        if weights is not None:
            raise InputError(f"{name} is a checkpoint already; leave --weights out or give the model's name.")
        return _open_checkpoint(place, options)
    if weights is not None and not weights.exists():
        raise InputError(f"Weights {weights} do not exist. Check the path.")
    base, variant = registry.split_variant(name)
    model: Model = registry.load("models", base).build(variant, weights=weights, **options)
    return model


def _open_checkpoint(place: Path, options: dict[str, Any]) -> Model:
    from oncoseg.weights.loading import read_tensors

    place = place / "checkpoint.safetensors" if place.is_dir() else place
    facts = read_tensors(place).metadata
    if "model" not in facts:
        raise InputError(
            f"{place} does not say which model it belongs to. Name the model and give the file: "
            f"oncoseg predict MODEL IMAGE --weights {place}."
        )
    model: Model = registry.load("models", facts["model"]).build(facts.get("variant") or None, weights=place, **options)
    return model


def open_dataset(name: str, settings: list[str]) -> Dataset:
    """A data set by name, or the path of a prepared folder."""
    options = parse_settings(settings)
    try:
        module = registry.load("datasets", name)
    except UnknownNameError:
        if not Path(name).is_dir():
            raise
        module, options = registry.load("datasets", "folder"), {"root": name, **options}
    dataset: Dataset = module.build(**options)
    return dataset


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
