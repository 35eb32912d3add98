"""One forward and one backward pass of every trainable model at the size of its paper: seconds and peak memory.

    python benchmarks/paper_size.py [--models unetr swin_unetr.48] [--threads 1] [--batch 1] [--device cuda]

Each model is built with its default options in a process of its own and sees random patches of the size its options
name. Forward is prediction (no gradients kept); forward + backward is one loss with its gradients, without the
optimiser. Peak memory on the CPU is the largest resident memory of the process, all of it: interpreter, libraries,
weights, gradients and work; on an accelerator what torch allocated there. The first pass of each kind warms up on an
accelerator and is what is timed on the CPU, where a second would cost minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from oncoseg import registry
from oncoseg.contracts import ModelInfo, Trainable

COLUMNS = "| model | input | parameters | forward, s | forward + backward, s | peak memory forward / training, GiB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", help="names, with or without variant; all trainable ones by default")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a model is given up")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments)))
        return
    chosen = [info for info in shelf() if info.trainable and wanted(info, arguments.models)]
    if not chosen:
        raise SystemExit(f"No trainable model is named {arguments.models}.")
    import torch

    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{arguments.threads} threads"
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {where}, ", end="")
    print(f"torch {torch.__version__}, {arguments.precision}.\n\n{COLUMNS}\n|---|---|---:|---:|---:|---:|", flush=True)
    for info in chosen:
        print(row(info, arguments), flush=True)


def shelf() -> list[ModelInfo]:
    return [info for name in registry.names("models") for info in registry.load("models", name).INFOS]


def wanted(info: ModelInfo, names: list[str] | None) -> bool:
    return not names or info.name in names or info.full_name in names


def row(info: ModelInfo, arguments: argparse.Namespace) -> str:
    """A line of the table, or what came in the way."""
    options = ["--threads", str(arguments.threads), "--batch", str(arguments.batch), "--device", arguments.device]
    command = [sys.executable, __file__, "--child", info.full_name, *options, "--precision", arguments.precision]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.limit, check=False)
    except subprocess.TimeoutExpired:
        return f"| {info.full_name} | - | {info.parameters:,} | not done in {arguments.limit:.0f} s | | |"
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed: too little memory?"])[-1]
        return f"| {info.full_name} | - | {info.parameters:,} | failed ({done.returncode}): {reason} | | |"
    found = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in found:
        return f"| {info.full_name} | - | {info.parameters:,} | {found['skipped']} | | |"
    size = " x ".join(map(str, found["input"]))
    peaks = " / ".join(f"{peak / 2**30:.2f}" for peak in found["peaks"])
    times = " | ".join(f"{seconds:.2f}" for seconds in found["seconds"])
    return f"| {info.full_name} | {size} | {found['parameters']:,} | {times} | {peaks} |"


def measure(full_name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a child process finds out."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    name, variant = registry.split_variant(full_name)
    model = registry.load("models", name).build(variant)
    if not isinstance(model, Trainable):
        return {"skipped": "trains itself, in processes of its own"}
    model.network.to(arguments.device)
    settings: Any = model.options()
    patch = settings["patch"]
    size = tuple(patch) if model.info.dimension == "3d" else (patch, patch)
    try:
        seconds, peaks, batch = passes(model, settings, size, arguments.batch, arguments)
    except ValueError as error:
        # Batch normalisation over a single value, e.g. of image-wide pooling, needs a second image.
        if "more than 1 value per channel" not in str(error):
            raise
        seconds, peaks, batch = passes(model, settings, size, arguments.batch + 1, arguments)
    parameters = sum(p.numel() for p in model.network.parameters())
    shape = [batch, settings["channels"], *size]
    return {"input": shape, "parameters": parameters, "seconds": seconds, "peaks": peaks}


def passes(
    model: Trainable, settings: dict[str, Any], size: tuple[int, ...], batch: int, arguments: argparse.Namespace
) -> tuple[list[float], list[int], int]:
    """Seconds and peak memory of prediction and of training."""
    import torch

    device = arguments.device
    x = torch.rand(batch, settings["channels"], *size, device=device)
    classes = (torch.rand(batch, *size, device=device) > 0.9).to(torch.uint8)

    def predict() -> None:
        with torch.inference_mode():
            model.network.eval()(x)

    def descend() -> None:
        model.network.train()
        for _, loss in model.losses({"image": x, "classes": classes}):
            loss.backward()

    seconds, peaks = [], []
    for work in (predict, descend):
        with torch.autocast(device, torch.bfloat16, enabled=arguments.precision == "bfloat16"):
            if device != "cpu":
                work()
            forget_peak(device)
            started = time.perf_counter()
            work()
            peaks.append(peak(device))
            seconds.append(time.perf_counter() - started)
    return seconds, peaks, batch


def forget_peak(device: str) -> None:
    if device == "cpu":
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> int:
    """Bytes since `forget_peak`; waits for the device."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    from oncoseg.experiments.cost import peak_memory_bytes

    return peak_memory_bytes() or 0


if __name__ == "__main__":
    main()
