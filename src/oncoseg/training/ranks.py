"""The processes of one training that `torchrun` started: what they tell each other.

Every process takes its share of every batch; gradients are added up, so that all have the same weights at every
step; the first process alone writes files. A process that dies is replaced by torchrun, which starts all of them
again; they go on from the newest saved state.

torch's DistributedDataParallel does not serve here: it averages in hooks of the forward pass of one module and
waits for the gradient of every parameter, but a model here runs any part of its network in `losses`, and each loss
moves one group of parameters (`backward(inputs=...)`); torch 2.13 then stops with "Expected to have finished
reduction in the prior iteration", with `find_unused_parameters` too.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

#: How long processes wait for each other when they meet, and later in the middle of their work.
MEETING, WORKING = timedelta(minutes=2), timedelta(minutes=10)
#: Numbers that travel at once: 64 MiB of float32.
_BUCKET = 2**24


class Ranks:
    """The processes of a training as one of them sees them; one process alone needs no torchrun.

    Args:
        rank: number of this process, from 0.
        count: of processes.
        place: number of this process on its machine, by which it takes an accelerator.
    """

    def __init__(self, rank: int = 0, count: int = 1, place: int = 0) -> None:
        self.rank, self.count, self.place = rank, count, place

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Plain data of the first process, as JSON keeps it, in all of them; what the others give is ignored."""
        if self.count == 1:
            return value
        text = json.dumps(value).encode() if self.first else b""
        size = torch.tensor([len(text)])
        dist.broadcast(size, 0)
        content = torch.frombuffer(bytearray(text or bytes(int(size))), dtype=torch.uint8)
        dist.broadcast(content, 0)
        return json.loads(content.numpy().tobytes())

    def share_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named tensors (on the CPU) of the first process in all of them; what the others give is ignored."""
        if self.count == 1:
            return dict(tensors)
        kinds = {name: [str(t.dtype).removeprefix("torch."), list(t.shape)] for name, t in tensors.items()}
        shared: dict[str, Tensor] = {}
        for name, (dtype, shape) in self.share(kinds).items():
            held = tensors[name].cpu().contiguous() if self.first else torch.empty(shape, dtype=getattr(torch, dtype))
            if held.numel():
                dist.broadcast(held.reshape(-1).view(torch.uint8), 0)
            shared[name] = held
        return shared

    def gather(self, numbers: Sequence[float | None]) -> list[float | None]:
        """A row of numbers of which each process knows every `count`-th, complete in all of them.

        Args:
            numbers: those at place rank, rank + count, ... count; the others are ignored; None is undefined.
        """
        if self.count == 1:
            return list(numbers)
        row = torch.zeros(2, len(numbers), dtype=torch.float64)
        for place in range(self.rank, len(numbers), self.count):
            number = numbers[place]
            if number is not None:
                row[:, place] = torch.tensor([number, 1.0], dtype=torch.float64)
        dist.all_reduce(row)
        return [value if defined else None for value, defined in row.T.tolist()]

    def total(self, number: float) -> float:
        """Sum of a number over the processes."""
        if self.count == 1:
            return number
        row = torch.tensor([number], dtype=torch.float64)
        dist.all_reduce(row)
        return float(row)

    @torch.no_grad()
    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over the processes, in place; all have the same shapes and device."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            dist.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def add_up_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace gradients by their sums over the processes; one that no process has stays None."""
        if self.count == 1:
            return
        found = torch.tensor([float(p.grad is not None) for p in parameters])
        dist.all_reduce(found)
        used = [p for p, number in zip(parameters, found.tolist(), strict=True) if number]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add_up([p.grad for p in used if p.grad is not None])


#: A training of one process.
ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes of this training: those that torchrun started, or this one alone."""
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    rank, count, place = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(place % gpus)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpus else "gloo",
        store=_own_store(rank, count),
        rank=rank,
        world_size=count,
        timeout=WORKING,
    )
    yield Ranks(rank, count, place)
    dist.destroy_process_group()


def _own_store(rank: int, count: int) -> Store:
    """The store of this attempt.

    All attempts share torchrun's store, and a process that reads an address of a dead one hangs or fails: each
    attempt needs a name of its own. TORCHELASTIC_RESTART_COUNT is none on several machines: only the machine on
    which a process died counts a restart.
    """
    environment = os.environ
    store = TCPStore(
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        is_master=rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
        timeout=MEETING,
    )
    return PrefixStore(f"try_{attempt_name(store, rank, count)}", store)


def attempt_name(store: Store, rank: int, count: int) -> str:
    """A name that the living processes agree on and no earlier attempt had.

    The first process draws it. Every other one asks under a number of its own, so that an answer to a dead process
    is never read, and says that it has it; the first one answers until all have.

    Raises:
        RuntimeError: of torch, when the others do not come within `MEETING`.
    """
    own = secrets.token_hex(8)
    if rank:
        store.set(f"asks/{rank}", own)
        name: str = store.get(f"name/{own}").decode()
        store.set(f"has/{name}/{rank}", "")
        return name
    missing = set(range(1, count))
    latest = time.monotonic() + MEETING.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"asks/{other}"]):
                store.set(f"name/{store.get(f'asks/{other}').decode()}", own)
            if store.check([f"has/{own}/{other}"]):
                missing.discard(other)
        if time.monotonic() > latest:
            raise RuntimeError(f"Processes {sorted(missing)} of {count} did not come within {MEETING}.")
        time.sleep(0.02)
    return own


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.numel() > _BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
