"""SAM-Med3D and M-SAM at the size of their papers: seconds for each refinement stage and each volume, and memory.

    python benchmarks/sam3d.py [--rounds 2] [--threads 1]

Cubes of 128^3 voxels, ViT-B, random weights, one volume at a time. The other side is attention written out in plain
torch, as the authors' code does it: windows padded with zeros to 14^3 tokens, bias tensors of the relative positions
for every pair of tokens, product, softmax, product. Everything else is the same network with the same weights, so the
outputs must be equal; the script says how far they differ and fails above 1e-4. Sides take turns, and seconds are those
of the processor, which other work on the machine changes least. Memory is the peak of a process of its own, all of
it: interpreter, libraries, weights, gradients and work; `training` is one step of M-SAM's recipe (eleven stages,
gradients, no optimiser).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.models import m_sam
from oncoseg.nn.sam3d.attention import VolumeAttention
from oncoseg.nn.sam3d.network import Sam3d
from oncoseg.nn.sam3d.prompts import VolumePrompts

STAGES, SIDE, LIMIT = 11, 128, 1e-4
SIDES = ("oncoseg", "plain attention")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        print(json.dumps(measured_alone(*arguments.child)))
        return
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {arguments.threads} thread(s), "
    )
    print(f"torch {torch.__version__}, float32, {arguments.rounds} rounds in turns, medians.\n")
    seconds, differences = measured_together(arguments.rounds)
    print("| part | oncoseg, CPU s | plain attention, CPU s | faster |\n|---|---:|---:|---:|")
    for part, (ours, plain) in seconds.items():
        print(f"| {part} | {ours:.3f} | {plain:.3f} | {plain / ours:.1f}x |")
    print("\n| output | largest difference | largest value |\n|---|---:|---:|")
    for name, (difference, largest) in differences.items():
        print(f"| {name} | {difference:.1e} | {largest:.1f} |")
    print(
        "\n| one process | oncoseg, GiB | plain attention, GiB | oncoseg, CPU s | plain attention, CPU s |", flush=True
    )
    print("|---|---:|---:|---:|---:|")
    for what in ("prediction", "training"):
        ours, plain = (alone(side, what, arguments.threads) for side in SIDES)
        peaks = f"{ours['peak'] / 2**30:.2f} | {plain['peak'] / 2**30:.2f}"
        print(f"| {what} | {peaks} | {ours['seconds']:.1f} | {plain['seconds']:.1f} |", flush=True)
    if max(difference for difference, _ in differences.values()) > LIMIT:
        raise SystemExit(f"The outputs differ by more than {LIMIT:g}.")


def plain_attention(self: VolumeAttention, tokens: Tensor) -> Tensor:
    """What `VolumeAttention.forward` computes, with nothing left out and nothing put together."""
    batch, n = tokens.shape[:2]
    side, heads = self.side, self.heads
    room = side - n
    padded = F.pad(tokens, (0, 0, 0, room, 0, room, 0, room))
    qkv = self.qkv(padded.flatten(1, 3)).unflatten(-1, (3, heads, -1))
    query, key, value = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    place = torch.arange(side)
    index = place[:, None] - place + side - 1
    grid = query.unflatten(1, (side, side, side))
    d = torch.einsum("bdhwc,dkc->bdhwk", grid, self.rel_pos_d[index])
    h = torch.einsum("bdhwc,hkc->bdhwk", grid, self.rel_pos_h[index])
    w = torch.einsum("bdhwc,wkc->bdhwk", grid, self.rel_pos_w[index])
    # The released code's sum: the fourth index of h and w comes from the key, see `oncoseg.nn.sam3d.attention`.
    bias = d[:, :, :, :, None, None] + h[:, :, :, None, :, None] + w[:, :, :, None, None]
    weights = (logits.unflatten(1, (side,) * 3).unflatten(4, (side,) * 3) + bias).flatten(4).flatten(1, 3).softmax(-1)
    attended = (weights @ value).unflatten(0, (batch, heads)).unflatten(2, (side,) * 3)
    cropped = attended[:, :, :n, :n, :n].permute(0, 2, 3, 4, 1, 5).flatten(4)
    projected: Tensor = self.proj(cropped)
    return projected


def plainly(side: str) -> Any:
    """The attention of a side while the block runs."""
    return nullcontext() if side == SIDES[0] else patch.object(VolumeAttention, "forward", plain_attention)


def network_of(seed: int = 0) -> Sam3d:
    """M-SAM as published, with tables of positions and low-rank changes that are not zero."""
    torch.manual_seed(seed)
    network: Sam3d = m_sam.build().network.eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return network


def shown() -> tuple[Tensor, VolumePrompts]:
    """A cube and the first click in it."""
    torch.manual_seed(1)
    fine = SIDE // 4
    points, labels = torch.tensor([[[64.0, 60.0, 70.0]]]), torch.ones(1, 1, dtype=torch.int64)
    return torch.randn(1, 1, SIDE, SIDE, SIDE), VolumePrompts(points, labels, torch.zeros(1, 1, fine, fine, fine))


def refined(network: Sam3d, embedding: Tensor, prompts: VolumePrompts, stages: int) -> Tensor:
    """Logits of the cube after so many stages with the same click, each beside the mask before it."""
    for _ in range(stages):
        answer = network.decode(embedding, prompts)
        prompts, whole = prompts._replace(masks=answer.logits), network.whole(answer.logits)
    return whole


def measured_together(rounds: int) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """Median seconds of both sides by part; largest difference between the sides and largest value, by output."""
    network = network_of()
    volume, prompts = shown()
    encoder: list[list[float]] = [[], []]
    stage: list[list[float]] = [[], []]
    embeddings, logits = [volume, volume], [volume, volume]
    with torch.inference_mode():
        for _ in range(rounds):
            for number, side in enumerate(SIDES):
                with plainly(side):
                    started = time.process_time()
                    embeddings[number] = network.embed(volume)
                    encoder[number].append(time.process_time() - started)
        for number, side in enumerate(SIDES):
            with plainly(side):
                logits[number] = refined(network, embeddings[number], prompts, STAGES)
        for _ in range(3 * rounds):
            for number, side in enumerate(SIDES):
                with plainly(side):
                    stage[number].append(seconds_of(lambda: refined(network, embeddings[0], prompts, 1)))
    once, each = ([statistics.median(taken) for taken in both] for both in (encoder, stage))
    seconds = {
        "image encoder, once a cube": (once[0], once[1]),
        "one refinement stage of M-SAM": (each[0], each[1]),
        f"a volume: the encoder once and {STAGES} stages": (once[0] + STAGES * each[0], once[1] + STAGES * each[1]),
    }
    outputs = {"embedding": embeddings, f"logits after {STAGES} stages": logits}
    return seconds, {name: (float((a - b).abs().max()), float(b.abs().max())) for name, (a, b) in outputs.items()}


def alone(side: str, what: str, threads: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--threads", str(threads), "--child", side, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured_alone(side: str, what: str) -> dict[str, float]:
    """Seconds and the peak memory of this process."""
    volume, prompts = shown()
    with plainly(side):
        if what == "prediction":
            network = network_of()
            with torch.inference_mode():
                seconds = seconds_of(lambda: refined(network, network.embed(volume), prompts, STAGES))
        else:
            seconds = step(volume)
    with Path("/proc/self/status").open() as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    return {"seconds": seconds, "peak": peak}


def step(volume: Tensor) -> float:
    """Seconds for the gradients of one training step of M-SAM."""
    model = m_sam.build()
    target = torch.zeros(1, SIDE, SIDE, SIDE)
    target[:, 50:80, 45:75, 60:90] = 1
    started = time.process_time()
    for _, loss in model.losses({"image": volume, "target": target}):
        loss.backward()
    return time.process_time() - started


def seconds_of(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


if __name__ == "__main__":
    main()
