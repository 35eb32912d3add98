"""Kill a training at random moments, resume it, and compare every byte with one that was never killed.

    python benchmarks/resume.py [--kills 20]                 one process, started again by hand
    python benchmarks/resume.py --processes 2 [--machines 2] [--kills 20]   several, replaced by torchrun

Each round trains a small U-Net in child processes. One of them, drawn by chance, gets SIGKILL at a random moment (also
in the middle of writing a state), until the training ends; then SHA-256 of weights, optimiser state and log are
compared. `--machines` starts so many torchruns, which know each other by their network alone, as on several machines.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch

from oncoseg.case import Case
from oncoseg.files import sha256
from oncoseg.models import unet
from oncoseg.training.loop import Progress, train
from oncoseg.training.ranks import joined
from oncoseg.training.settings import TrainConfig
from oncoseg.volume import Volume

CONFIG = TrainConfig(
    steps=60,
    batch=2,
    accumulate=2,
    learning_rate=2e-3,
    schedule="multistep",
    milestones=(30, 50),
    warm_up=10,
    ema=0.99,
    clip=1.0,
    validate_every=3,
    device="cpu",
    keep_state=True,
)
COMPARED = {
    "weights": "checkpoint.safetensors",
    "optimiser": f"state/state-{CONFIG.steps:08d}.safetensors",
    "log": "training.jsonl",
}


class Start(NamedTuple):
    """How a training is started: processes in all, and the machines (here: torchruns) they are on."""

    processes: int
    machines: int


class Row(NamedTuple):
    """One training: the steps after which it was killed, and what came out equal."""

    killed_at: list[int]
    equal: dict[str, bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        start = Start(arguments.processes, arguments.machines)
        compare(Path(folder), start, arguments.kills, random.Random(arguments.seed))


def compare(folder: Path, start: Start, kills: int, rng: random.Random) -> None:
    begun = time.perf_counter()
    run(folder / "straight", start)
    seconds = time.perf_counter() - begun
    first, last = (folder / f"straight.{name}" for name in ("first", "step"))
    steps_took = last.stat().st_mtime - first.stat().st_mtime
    expected = hashes(folder / "straight")
    rows: list[Row] = []
    killed = folder / "killed"
    # Up to 3 kills in one training started by hand, at any moment after its first step, a few after its end; torchrun
    # gets one, on any of its processes.
    at_most = 3 if start.processes == 1 else 1
    while (left := kills - sum(len(row.killed_at) for row in rows)) > 0:
        moments = [rng.uniform(0.0, 1.1 * steps_took / at_most) for _ in range(min(at_most, left))]
        shot = [run(killed, start, kill_after=moment, victim=rng.random()) for moment in moments]
        if start.processes == 1:
            run(killed, start)
        found = hashes(killed)
        rows.append(Row([step for step in shot if step is not None], {w: found[w] == expected[w] for w in COMPARED}))
        print(f"{len(rows)}: killed after step {rows[-1].killed_at}, {rows[-1].equal}", file=sys.stderr, flush=True)
        shutil.rmtree(killed)
        killed.with_suffix(".step").unlink(missing_ok=True)
    show(rows, start, expected, seconds)


def commands(folder: Path, start: Start) -> list[list[str]]:
    """What to type, on each machine."""
    script = [__file__, "--child", str(folder)]
    if start.processes == 1:
        return [[sys.executable, *script]]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        [
            *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={start.machines}", "--max-restarts=3"),
            *(f"--nproc-per-node={start.processes // start.machines}", "--rdzv-backend=c10d", "--rdzv-id=resume"),
            *(f"--rdzv-endpoint=127.0.0.1:{port}", *script),
        ]
        for _ in range(start.machines)
    ]


def run(folder: Path, start: Start, kill_after: float | None = None, victim: float = 0.0) -> int | None:
    """Train in children; the last step told before one was killed, None when none was before the end."""
    folder.with_suffix(".step").unlink(missing_ok=True)
    started = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for c in commands(folder, start)]
    shot: list[int | None] = []

    def shoot() -> None:
        alive = [p for process in started for p in training_processes(process.pid)]
        if alive:
            chosen = alive[int(victim * len(alive))]
            with suppress(psutil.NoSuchProcess):
                chosen.kill()
                shot.append(last_step(folder))

    while last_step(folder) is None and any(process.poll() is None for process in started):
        time.sleep(0.02)
    timer = threading.Timer(kill_after or 0.0, shoot)
    if kill_after is not None:
        timer.start()
    ended = [process.communicate(timeout=300) for process in started]
    timer.cancel()
    codes = {process.returncode for process in started}
    if codes - {0, -signal.SIGKILL}:
        raise SystemExit(f"the training failed with exit codes {codes}:\n{ended[0][1].decode()[-3000:]}")
    return shot[0] if shot else None


def training_processes(pid: int) -> list[psutil.Process]:
    """The processes that train below a started one, itself among them."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(pid)
        return [p for p in (family.children() or [family]) if p.is_running()]
    return []


def last_step(folder: Path) -> int | None:
    """The newest step that was told; None before the first."""
    told = folder.with_suffix(".step")
    return int(told.read_text() or 0) if told.exists() else None


def child(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases = [case(n) for n in range(6)]
    model = unet.build(base=4, norm="batch", patch=48, spacing=None, dropout=0.2)
    with joined() as ranks:

        def tell(told: Progress) -> None:
            if ranks.first:
                folder.with_suffix(".step").write_text(str(told.step))
                if told.step == 1:
                    folder.with_suffix(".first").touch()

        train(model, training=cases[:5], validation=cases[5:], config=CONFIG, folder=folder, progress=tell, ranks=ranks)


def case(n: int) -> Case:
    rng = np.random.default_rng(n)
    z, y, x = np.indices((6, 48, 48))
    mask = (z - 3) ** 2 * 9 + (y - rng.integers(12, 36)) ** 2 + (x - rng.integers(12, 36)) ** 2 < 90
    image = Volume.from_spacing((rng.normal(-800, 60, mask.shape) + 800 * mask).astype(np.int16), (3.0, 1.0, 1.0))
    return Case(f"case{n}", f"patient{n}", image, {"tumour": image.with_voxels(mask)})


def hashes(folder: Path) -> dict[str, str]:
    return {what: sha256(folder / name) for what, name in COMPARED.items()}


def show(rows: list[Row], start: Start, expected: dict[str, str], seconds: float) -> None:
    print("# Training resumed after SIGKILL\n")
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {start.processes} processes of 1 thread on "
        f"{start.machines} machines; {CONFIG.steps} steps, a state every"
    )
    print(f"{CONFIG.validate_every}; a whole training with start-up took {seconds:.0f} s.\n")
    print("| training | killed after step | weights | optimiser | log |")
    print("|---|---|---|---|---|")
    for number, row in enumerate(rows, start=1):
        cells = " | ".join("equal" if row.equal[what] else "DIFFERENT" for what in COMPARED)
        print(f"| {number} | {', '.join(map(str, row.killed_at)) or 'after the end'} | {cells} |")
    kills = sum(len(row.killed_at) for row in rows)
    alike = sum(all(row.equal.values()) for row in rows)
    print(f"\n{kills} kills in {len(rows)} trainings; {alike} of {len(rows)} ended with every byte as without a kill.")
    print("\n".join(f"- {what}: SHA-256 {value[:16]}..." for what, value in expected.items()))


if __name__ == "__main__":
    main()
