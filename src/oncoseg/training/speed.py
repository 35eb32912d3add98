"""How fast a training goes and how much memory it takes; facts of the machine, so never part of its log."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil
import torch


@dataclass(frozen=True)
class Speed:
    """One line of `speed.jsonl`: the steps since the last validation, or since the process began.

    Attributes:
        step: optimiser steps done.
        samples: that went through the network, in all processes together.
        seconds: they took, waiting for batches included.
        samples_per_second: the one over the other.
        validation_seconds: of the validation after them.
        memory_bytes: largest resident memory of the first process (looked at after every step and every validation);
            processes that prepare batches are not in it.
        device_bytes: largest memory its tensors had on the accelerator; None on the CPU.
    """

    step: int
    samples: int
    seconds: float
    samples_per_second: float
    validation_seconds: float
    memory_bytes: int
    device_bytes: int | None


class Meter:
    """Measures one stretch of steps after the other.

    Args:
        device: whose memory is looked at beside that of the process.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type != "cpu" else None
        self._process = psutil.Process()
        self._begin()

    @property
    def samples_per_second(self) -> float:
        """Of the stretch so far."""
        return self._samples / max(time.perf_counter() - self._start, 1e-9)

    @property
    def memory_bytes(self) -> int:
        """Largest resident memory of the stretch so far."""
        return self._memory

    def count(self, samples: int) -> None:
        """One more step is done."""
        self._samples += samples
        self._look()

    def pause(self) -> None:
        """The steps of the stretch are done, its validation begins."""
        self._seconds = time.perf_counter() - self._start

    def end(self, step: int) -> Speed:
        """The stretch as measured; the next one begins."""
        self._look()
        whole = time.perf_counter() - self._start
        on_device = None if self._device is None else torch.accelerator.max_memory_allocated(self._device)
        measured = Speed(
            step,
            self._samples,
            self._seconds,
            self._samples / max(self._seconds, 1e-9),
            whole - self._seconds,
            self._memory,
            on_device,
        )
        self._begin()
        return measured

    def _begin(self) -> None:
        self._start, self._seconds, self._samples, self._memory = time.perf_counter(), 0.0, 0, 0
        self._look()
        if self._device is not None:
            torch.accelerator.reset_peak_memory_stats(self._device)

    def _look(self) -> None:
        self._memory = max(self._memory, self._process.memory_info().rss)
