"""How a promptable model is made from its options, from the catalogue's weights, and again from its checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from oncoseg.config import fill
from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.weights import catalogue
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.trained import agreed, read_checkpoint

_LOG = logging.getLogger(__name__)


class _Made(Protocol):
    noted: list[str]

    @property
    def network(self) -> nn.Module: ...


M = TypeVar("M", bound=_Made)
O = TypeVar("O")  # noqa: E741
S = TypeVar("S")


def built(
    model: Callable[[ModelInfo, O], M],
    infos: Sequence[ModelInfo],
    options_class: type[O],
    *,
    variants: Mapping[str, Mapping[str, Any]],
    variant: str | None,
    weights: Path | None,
    options: Mapping[str, Any],
    load: Callable[[nn.Module, Mapping[str, Tensor], str], Sequence[str] | None] = load_strictly,
) -> M:
    """Make a model of the shelf.

    Args:
        model: makes it, with its network, from info and options; random weights come from torch's generator.
        infos: of the model's file.
        options_class: the model's options, with a class attribute `FREE` and a field `random_weights`.
        variants: what each variant changes in the defaults of the options.
        variant: asked for; None for the first, or the checkpoint's.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a file of another
            maker. None takes the catalogue's where `ModelInfo.weights` names them, fetched on the first use, and
            random ones elsewhere or when `random_weights` is set.
        options: asked for.
        load: puts another maker's tensors (network, tensors, name of the file) into the network, and may say in
            sentences what the file did not give; the model tells them.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's (those that only
            say how to predict may).
        InputError: when the weights cannot be read or do not fit.
        FetchError: when the catalogue's weights are needed and cannot be had.
    """
    checkpoint = read_checkpoint(weights) if weights else None
    asked = dict(options)
    if checkpoint:
        free: frozenset[str] = options_class.FREE  # type: ignore[attr-defined]
        chosen_freely = {name: value for name, value in options.items() if name in free}
        tied = {name: value for name, value in options.items() if name not in free}
        variant, asked = agreed(checkpoint.about, infos[0], variant, tied)
        asked |= chosen_freely
    info = choose_variant(infos, variant)
    chosen = fill(options_class, {**variants.get(info.variant, {}), **asked}, f"model {info.full_name}")
    made = model(info, chosen)
    if checkpoint:
        loader = load_strictly if checkpoint.about else load
        made.noted += loader(made.network, checkpoint.state, str(weights)) or ()
    elif info.weights and not chosen.random_weights:  # type: ignore[attr-defined]
        path = catalogue.locate(info.weights, _LOG.info)
        made.noted += load(made.network, read_checkpoint(path).state, str(path)) or ()
    made.network.eval()
    return made


def seeded(make: Callable[[], S], seed: int = 0) -> S:
    """Something with random weights that are the same in every process; the generator goes on as if nothing was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
