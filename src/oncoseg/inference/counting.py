"""Multiply-accumulate operations (MACs): one counter for every model, part by part.

Counted are convolutions, matrix products and attention, which other tools count too; normalisation, activation,
pooling and resampling are not, on which they disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

COUNTER = (
    f"FlopCounterMode of torch {torch.__version__}, FLOPs / 2: convolutions, matrix products and attention; "
    "not normalisation, activation, pooling or resampling"
)
#: Parts of networks that are called a different number of times in one volume, by attribute: name in tables.
PARTS: Mapping[str, str] = {
    "image_encoder": "image encoder",
    "vision_encoder": "image encoder",
    "memory_attention": "memory attention",
    "memory_encoder": "memory encoder",
    "prompt_encoder": "prompt encoder",
    "mask_decoder": "mask decoder",
}
#: What a network without such parts is called.
WHOLE = "network"


@dataclass(frozen=True)
class Pass:
    """One part of a network and how often a volume calls it.

    Attributes:
        part: in words.
        size: of its input (channels, ...), without the batch axis.
        macs: of one call on one item.
        factors: what the calls of a volume multiply from, e.g. `{"slices": 120, "mirrors": 4}`.
    """

    part: str
    size: tuple[int, ...]
    macs: int
    factors: Mapping[str, int]

    @property
    def calls(self) -> int:
        """Items that go through the part for one volume."""
        return math.prod(self.factors.values())

    @property
    def total(self) -> int:
        """MACs of the part for one volume."""
        return self.macs * self.calls


@dataclass
class Called:
    """A part of a network during work: items that went through, and their MACs."""

    items: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Counted:
    """What some work took.

    Attributes:
        macs: of all of it.
        parts: by part of the network; those that were not called are left out.
    """

    macs: int
    parts: Mapping[str, Called] = field(default_factory=dict)


def counted(work: Callable[[], Any], network: nn.Module | None = None) -> Counted:
    """Count while something computes.

    Args:
        work: computes, on any device; tensors without memory (device `meta`) count alike.
        network: whose parts are told apart.
    """
    mode = FlopCounterMode(display=False, custom_mapping=_FUSED)
    with _frozen(network), mode as counter, _watched(network, counter) as parts:
        work()
        total = counter.get_total_flops()
    return Counted(total // 2, {name: Called(c.items, c.macs // 2) for name, c in parts.items() if c.items})


def count_macs(network: nn.Module, *inputs: Any) -> int:
    """MACs of one forward pass."""
    return counted(lambda: network(*inputs), network).macs


def parts_of(network: nn.Module) -> dict[str, nn.Module]:
    """Parts of a network that are called a different number of times in one volume, by their names in tables."""
    found = {name: getattr(network, attribute) for attribute, name in PARTS.items() if hasattr(network, attribute)}
    return found or {WHOLE: network}


def _attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


#: torch counts fused attention of GPUs but not the ones of CPUs and of tensors without memory.
_FUSED = {
    operator: _attention
    for name in ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_fused_attention_overrideable")
    if (operator := getattr(torch.ops.aten, name, None)) is not None
}


@contextmanager
def _frozen(network: nn.Module | None) -> Iterator[None]:
    """No parameter asks for gradients: torch's counter stumbles over parameters that are handed to modules."""
    asking = [] if network is None else [p for p in network.parameters() if p.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


@contextmanager
def _watched(network: nn.Module | None, counter: FlopCounterMode) -> Iterator[dict[str, Called]]:
    """Count items and operations of every part of a network while the block runs."""
    parts: dict[str, Called] = {}
    handles = []
    for name, module in ({} if network is None else parts_of(network)).items():
        parts[name] = told = Called()
        before: list[int] = []

        def enter(_: Any, inputs: Any, named: Any, told: Called = told, before: list[int] = before) -> None:
            before.append(counter.get_total_flops())
            told.items += _items(inputs, named)

        def leave(*_: Any, told: Called = told, before: list[int] = before) -> None:
            told.macs += counter.get_total_flops() - before.pop()

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        yield parts
    finally:
        for handle in handles:
            handle.remove()


def _items(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> int:
    """Batch size of a call: of its first tensor of an image's shape; 1 for tokens of one frame."""
    for value in (*inputs, *named.values()):
        if isinstance(value, Tensor) and value.ndim >= 4:
            return int(value.shape[0])
    return 1
