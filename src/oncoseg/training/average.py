"""The exponential moving average of a network's weights over its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from oncoseg.errors import InputError


class Average:
    """An average that follows a network: after every step average <- d * average + (1 - d) * network.

    d is the decay, but no more than (1 + n) / (10 + n) after n steps, so that the first weights, which are random,
    are soon forgotten (as TensorFlow's ExponentialMovingAverage with `num_updates`). Averaged are the weights that
    are trained and the floating-point buffers, so running means of batch normalisation too; whole-number buffers
    and frozen weights are the network's own.

    Args:
        network: followed from its present weights on.
        decay: in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._kept = {name: tensor.detach().clone() for name, tensor in self._followed().items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the network after optimiser step `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, tensor in self._followed().items():
            self._kept[name].lerp_(tensor, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights; afterwards, to the bit, with its own."""
        own = {name: tensor.detach().clone() for name, tensor in self._followed().items()}
        self.settle()
        try:
            yield
        finally:
            self._fill(own)

    def settle(self) -> None:
        """Give the network the averaged weights for good."""
        self._fill(self._kept)

    def state(self) -> dict[str, Tensor]:
        """The averages by the names of the network's state."""
        return dict(self._kept)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when names differ.
        """
        if tensors.keys() != self._kept.keys():
            raise InputError("The saved average is of another network. Remove the folder to start the training again.")
        for name, tensor in tensors.items():
            self._kept[name].copy_(tensor)

    @torch.no_grad()
    def _fill(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self._followed().items():
            tensor.copy_(tensors[name])

    def _followed(self) -> dict[str, Tensor]:
        state = self._network.state_dict(keep_vars=True)
        return {
            name: tensor
            for name, tensor in state.items()
            if tensor.is_floating_point() and (tensor.requires_grad or not isinstance(tensor, nn.Parameter))
        }
