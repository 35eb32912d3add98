"""One optimiser step: from batches to moved weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from oncoseg.contracts import Trainable
from oncoseg.errors import ConfigError, OncosegError, UnknownNameError
from oncoseg.inference.trial import require_bfloat16
from oncoseg.training.average import Average
from oncoseg.training.checkpoint import optimiser_tensors, restore_optimiser
from oncoseg.training.loader import Batch
from oncoseg.training.ranks import ALONE, Ranks
from oncoseg.training.settings import TrainConfig, loss_of
from oncoseg.weights.loading import load_strictly

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NETWORK, _AVERAGE = "network.", "ema."


class Descent:
    """A model with one optimiser for each of its losses.

    A loss moves the parameter group of its name and those whose names go on behind it with a dot, each at a rate of its
    own: the loss `network` moves `network`, `network.encoder` and `network.decoder`.

    Args:
        model: to train.
        config: how.
        ranks: processes among which batches are divided. Gradients are added up over them, so that a step is that of
            one process with the whole batch (where losses are means over samples); running statistics of
            normalisation become the mean over the processes. All processes need the same losses in the same order.

    Raises:
        ConfigError: for a device that is not there, bfloat16 on a CPU that cannot compute in it, or a model of which
            nothing learns.
        UnknownNameError: for a rate of a parameter group the model does not have.
    """

    def __init__(self, model: Trainable, config: TrainConfig, ranks: Ranks = ALONE) -> None:
        self.model, self.config, self.ranks = model, config, ranks
        self.device = require_device(config.device, ranks)
        if config.precision == "bfloat16" and self.device.type == "cpu":
            require_bfloat16("torch")
        model.network.to(self.device)
        parts = {name: [p for p in group if p.requires_grad] for name, group in model.parameter_groups().items()}
        #: Parameters by the loss that moves them.
        self.groups: dict[str, list[nn.Parameter]] = {}
        for name, part in parts.items():
            self.groups.setdefault(loss_of(name), []).extend(part)
        for name in config.group_rates:
            if name not in parts and name not in self.groups:
                raise UnknownNameError(f"parameter group of {self._name}", name, [*parts, *self.groups])
        for name, moved in self.groups.items():
            if not moved:
                raise ConfigError(
                    f"{self._name}: no parameter that loss '{name}' moves is to learn. Choose what learns."
                )
        self.optimisers = {
            loss: _optimiser(
                [{"params": part, "name": name} for name, part in parts.items() if part and loss_of(name) == loss],
                config,
            )
            for loss in self.groups
        }
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self.average = Average(model.network, config.ema) if config.ema else None

    def step(self, batches: Sequence[Batch], number: int, rate: float) -> dict[str, float]:
        """Descend each loss of the model in turn; each moves the parameters of its own groups alone.

        Args:
            batches: this process's share of them; they go through the network one after the other, and the mean loss
                of all of them is descended.
            number: of the step; random choices of the network come from it.
            rate: learning rate before `group_rates`.

        Returns:
            Loss by name; the mean where one comes several times in turn.

        Raises:
            UnknownNameError: when a loss names no parameter group.
            OncosegError: when a loss is not one finite number.
        """
        self.model.network.train()
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate * self.config.group_rate(group["name"])
        pending = [self.model.losses({key: value.to(self.device) for key, value in b.items()}) for b in batches]
        found: dict[str, list[float]] = {}
        while turn := self._turn(pending, [number, sum(map(len, found.values()))]):
            name, loss = turn
            if self.config.clip:
                self.scaler.unscale_(self.optimisers[name])
                nn.utils.clip_grad_norm_(self.groups[name], self.config.clip)
            self.scaler.step(self.optimisers[name])
            self.scaler.update()
            found.setdefault(name, []).append(loss)
        self._agree_on_statistics()
        if self.average:
            self.average.follow(number)
        return {name: sum(turns) / len(turns) for name, turns in found.items()}

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """The network with the weights that are judged and kept: the averaged ones where there are such."""
        with self.average.in_place() if self.average else nullcontext():
            yield

    def state(self) -> tuple[dict[str, Tensor], dict[str, float] | None]:
        """Tensors of network and optimisers, and the counters of the loss scale where there is one."""
        tensors = {_NETWORK + name: tensor for name, tensor in self.model.network.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            tensors |= optimiser_tensors(name, optimiser)
        if self.average:
            tensors |= {_AVERAGE + name: tensor for name, tensor in self.average.state().items()}
        return tensors, self.scaler.state_dict() or None

    def restore(self, tensors: Mapping[str, Tensor], scaler: Mapping[str, float] | None) -> None:
        """Take over what `state` gave."""
        load_strictly(self.model.network, _below(_NETWORK, tensors), "The saved state")
        if self.average:
            self.average.restore(_below(_AVERAGE, tensors))
        for name, optimiser in self.optimisers.items():
            restore_optimiser(name, optimiser, tensors)
        if scaler:
            self.scaler.load_state_dict(dict(scaler))

    def _turn(self, pending: Sequence[Iterator[tuple[str, Tensor]]], place: list[int]) -> tuple[str, float] | None:
        """Gradients of the next loss of every batch, averaged; None when the losses are at their end."""
        name, total = "", 0.0
        for index, losses in enumerate(pending):
            # The batches of all processes are numbered as if one process saw them one after the other.
            torch.manual_seed(_seed([self.config.seed, *place, index * self.ranks.count + self.ranks.rank]))
            with torch.autocast(
                self.device.type, _PRECISIONS[self.config.precision], self.config.precision != "float32"
            ):
                following = next(losses, None)
            if following is None:
                return None
            name, loss = following
            if loss.numel() != 1:
                raise OncosegError(
                    f"Loss '{name}' of {self._name} has shape {tuple(loss.shape)}; it must be one number."
                )
            share = loss.reshape(()) / (len(pending) * self.ranks.count)
            total += share.item()
            if index == 0:
                self.optimisers[self._group(name)].zero_grad()
            self.scaler.scale(share).backward(inputs=self.groups[name])
        total = self.ranks.total(total)
        if not math.isfinite(total):
            raise OncosegError(
                f"Loss '{name}' became {total} at step {place[0]}. Lower the learning rate, clip gradients, "
                "or train in float32."
            )
        self.ranks.add_up_gradients(self.groups[name])
        return name, total

    def _agree_on_statistics(self) -> None:
        """Running statistics, which each process has of its own samples, become their mean; frozen ones stay."""
        if self.ranks.count == 1:
            return
        learning = [module for module in self.model.network.modules() if module.training]
        running = [getattr(module, name, None) for module in learning for name in ("running_mean", "running_var")]
        held = [statistic for statistic in running if isinstance(statistic, Tensor)]
        self.ranks.add_up(held)
        for statistic in held:
            statistic /= self.ranks.count

    @property
    def _name(self) -> str:
        return self.model.info.full_name

    def _group(self, name: str) -> str:
        if name not in self.groups:
            raise UnknownNameError(f"parameter group of {self._name}", name, self.groups)
        return name


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Deterministic kernels inside the block, on an accelerator where they exist; the caller's random state after."""
    before, warning = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warning)


def _seed(place: list[int]) -> int:
    """A seed for torch from numbers, the same on every machine."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint32)[0])


def require_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """The device of a name; `auto` is an accelerator where torch sees one, and the CPU elsewhere.

    Of several processes on one machine each takes the accelerator of its own number.

    Raises:
        ConfigError: for a device that is not there, or that several processes would share.
    """
    if name == "auto":
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    else:
        device = _tried(name)
    if ranks.count > 1 and device.type != "cpu":
        if device.index is not None:
            raise ConfigError(f"Several processes cannot share device '{name}'. Say {device.type} or auto.")
        if ranks.place >= torch.accelerator.device_count():
            raise ConfigError(
                f"There are more processes than the {torch.accelerator.device_count()} devices of this machine. "
                "Start one for each, or train on device cpu."
            )
    return device


def _tried(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"Device '{name}' cannot be used here ({error}). Choose cpu or auto.") from error
    return device


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimiser(parameters: list[dict[str, Any]], config: TrainConfig) -> Optimizer:
    rate, decay = config.learning_rate, config.weight_decay
    match config.optimiser:
        case "adamw":
            return AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        case "adam":
            return Adam(parameters, lr=rate, weight_decay=decay, fused=True)
        case "sgd":
            momentum = config.momentum
            nesterov = config.nesterov and momentum > 0
            return SGD(parameters, lr=rate, weight_decay=decay, momentum=momentum, nesterov=nesterov, fused=True)
