"""What a model costs on a case: parameters, operations of the whole volume, seconds, memory and energy.

Measured in a child process, so that memory is the model's own and nothing is warm from before. What a model costs by
its size alone, without weights and data, is in `oncoseg.experiments.passes`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.config import fill, plain
from oncoseg.contracts import ComputingElsewhere, Model, NeuralModel
from oncoseg.experiments.energy import joules_between, read_energy
from oncoseg.experiments.isolation import in_child
from oncoseg.experiments.specs import ModelSpec
from oncoseg.io.prompts import prompts_from, prompts_into
from oncoseg.prompt import Prompt
from oncoseg.score import Cost, CostPart
from oncoseg.volume import Volume

#: Timed runs stop when they have taken this long together; there is always one.
BUDGET_S = 10.0
NO_COUNTER = "none: no network, so nothing is multiplied and accumulated in layers"
UNCOUNTED = "operations were not counted: another library than torch computed the network"


@dataclass(frozen=True)
class CostJob:
    """What the child measures.

    Attributes:
        model: which one.
        image: an .npz file with `voxels` and `affine`.
        prompts: as JSON.
        case: name of the case.
        repeats: timed runs at most.
        budget_s: time after which no further run is begun.
    """

    model: ModelSpec
    image: Path
    prompts: list[Any]
    case: str
    repeats: int
    budget_s: float


def measure_cost(
    model: ModelSpec,
    image: Volume,
    *,
    prompts: Sequence[Prompt] = (),
    case: str = "",
    repeats: int = 3,
    budget_s: float = BUDGET_S,
    threads: int | None = None,
) -> Cost:
    """Measure a model on one image in a child process.

    Args:
        model: which one, with its weights.
        image: what it segments.
        prompts: what it is given.
        case: name for the record.
        repeats: timed runs after the one that counts operations and warms up.
        budget_s: no further timed run is begun after this time.
        threads: of the child; None leaves the choice to the libraries.

    Raises:
        ChildError: when the model fails on the image.
        CrashError: when the child was killed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        stored = Path(temporary) / "image.npz"
        np.savez(stored, voxels=image.voxels, affine=image.affine)
        job = CostJob(model, stored, prompts_into(prompts, Path(temporary), "prompt"), case, repeats, budget_s)
        log = Path(temporary) / "log.txt"
        result = in_child({"what": "cost", "cost": plain(job)}, log=log, threads=threads)
    return fill(Cost, result, "cost of a child process")


def measure_here(job: CostJob) -> Cost:
    """Measure in this process, which should do nothing else; raises what the model raises."""
    with np.load(job.image, allow_pickle=False) as held:
        image = Volume(held["voxels"], held["affine"])
    prompts = prompts_from(job.prompts, image, folder=job.image.parent)
    model = job.model.build()
    if isinstance(model, ComputingElsewhere):
        return _measured_elsewhere(model, image, job)
    network = model.network if isinstance(model, NeuralModel) else None
    _forget_peak_memory()
    macs, forward, parts, counter = _operations(model, image, prompts)
    seconds, energy, why_none = _timed(model, image, prompts, job)
    parameters = list(network.parameters()) if network is not None else []
    return Cost(
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        macs=macs,
        mac_counter=counter,
        seconds_median=round(statistics.median(seconds), 4),
        repeats=len(seconds),
        peak_memory_bytes=peak_memory_bytes(),
        case=job.case,
        shape=image.shape,
        device=parameters[0].device.type if parameters else "cpu",
        threads=_threads(),
        reason=None if macs is not None else UNCOUNTED,
        forward_macs=forward,
        parts=parts,
        energy_joules=energy,
        energy_reason=why_none,
    )


def _measured_elsewhere(model: ComputingElsewhere, image: Volume, job: CostJob) -> Cost:
    """The cost of a model that computes in another process; its memory and this one's are added up."""
    _forget_peak_memory()
    found = model.measured(image)
    seconds, energy, why_none = _timed(model, image, (), job)  # type: ignore[arg-type]
    memory = (peak_memory_bytes(), model.peak_memory_bytes())
    return Cost(
        parameters=found.parameters,
        trainable_parameters=found.parameters,
        macs=found.macs,
        mac_counter=found.mac_counter,
        seconds_median=round(statistics.median(seconds), 4),
        repeats=len(seconds),
        peak_memory_bytes=None if None in memory else sum(m for m in memory if m is not None),
        case=job.case,
        shape=image.shape,
        device=found.device,
        threads=found.threads,
        energy_joules=energy,
        energy_reason=why_none,
    )


def peak_memory_bytes() -> int | None:
    """Largest resident memory of this process, all of it: interpreter, libraries, weights, image and work.

    On Linux since the start of the measurement; elsewhere since the start of the process, None on Windows.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _forget_peak_memory() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _timed(
    model: Model, image: Volume, prompts: Sequence[Prompt], job: CostJob
) -> tuple[list[float], float | None, str | None]:
    """Seconds of each run, joules of one run on average, and why there are none."""
    seconds: list[float] = []
    before = read_energy()
    while not seconds or (len(seconds) < job.repeats and sum(seconds) < job.budget_s):
        started = time.perf_counter()
        model.predict(image, prompts)
        seconds.append(time.perf_counter() - started)
    joules = joules_between(before, read_energy())
    return seconds, None if joules is None else round(joules / len(seconds), 3), before.reason


def _operations(
    model: Model, image: Volume, prompts: Sequence[Prompt]
) -> tuple[int | None, int | None, tuple[CostPart, ...], str]:
    """MACs of the volume and of one call of every part, the parts, and what counted; also the warm-up run."""
    if not isinstance(model, NeuralModel):
        model.predict(image, prompts)
        return 0, 0, (), NO_COUNTER
    from oncoseg.inference.counting import COUNTER, counted

    found = counted(lambda: model.predict(image, prompts), model.network)
    parts = tuple(CostPart(name, part.items, part.macs // part.items) for name, part in found.parts.items())
    if not found.macs:
        return None, None, (), COUNTER
    return found.macs, sum(part.macs for part in parts), parts, COUNTER


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else 1
