"""Transfer experiments: a model trained on one data set and scored on another, beside the same one trained there.

Shi et al., M-SAM, 2024 (arXiv 2403.05912), tables of transfer; `oncoseg.report.transfer` says what is computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oncoseg.errors import ConfigError
from oncoseg.evaluation.scoring import DEFAULT_METRICS
from oncoseg.experiments.matrix import Block, Matrix
from oncoseg.experiments.specs import NO_PROMPT, DatasetSpec, ModelSpec, PromptSpec

#: What a model is given where nobody says, by the type it takes, best first.
PROMPTS = {"click": "centre_click", "box": "box"}


def transfer_matrix(
    datasets: Mapping[str, DatasetSpec],
    pairs: Sequence[tuple[str, str]],
    models: Sequence[str],
    *,
    recipe: str | None = None,
    train: Mapping[str, Any] | None = None,
    prompt: PromptSpec | None = None,
    seed: int = 0,
    name: str = "transfer",
) -> Matrix:
    """Every model trained on the source and on the target of every pair, and scored on the target.

    A training that several cells need is made once.

    Args:
        datasets: by id.
        pairs: (source, target) ids.
        models: names, with a variant if wanted.
        recipe: how they are built and trained, see `oncoseg models --json`; `train` changes it.
        train: settings of the training loop; needed without a recipe.
        prompt: what models that take prompts are given; None for a click or box that fits each of them.
        seed: of everything.
        name: of the run.

    Raises:
        ConfigError: when there is neither recipe nor `train`, source and target are one, or no prompt fits a model.
        UnknownNameError: for a model or recipe that does not exist.
    """
    for source, target in pairs:
        if source == target:
            raise ConfigError(
                f"Source and target are both '{source}'. Give two data sets, or two tables of a TOML file."
            )
    blocks = tuple(
        Block(
            dataset=(target,),
            source=(target, source),
            model=(model,),
            recipe=recipe,
            train=train,
            prompt=(_prompt_for(model, prompt),),
        )
        for source, target in pairs
        for model in models
    )
    return Matrix(name, datasets, blocks, seed=seed, metrics=(*DEFAULT_METRICS,), cost=False)


def _prompt_for(model: str, asked: PromptSpec | None) -> PromptSpec:
    """What a model is given: nothing where it takes nothing."""
    takes = ModelSpec(model).info.prompts
    if not takes:
        return PromptSpec(NO_PROMPT)
    if asked is not None:
        return asked
    fitting = next((use for kind, use in PROMPTS.items() if kind in takes), None)
    if fitting is None:
        raise ConfigError(f"{model} takes {' or '.join(takes)}; name a simulator of it, see: oncoseg prompts.")
    return PromptSpec(fitting)
