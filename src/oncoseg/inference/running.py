"""How a network computes: number format, library and memory layout; and which of these is fastest and right."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from oncoseg.errors import ConfigError, InputError
from oncoseg.inference import on_onnxruntime, on_openvino
from oncoseg.inference.trial import Backend, require_bfloat16

Library = Backend | Literal["onnxruntime"]
Precision = Literal["float32", "bfloat16"]
Layout = Literal["channels-first", "channels-last"]
Runner = Callable[[Tensor], Tensor]

#: Dice that a way of computing must reach against plain float32, in every class.
SAME_MASKS = 0.999

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """A way of computing.

    Attributes:
        precision: of convolutions and matrix products; logits are float32 always.
        backend: the library; OpenVINO and ONNX Runtime are the optional extras `openvino` and `onnx`, for CPUs.
        layout: of tensors in memory, for torch; OpenVINO chooses its own.
    """

    precision: Precision = "float32"
    backend: Library = "torch"
    layout: Layout = "channels-first"

    @property
    def name(self) -> str:
        """For people, e.g. `torch bfloat16 channels-last`."""
        return " ".join([self.backend, self.precision, *([self.layout] if self.layout == "channels-last" else [])])


#: What `measured_choice` tries when nothing else is said; plain float32 comes first.
CANDIDATES = (
    Running(),
    Running(layout="channels-last"),
    Running("bfloat16"),
    Running("bfloat16", layout="channels-last"),
    Running(backend="openvino"),
    Running("bfloat16", "openvino"),
)


@dataclass(frozen=True)
class Measured:
    """One way of computing, measured beside plain float32.

    Attributes:
        running: which.
        seconds: for the example, fastest round; None when it does not run.
        dice: of its masks with those of plain float32, lowest of the classes; None when it does not run or when no
            class is found in the example.
        difference: largest, of the logits.
        off: why it is not used; "" for what may be used.
    """

    running: Running
    seconds: float | None = None
    dice: float | None = None
    difference: float | None = None
    off: str = ""


@dataclass(frozen=True)
class Choice:
    """The fastest way that gives the same masks, and the figures it was chosen by, for a record.

    Attributes:
        running: the choice.
        measured: every candidate, plain float32 first.
        tolerance: lowest Dice that was accepted.
        shape: of the example batch.
        torch, threads: version and number.
    """

    running: Running
    measured: tuple[Measured, ...]
    tolerance: float
    shape: tuple[int, ...]
    torch: str
    threads: int


def runner(network: nn.Module, running: Running = Running()) -> Runner:
    """A network as a function from batches to float32 logits, computed in a chosen way.

    Batches are moved to the network's device. The network itself stays as it is; its weights are shared (torch) or
    copied when the first batch comes (OpenVINO). It computes as in evaluation mode and without gradients.

    Args:
        network: takes and returns one tensor.
        running: how.

    Raises:
        ConfigError: when this machine or this installation cannot compute so; says why.
    """
    if running.backend == "onnxruntime":
        on_onnxruntime.require()
        if running.precision == "bfloat16":
            raise ConfigError("ONNX Runtime computes in float32 here. Leave bfloat16 away, or take torch for it.")
        return made(network, running)
    if running.backend == "openvino":
        on_openvino.require()
    if running.precision == "bfloat16" and _device(network).type == "cpu":
        require_bfloat16(running.backend)
    return made(network, running)


def made(network: nn.Module, running: Running) -> Runner:
    """`runner` without asking whether the machine computes in bfloat16; it may end the process."""
    device = _device(network)
    shared = _sharing_weights(network).eval()
    if running.backend != "torch":
        if device.type != "cpu":
            raise ConfigError(f"{running.backend} computes on the CPU; the network is on {device}. Use torch.")
        if running.backend == "onnxruntime":
            return on_onnxruntime.compiled(shared, threads=torch.get_num_threads())
        return on_openvino.compiled(shared, precision=running.precision, threads=torch.get_num_threads())
    last = running.layout == "channels-last"
    half = running.precision == "bfloat16"

    @torch.no_grad()
    def run(batch: Tensor) -> Tensor:
        batch = batch.to(device)
        if last and batch.ndim in (4, 5):
            batch = batch.contiguous(memory_format=torch.channels_last if batch.ndim == 4 else torch.channels_last_3d)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits: Tensor = shared(batch)
        return logits.float()

    return run


def measured_choice(
    network: nn.Module,
    example: Tensor,
    *,
    candidates: Sequence[Running] = CANDIDATES,
    tolerance: float = SAME_MASKS,
    rounds: int = 3,
) -> Choice:
    """The fastest way of computing whose masks are those of plain float32.

    Candidates run in turns, so that a busy machine slows all alike. Those that fail, or whose masks differ, are off
    and reported in the log and in the result; plain float32 is always measured and always right.

    Args:
        network: in the state it will be used in.
        example: a batch as the network will get it, with something to find: of an empty example nothing can be
            learned about masks, and plain float32 is chosen.
        candidates: ways to try.
        tolerance: lowest Dice of masks, in every class that either way finds.
        rounds: timed runs each, after one that warms up.

    Raises:
        InputError: when `rounds` is less than 1.
    """
    if rounds < 1:
        raise InputError(f"measured_choice: rounds is {rounds}; it must be at least 1.")
    plain = Running()
    # All are asked for before any computes: what bfloat16 needs must be set by then.
    ways = {running: _way(network, running) for running in dict.fromkeys([plain, *candidates])}
    expected = made(network, plain)(example)
    judged = {running: _judged(way, example, expected, running, tolerance) for running, way in ways.items()}
    runs = {r: way for r, way in ways.items() if not isinstance(way, str) and judged[r].difference is not None}
    seconds: dict[Running, list[float]] = {running: [] for running in runs}
    for _ in range(rounds):
        for running, run in runs.items():
            seconds[running].append(_seconds(run, example))
    for running, taken in seconds.items():
        judged[running] = replace(judged[running], seconds=round(min(taken), 5))
    usable = [running for running in runs if not judged[running].off]
    best = min(usable, key=lambda running: min(seconds[running]))
    for each in judged.values():
        if each.off:
            _log.warning("%s is off: %s", each.running.name, each.off)
    found = tuple(judged.values())
    return Choice(best, found, tolerance, tuple(example.shape), torch.__version__, torch.get_num_threads())


def _way(network: nn.Module, running: Running) -> Runner | str:
    """The way of computing, or why there is none."""
    try:
        return runner(network, running)
    except ConfigError as error:
        return str(error)


def _judged(way: Runner | str, example: Tensor, expected: Tensor, running: Running, tolerance: float) -> Measured:
    """How right a way of computing is."""
    if isinstance(way, str):
        return Measured(running, off=way)
    try:
        logits = way(example)
    except RuntimeError as error:  # how torch and OpenVINO say that they cannot compute a network
        return Measured(running, off=(str(error).strip().splitlines() or [type(error).__name__])[0])
    dice, difference = lowest_dice(expected, logits), float((logits - expected).abs().max())
    off = ""
    if running != Running():
        if dice is None:
            off = "nothing is found in the example, so masks cannot be compared"
        elif dice < tolerance:
            off = f"Dice {dice:.5f} with the masks of float32 is below {tolerance}"
    return Measured(running, None, dice, difference, off)


def lowest_dice(expected: Tensor, logits: Tensor) -> float | None:
    """Lowest Dice of the classes of two batches of logits, background left out.

    One output is a mask where it is positive; several are classes, and the largest wins. Logits that are not finite
    give 0. None when neither holds any class.
    """
    if not bool(torch.isfinite(logits).all()):
        return 0.0
    first, second = (x[:, 0] > 0 if x.shape[1] == 1 else x.argmax(dim=1) for x in (expected, logits))
    scores = []
    for number in range(1, max(2, expected.shape[1])):
        a, b = first == number, second == number
        size = int(a.sum() + b.sum())
        if size:
            scores.append(2 * int((a & b).sum()) / size)
    return min(scores, default=None)


def _sharing_weights(network: nn.Module) -> nn.Module:
    """A copy with the same parameters and buffers, in which instance norms are group norms of one channel each.

    That is the same formula, and four times as fast on CPUs; and it keeps channels last.
    """
    tensors: dict[int, Any] = {id(t): t for t in (*network.parameters(), *network.buffers())}
    shared = copy.deepcopy(network, tensors)
    for parent in list(shared.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in (nn.InstanceNorm2d, nn.InstanceNorm3d) and not child.track_running_stats:
                setattr(parent, name, _grouped(child))
    return shared


def _grouped(norm: Any) -> nn.GroupNorm:
    channels = norm.num_features
    grouped = nn.GroupNorm(channels, channels, eps=norm.eps, affine=norm.affine)
    if norm.affine:
        grouped.weight, grouped.bias = norm.weight, norm.bias
    return grouped


def _device(network: nn.Module) -> torch.device:
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _seconds(run: Runner, example: Tensor) -> float:
    started = time.perf_counter()
    run(example)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
