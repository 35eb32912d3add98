"""Batches that depend on seed and position alone: not on workers, not on what was drawn before.

Sample n of a training belongs to a place in epoch n // (samples an epoch), whose order is a permutation
from (seed, epoch); its random choices come from (seed, n). So a training can go on from any step, and
any number of worker processes gives the same batches.
"""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from oncoseg.case import Case
from oncoseg.contracts import Sample, Trainable
from oncoseg.errors import InputError
from oncoseg.training.ranks import ALONE, Ranks

Batch = dict[str, Tensor]


class CasesOnDemand(Sequence[Case]):
    """Cases that are read when they are first looked at and kept while there is room.

    Args:
        load: reads one case by name, e.g. `dataset.load`.
        names: of the cases, in order.
        keep_gigabytes: voxels kept in memory (in every worker process); the longest unused go first.
    """

    def __init__(self, load: Callable[[str], Case], names: Sequence[str], *, keep_gigabytes: float = 4.0) -> None:
        self._load, self._names = load, list(names)
        self._room = keep_gigabytes * 1e9
        self._kept: OrderedDict[str, Case] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> list[str]:
        """Of the cases, in order; nothing is read."""
        return list(self._names)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> CasesOnDemand: ...
    def __getitem__(self, index: int | slice) -> Case | CasesOnDemand:
        """One case, or a part of the sequence that reads for itself."""
        if isinstance(index, slice):
            return CasesOnDemand(self._load, self._names[index], keep_gigabytes=self._room / 1e9)
        name = self._names[index]
        if name not in self._kept:
            self._kept[name] = self._load(name)
            while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > self._room:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]

    def read(self, index: int) -> Case:
        """One case, read for the caller alone: it is not kept."""
        return self._load(self._names[index])


def names_of(cases: Sequence[Case]) -> list[str]:
    """Names of cases, in order; cases on demand are not read for it."""
    return cases.names if isinstance(cases, CasesOnDemand) else [case.name for case in cases]


class Samples(Dataset[Sample]):
    """The endless row of training samples; item n is always the same.

    Args:
        model: makes the samples.
        cases: to make them from, prepared where the model prepares (`oncoseg.training.preparing`).
        seed: of the training.
        per_case: samples of each case in one epoch.
        redraw: take others, drawn at random, in place of a case of which the model makes no sample.
    """

    def __init__(
        self, model: Trainable, cases: Sequence[Case], *, seed: int, per_case: int = 1, redraw: bool = False
    ) -> None:
        self.model, self.cases, self.seed, self.per_case, self.redraw = model, cases, seed, per_case, redraw

    def __getitem__(self, n: int) -> Sample:
        """Sample n.

        Raises:
            InputError: when the model makes no sample of the case, or with `redraw` of any.
        """
        epoch, place = divmod(n, len(self.cases) * self.per_case)
        order = _order(self.seed, epoch, len(self.cases) * self.per_case)
        case = self.cases[int(order[place]) // self.per_case]
        rng = np.random.default_rng([self.seed, n])
        for sample in self.model.samples(case, rng):
            return sample
        if not self.redraw:
            raise InputError(f"{self.model.info.full_name} makes no training sample of case {case.name}. Leave it out.")
        for other in rng.permutation(len(self.cases)):
            for sample in self.model.samples(self.cases[int(other)], rng):
                return sample
        raise InputError(f"{self.model.info.full_name} makes no training sample of any of {len(self.cases)} cases.")


def batches(
    samples: Samples, *, size: int, first: int, stop: int, workers: int = 0, ranks: Ranks = ALONE
) -> Iterator[Batch]:
    """Batches first ... stop - 1 of a training, or this process's share of them.

    Args:
        samples: where they come from.
        size: samples in a batch, of all processes together.
        first: number of the first batch, from the start of the training.
        stop: number after the last one.
        workers: processes that prepare them; 0 prepares them in this one.
        ranks: each takes an equal part of every batch, so that together they see what one process would.

    Yields:
        Name -> tensor with a leading batch axis, on the CPU.
    """
    share = size // ranks.count
    wanted = [range(n, n + share) for n in range(first * size + ranks.rank * share, stop * size, size)]
    methods = multiprocessing.get_all_start_methods()
    loader: DataLoader[Sample] = DataLoader(
        samples,
        batch_sampler=wanted,  # type: ignore[arg-type]
        num_workers=workers,
        # Forked workers share the cases already in memory.
        multiprocessing_context="fork" if workers and "fork" in methods else None,
        generator=torch.Generator(),  # else the loader draws from the global one
    )
    yield from loader


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.intp]:
    return np.random.default_rng([seed, epoch, 0x0C0DE]).permutation(count)


def _size(case: Case) -> int:
    return int(case.image.voxels.nbytes) + sum(int(mask.voxels.nbytes) for mask in case.masks.values())
