"""Kill a training at random moments, resume it, and compare every byte with one that was never killed.

    python benchmarks/resume.py [--kills 20]

Each round trains a small U-Net in a child process that gets SIGKILL at a random moment (also in the middle of
writing a state), starts it again until it ends, and compares SHA-256 of weights, optimiser state and log.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from oncoseg.case import Case
from oncoseg.files import sha256
from oncoseg.models import unet
from oncoseg.training.loop import train
from oncoseg.training.settings import TrainConfig
from oncoseg.volume import Volume

CONFIG = TrainConfig(
    steps=60,
    batch=2,
    accumulate=2,
    learning_rate=2e-3,
    warm_up=10,
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


class Row(NamedTuple):
    """One training: the steps after which it was killed, and what came out equal."""

    killed_at: list[int]
    equal: dict[str, bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments.kills, random.Random(arguments.seed))


def compare(folder: Path, kills: int, rng: random.Random) -> None:
    start = time.perf_counter()
    run(folder / "straight")
    seconds = time.perf_counter() - start
    expected = hashes(folder / "straight")
    rows: list[Row] = []
    killed = folder / "killed"
    while (left := kills - sum(len(row.killed_at) for row in rows)) > 0:
        # Up to 3 kills in one training, at any moment after its first step; some come after its end.
        last = [run(killed, kill_after=rng.uniform(0.0, 0.4 * seconds)) for _ in range(min(3, left))]
        run(killed)
        found = hashes(killed)
        rows.append(Row([step for step in last if step is not None], {w: found[w] == expected[w] for w in COMPARED}))
        shutil.rmtree(killed)
    show(rows, expected, seconds)


def run(folder: Path, kill_after: float | None = None) -> int | None:
    """Train in a child; the last step it told before it was killed, None when it reached the end."""
    command = [sys.executable, __file__, "--child", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = process.stdout.readline()
        timer = threading.Timer(kill_after or 0.0, process.kill)
        if kill_after is not None:
            timer.start()
        for line in process.stdout:
            last = line
        code = process.wait()
        timer.cancel()
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"the training failed with exit code {code}")
    return int(last) if code else None


def child(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases = [case(n) for n in range(6)]
    model = unet.build(base=4, norm="batch", patch=48, spacing=None, dropout=0.2)
    train(
        model,
        training=cases[:5],
        validation=cases[5:],
        config=CONFIG,
        folder=folder,
        progress=lambda told: print(told.step, flush=True),
    )


def case(n: int) -> Case:
    rng = np.random.default_rng(n)
    z, y, x = np.indices((6, 48, 48))
    mask = (z - 3) ** 2 * 9 + (y - rng.integers(12, 36)) ** 2 + (x - rng.integers(12, 36)) ** 2 < 90
    image = Volume.from_spacing((rng.normal(-800, 60, mask.shape) + 800 * mask).astype(np.int16), (3.0, 1.0, 1.0))
    return Case(f"case{n}", f"patient{n}", image, {"tumour": image.with_voxels(mask)})


def hashes(folder: Path) -> dict[str, str]:
    return {what: sha256(folder / name) for what, name in COMPARED.items()}


def show(rows: list[Row], expected: dict[str, str], seconds: float) -> None:
    print("# Training resumed after SIGKILL\n")
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, 1 thread; {CONFIG.steps} steps, a state every"
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
