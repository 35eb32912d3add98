"""A small 3D U-Net over 256x256x120 voxels in overlapping windows, beside the peers, same weights and same volume.

    python benchmarks/inference.py [--rounds 3] [--peers DIR] [--shape 120 256 256]

The network: four levels of 16, 32, 64 and 128 channels, two 3x3x3 convolutions each with instance norm and leaky ReLU,
strided down and transposed up, 3 classes (background, lungs, tumour); trained for some steps on a phantom, so that
masks mean something. Windows of 96^3, overlap 0.5, Gaussian weights, no mirroring. Every run is a process of its own,
sides in turns; the network has seen one window before the clock starts. All make a label map (uint8) of the volume.
Memory is what a process holds at its most beyond what it held before that window (interpreter, libraries, image,
weights), so what OpenVINO compiles counts; and all it holds.
Logits are compared on the volume's corner, eight windows. nnU-Net keeps its sums in half precision, so its logits are
compared twice: as they come, and with its sums in float32.

Peers that are not installed are named and left out. `--peers DIR` is a folder made by `pip install --target DIR
--no-deps openvino openvino-telemetry nnunetv2 dynamic-network-architectures batchgenerators batchgeneratorsv2
acvl-utils pandas SimpleITK`; MONAI comes with oncoseg.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from oncoseg.datasets.phantom import build
from oncoseg.experiments.cost import peak_memory_bytes
from oncoseg.inference.running import Running, runner
from oncoseg.inference.windows import slide
from oncoseg.nn.losses import weighted_loss

WINDOW, OVERLAP, CLASSES = (96, 96, 96), 0.5, 3
WIDTHS = (16, 32, 64, 128)
Infer = Callable[[Tensor], Tensor]  # (1, slices, rows, columns) to logits (CLASSES, ...) or a label map


def block(source: int, target: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, step in ((source, stride), (target, 1)):
        layers += [nn.Conv3d(channels, target, 3, step, 1), nn.InstanceNorm3d(target, affine=True)]
        layers.append(nn.LeakyReLU(0.01, inplace=True))
    return nn.Sequential(*layers)


class SmallUNet(nn.Module):
    """See above."""

    def __init__(self) -> None:
        super().__init__()
        steps = zip((1, *WIDTHS), WIDTHS, strict=False)
        self.down = nn.ModuleList(block(a, b, 1 if a == 1 else 2) for a, b in steps)
        self.up = nn.ModuleList(nn.ConvTranspose3d(2 * a, a, 2, 2) for a in WIDTHS[:-1])
        self.merge = nn.ModuleList(block(2 * a, a) for a in WIDTHS[:-1])
        self.head = nn.Conv3d(WIDTHS[0], CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, ...) to logits (batch, CLASSES, ...)."""
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        for up, merge, skip in zip(reversed(self.up), reversed(self.merge), levels[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


def ours(network: nn.Module, running: Running, labels: bool, convention: str = "monai") -> Infer:
    run = runner(network, running)
    finish = (lambda logits: logits.argmax(0, keepdim=True).to(torch.uint8)) if labels else None
    options: dict[str, Any] = {"window": WINDOW, "overlap": OVERLAP, "convention": convention, "finish": finish}
    return lambda image: slide(run, image, **options)


def monais(network: nn.Module, labels: bool) -> Infer:
    from monai.inferers import sliding_window_inference

    def infer(image: Tensor) -> Tensor:
        with torch.no_grad():
            logits = sliding_window_inference(image[None], WINDOW, 1, network, overlap=OVERLAP, mode="gaussian")[0]
        return logits.argmax(0, keepdim=True).to(torch.uint8) if labels else logits

    return infer


def nnunets(network: nn.Module, labels: bool, sums: torch.dtype = torch.half) -> Infer:
    declare_torchvision()
    from nnunetv2.inference import predict_from_raw_data as nnunet

    options = {"use_mirroring": False, "perform_everything_on_device": False, "allow_tqdm": False}
    predictor = nnunet.nnUNetPredictor(tile_step_size=1 - OVERLAP, device=torch.device("cpu"), **options)
    predictor.network, predictor.allowed_mirroring_axes = network, None
    predictor.configuration_manager = SimpleNamespace(patch_size=list(WINDOW))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=CLASSES)
    if sums != torch.half:
        nnunet.compute_gaussian = functools.partial(nnunet.compute_gaussian, dtype=sums)
        # It asks torch for "half" where it makes its sums.
        nnunet.torch = SimpleNamespace(**{**vars(torch), "half": sums})

    def infer(image: Tensor) -> Tensor:
        logits = predictor.predict_sliding_window_return_logits(image)
        return logits.argmax(0, keepdim=True).to(torch.uint8) if labels else logits.float()

    return infer


def declare_torchvision() -> None:
    """The published torchvision does not import beside a CPU torch unless these operators are declared."""
    if importlib.util.find_spec("torchvision"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            with suppress(RuntimeError):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        declare_torchvision.kept = library  # type: ignore[attr-defined]


RUNNINGS = {
    "oncoseg, torch float32": Running(),
    "oncoseg, torch float32 channels-last": Running(layout="channels-last"),
    "oncoseg, torch bfloat16": Running("bfloat16"),
    "oncoseg, torch bfloat16 channels-last": Running("bfloat16", layout="channels-last"),
    "oncoseg, OpenVINO float32": Running(backend="openvino"),
    "oncoseg, OpenVINO bfloat16": Running("bfloat16", "openvino"),
}
MONAI, NNUNET = "MONAI sliding_window_inference", "nnU-Net predictor"
#: Only for the comparison of logits.
OURS_AS_NNUNET, NNUNET_FLOAT32 = "oncoseg, nnU-Net's convention", "nnU-Net predictor, sums in float32"
NEEDS = {NNUNET: "nnunetv2", NNUNET_FLOAT32: "nnunetv2", MONAI: "monai"} | {
    name: "openvino" for name, running in RUNNINGS.items() if running.backend == "openvino"
}


def infer_as(side: str, network: nn.Module, labels: bool) -> Infer:
    if side in RUNNINGS:
        return ours(network, RUNNINGS[side], labels)
    if side == OURS_AS_NNUNET:
        return ours(network, Running(), labels, "nnunet")
    if side == MONAI:
        return monais(network, labels)
    return nnunets(network, labels, torch.float32 if side == NNUNET_FLOAT32 else torch.half)


def run_side(side: str, folder: Path, labels: bool) -> None:
    """The child: one run on the stored volume, its result to `result.npy`, its cost to standard output."""
    network = SmallUNet().eval().requires_grad_(False)
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    image = torch.from_numpy(np.load(folder / "image.npy"))[None]
    infer = infer_as(side, network, labels)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak_memory_bytes() or 0
    infer(image[:, : WINDOW[0], : WINDOW[1], : WINDOW[2]])
    corner = image[:, : WINDOW[0] + 8, : WINDOW[1] + 48, : WINDOW[2] + 48]
    started, used = time.perf_counter(), time.process_time()
    result = infer(image if labels else corner)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    after = peak_memory_bytes() or 0
    np.save(folder / "result.npy", result.numpy())
    cost = {"seconds": seconds, "cpu": cpu, "beyond": after - before, "peak": after}
    sys.stdout.write(json.dumps(cost))


def child(side: str, folder: Path, *, labels: bool, peers: Path | None) -> tuple[dict[str, float], Any]:
    environment = dict(os.environ)
    if peers:
        environment["PYTHONPATH"] = os.pathsep.join([str(peers), *filter(None, [environment.get("PYTHONPATH")])])
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), *(["--labels"] if labels else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed with {done.returncode}:\n{done.stderr[-3000:]}")
    cost: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return cost, np.load(folder / "result.npy")


def prepare(folder: Path, shape: tuple[int, int, int], steps: int) -> None:
    """A phantom's volume and a network that has learned a little of it."""
    options = {"tumours": [2, 2], "volume_ml": [80.0, 120.0], "spacing": [2.5, 1.4, 1.4]}
    case = build(cases=1, shape=list(shape), **options).load("phantom-0000")
    image = np.clip((case.image.voxels.astype(np.float32) + 1000) / 2000, 0, 1)
    classes = np.zeros(shape, np.int64)
    for name, mask in case.masks.items():
        if "lung" in name.lower():
            classes[mask.voxels] = 1
    classes[case.mask().voxels] = 2
    np.save(folder / "image.npy", image)
    torch.manual_seed(0)
    network, rng = SmallUNet(), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    side = min(64, *shape)
    for _ in range(steps):
        spots = np.argwhere(classes == int(rng.integers(1, CLASSES)))
        centre = spots[rng.integers(len(spots))]
        low = [int(np.clip(c - side // 2, 0, n - side)) for c, n in zip(centre, shape, strict=True)]
        region = tuple(slice(a, a + side) for a in low)
        x, y = (torch.from_numpy(np.ascontiguousarray(a[region]))[None] for a in (image, classes))
        loss = weighted_loss(network(x[None]), y, {"dice_squared": 1.0, "cross_entropy": 1.0})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    save_file(network.state_dict(), folder / "weights.safetensors")


def lowest_dice(reference: Any, labels: Any) -> float:
    pairs = [(reference == number, labels == number) for number in range(1, CLASSES)]
    return min(2 * float((a & b).sum()) / max(1.0, float(a.sum() + b.sum())) for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=(120, 256, 256))
    parser.add_argument("--steps", type=int, default=60, help="training steps")
    parser.add_argument("--peers", type=Path, help="folder with the peers' packages")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--labels", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        run_side(arguments.side, arguments.folder, arguments.labels)
        return
    if arguments.peers:
        sys.path.append(str(arguments.peers))
    missing = {name for name, package in NEEDS.items() if not importlib.util.find_spec(package)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, tuple(arguments.shape), arguments.steps)
        measure(folder, arguments, missing)


def measure(folder: Path, arguments: argparse.Namespace, missing: set[str]) -> None:
    sides = [side for side in (*RUNNINGS, MONAI, NNUNET) if side not in missing]
    costs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    labels: dict[str, Any] = {}
    for _ in range(arguments.rounds):
        for side in sides:
            cost, labels[side] = child(side, folder, labels=True, peers=arguments.peers)
            costs[side].append(cost)
            print(f"{side}: {cost['seconds']:.1f} s", file=sys.stderr, flush=True)
    compared = [side for side in (*sides, OURS_AS_NNUNET, NNUNET_FLOAT32) if side not in missing]
    logits = {side: child(side, folder, labels=False, peers=arguments.peers)[1] for side in compared}
    show(costs, labels, arguments)
    show_logits(logits)
    if missing:
        print(f"\nNot installed, left out: {', '.join(sorted(missing))}.")


def show(costs: dict[str, list[dict[str, float]]], labels: dict[str, Any], arguments: argparse.Namespace) -> None:
    def middle(side: str, key: str) -> float:
        return float(np.median([cost[key] for cost in costs[side]]))

    first = next(iter(labels.values()))
    peers = [side for side in (MONAI, NNUNET) if side in costs]
    parameters = sum(p.numel() for p in SmallUNet().parameters())
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, ",
        end="",
    )
    print(
        f"{torch.get_num_threads()} threads; volume {tuple(arguments.shape)}; network of {parameters:,} parameters; ",
        end="",
    )
    print(f"medians of {arguments.rounds} rounds, sides in turns; classes 1 and 2 are ", end="")
    print(f"{100 * float((first == 1).mean()):.1f} and {100 * float((first == 2).mean()):.2f} % of the volume.\n")
    heads = [f"faster than {peer} (CPU s)" for peer in peers]
    print(f"| {' | '.join(['side', 's', 'CPU s', *heads, 'MiB beyond (all)', 'Dice with float32'])} |")
    print("|---|---:|---:|" + "---:|" * len(peers) + "---:|---:|")
    for side in costs:
        ratios = [
            f"{middle(p, 'seconds') / middle(side, 'seconds'):.2f}x ({middle(p, 'cpu') / middle(side, 'cpu'):.2f}x)"
            for p in peers
        ]
        dice = lowest_dice(first, labels[side])
        memory = f"{middle(side, 'beyond') / 2**20:.0f} ({middle(side, 'peak') / 2**20:.0f})"
        cells = [side, f"{middle(side, 'seconds'):.1f}", f"{middle(side, 'cpu'):.1f}", *ratios, memory, f"{dice:.6f}"]
        print(f"| {' | '.join(cells)} |")


def show_logits(logits: dict[str, Any]) -> None:
    print("\n| logits of eight windows | compared with | largest difference | largest logit |")
    print("|---|---|---:|---:|")
    pairs = [(side, MONAI) for side in RUNNINGS] + [(OURS_AS_NNUNET, NNUNET_FLOAT32), (OURS_AS_NNUNET, NNUNET)]
    for side, other in pairs:
        if side in logits and other in logits:
            apart = float(np.abs(logits[side] - logits[other]).max())
            print(f"| {side} | {other} | {apart:.2g} | {float(np.abs(logits[other]).max()):.1f} |")


if __name__ == "__main__":
    main()
