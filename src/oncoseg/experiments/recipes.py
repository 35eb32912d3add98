"""Recipes by name: how a paper trained a model, with what was changed and what the paper leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oncoseg import registry
from oncoseg.contracts import ModelInfo, Recipe, choose_variant
from oncoseg.errors import UnknownNameError

#: Two ways to say how long; giving one in place of a recipe's other drops that.
_LENGTHS = {"steps", "epochs"}


def recipes_of(model: str) -> dict[str, Recipe]:
    """Recipes of a model by name; empty when there is none.

    Where variants need a recipe each under one name, e.g. because they differ in dimension, the model's file keeps
    them as `name:anything`; what follows the colon is not part of the name.

    Args:
        model: a name from the shelf; without a variant, the recipes of its first one.

    Raises:
        UnknownNameError: for a model or variant that is not on the shelf.
    """
    base, variant = registry.split_variant(model)
    module = registry.load("models", base)
    info: ModelInfo = choose_variant(module.INFOS, variant)
    held: Mapping[str, Recipe] = getattr(module, "RECIPES", {})
    fitting = {key: r for key, r in held.items() if not r.variants or info.variant in r.variants}
    return {key.partition(":")[0]: r for key, r in fitting.items()}


def recipe(model: str, name: str) -> Recipe:
    """One recipe of a model.

    Raises:
        UnknownNameError: names the recipes it has.
    """
    held = recipes_of(model)
    if name not in held:
        raise UnknownNameError(f"recipe of {model}", name, list(held))
    return held[name]


def options_by(chosen: Recipe, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the model: the recipe's, and what was changed."""
    return {**chosen.options, **changed}


def training_by(chosen: Recipe, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the training: the recipe's, and what was changed; steps take the place of epochs and vice versa."""
    given = _LENGTHS & {name for name, value in changed.items() if value}
    kept = {name: value for name, value in chosen.training.items() if not given or name not in _LENGTHS - given}
    return {**kept, **{name: value for name, value in changed.items() if name not in _LENGTHS or value}}


def in_words(name: str, chosen: Recipe, changed: Mapping[str, Any]) -> list[str]:
    """Sentences for the user and every report: the source, what it leaves open and what was changed.

    Args:
        name: of the recipe.
        chosen: the recipe.
        changed: options and settings that were given in place of the recipe's.
    """
    said = [f"Recipe {name}: {chosen.source}."]
    held = {**chosen.options, **chosen.training}
    open_ = [n for n in chosen.assumed if n not in changed]
    if open_:
        said.append("Not given by the source and chosen here: " + ", ".join(_valued(n, held) for n in open_) + ".")
    instead = [f"{n} = {_short(v)}" for n, v in changed.items() if v != held.get(n) and (n not in _LENGTHS or v)]
    if instead:
        said.append("Changed from the recipe: " + ", ".join(instead) + ".")
    return [*said, chosen.notes] if chosen.notes else said


def _valued(name: str, held: Mapping[str, Any]) -> str:
    return f"{name} = {_short(held[name])}" if name in held else f"{name} (the model's default)"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return " + ".join(f"{v:g} {k}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
