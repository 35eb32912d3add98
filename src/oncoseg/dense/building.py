"""How a prompt-free model is made from its options, and again from its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from oncoseg.config import fill
from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.dense.model import DenseModel
from oncoseg.dense.options import DenseOptions
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.trained import agreed, read_checkpoint

M = TypeVar("M", bound=DenseModel)
O = TypeVar("O", bound=DenseOptions)  # noqa: E741


def built(
    model: Callable[[ModelInfo, O, nn.Module], M],
    infos: Sequence[ModelInfo],
    options_class: type[O],
    network: Callable[[O], nn.Module],
    *,
    variants: Mapping[str, Mapping[str, Any]],
    variant: str | None,
    weights: Path | None,
    options: Mapping[str, Any],
    load: Callable[[nn.Module, Mapping[str, Tensor], str], Sequence[str] | None] = load_strictly,
) -> M:
    """Make a model of the shelf.

    Args:
        model: `SliceModel` or `PatchModel`.
        infos: of the model's file.
        options_class: the model's options.
        network: makes the network from them.
        variants: what each variant changes in the defaults of the options.
        variant: asked for; None for the first, or the checkpoint's.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a file of tensors
            with the network's names. None gives random weights from torch's generator.
        options: asked for.
        load: puts a foreign file's tensors (network, tensors, name of the file) into the network, and may say in
            sentences what the file did not give; the model tells them.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's (those that only
            say how to predict may).
        InputError: when the weights cannot be read or do not fit.
    """
    checkpoint = read_checkpoint(weights) if weights else None
    asked = dict(options)
    if checkpoint:
        free = {name: value for name, value in options.items() if name in options_class.FREE}
        tied = {name: value for name, value in options.items() if name not in free}
        variant, asked = agreed(checkpoint.about, infos[0], variant, tied)
        asked |= free
    info = choose_variant(infos, variant)
    chosen = fill(options_class, {**variants.get(info.variant, {}), **asked}, f"model {info.full_name}")
    # Networks know nothing of boxes: those that are given some get the wider input as their plain one.
    made = model(info, chosen, network(replace(chosen, channels=chosen.inputs, given="nothing")))
    if checkpoint:
        loader = load_strictly if checkpoint.about else load
        made.noted += loader(made.network, checkpoint.state, str(weights)) or ()
    return made
