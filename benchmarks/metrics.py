"""Scoring speed, side by side: Dice, IoU, HD95, ASSD and NSD of one lesion, with the values each gives.

    python benchmarks/metrics.py [--rounds 9] [--peers DIR] [--panoptica-python PYTHON]

Two masks of 256 x 256 x 120 voxels at (2.5, 1, 1) mm with a lesion of 30 mL. Every side is given its arrays in
the form it likes before the clock starts; rounds of all sides alternate. `--peers DIR` is a folder made by
`pip install --target DIR --no-deps monai==1.6.1 medpy==0.5.2`; `--panoptica-python` is the interpreter of an
environment of its own that holds panoptica, whose numpy is older. A peer that is not there is left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

SHAPE, SPACING, TOLERANCE_MM = (120, 256, 256), (2.5, 1.0, 1.0), 2.0
Values = dict[str, float]
Side = Callable[[], Values]


def lesion(centre_mm: tuple[float, float, float], radii_mm: tuple[float, float, float], lobes: float) -> np.ndarray:
    """An ellipsoid with a wavy surface, bool."""
    steps = [np.arange(n) * s - c for n, s, c in zip(SHAPE, SPACING, centre_mm, strict=True)]
    z, y, x = np.meshgrid(*[step / r for step, r in zip(steps, radii_mm, strict=True)], indexing="ij", sparse=True)
    wave = 1 + lobes * np.sin(5 * np.arctan2(y, x)) * np.cos(3 * z)
    return z**2 + y**2 + x**2 <= wave


def ours(reference: np.ndarray, prediction: np.ndarray) -> Side:
    from oncoseg.evaluation.pair import MaskPair
    from oncoseg.evaluation.scoring import metric
    from oncoseg.volume import Volume

    first, second = Volume.from_spacing(reference, SPACING), Volume.from_spacing(prediction, SPACING)
    names = ["dice", "iou", "hd95_max", "hd95_pooled", "assd", "masd", f"nsd_border@{TOLERANCE_MM:g}"]
    chosen = {name.partition("@")[0]: metric(name) for name in names}

    def score() -> Values:
        pair = MaskPair(first, second)
        return {name: each(pair).value or 0.0 for name, each in chosen.items()}

    return score


def monai(reference: np.ndarray, prediction: np.ndarray) -> Side:
    import torch
    from monai import metrics
    from monai.metrics.meaniou import compute_iou

    y, p = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (reference, prediction))
    options = {"include_background": True, "spacing": SPACING}

    def score() -> Values:
        return {
            "dice": float(metrics.compute_dice(p, y)),
            "iou": float(compute_iou(p, y)),
            "hd95_max": float(metrics.compute_hausdorff_distance(p, y, percentile=95, **options)),
            "assd": float(metrics.compute_average_surface_distance(p, y, symmetric=True, **options)),
            "nsd_border": float(metrics.compute_surface_dice(p, y, class_thresholds=[TOLERANCE_MM], **options)),
        }

    return score


def medpy(reference: np.ndarray, prediction: np.ndarray) -> Side:
    from medpy.metric import binary

    return lambda: {
        "dice": float(binary.dc(prediction, reference)),
        "iou": float(binary.jc(prediction, reference)),
        "hd95_pooled": float(binary.hd95(prediction, reference, voxelspacing=SPACING)),
        "assd": float(binary.assd(prediction, reference, voxelspacing=SPACING)),
    }


def panoptica(reference: np.ndarray, prediction: np.ndarray) -> Side:
    from panoptica.metrics import Metric

    y, p = reference.astype(np.uint8), prediction.astype(np.uint8)
    wanted = {"dice": Metric.DSC, "iou": Metric.IOU, "hd95_pooled": Metric.HD95, "masd": Metric.ASSD}

    def score() -> Values:
        one = {"ref_instance_idx": 1, "pred_instance_idx": 1, "voxelspacing": SPACING}
        values = {name: float(each(y, p, **one)) for name, each in wanted.items()}
        return {**values, "nsd_panoptica": float(Metric.NSD(y, p, **one, threshold=TOLERANCE_MM))}

    return score


def timed(side: Side) -> tuple[float, Values]:
    start = time.perf_counter()
    values = side()
    return time.perf_counter() - start, values


class InOtherPython:
    """A side that runs in another interpreter, one round a line, timed there."""

    def __init__(self, python: str, masks: Path) -> None:
        command = [python, __file__, "--serve", str(masks)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = str(json.loads(self.child.stdout.readline()))  # type: ignore[union-attr]

    def round(self) -> tuple[float, Values]:
        """Seconds and values of one more round."""
        self.child.stdin.write("go\n")  # type: ignore[union-attr]
        self.child.stdin.flush()  # type: ignore[union-attr]
        seconds, values = json.loads(self.child.stdout.readline())  # type: ignore[union-attr]
        return seconds, values

    def close(self) -> None:
        """End the other interpreter."""
        self.child.stdin.close()  # type: ignore[union-attr]
        self.child.wait(timeout=60)


def serve(masks: Path) -> None:
    """Answer "go" with the seconds and values of panoptica; runs inside the other interpreter."""
    with np.load(masks) as stored:
        side = panoptica(stored["reference"], stored["prediction"])
    print(json.dumps(version("panoptica")), flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed(side)), flush=True)


def show(times: dict[str, list[float]], values: dict[str, Values]) -> None:
    own = next(iter(times))
    print("\n| side | fastest s | median s | slower (fastest) | slower (median) |\n|---|---|---|---|---|")
    for name, seconds in times.items():
        fastest, middle = min(seconds), statistics.median(seconds)
        by_fastest, by_median = fastest / min(times[own]), middle / statistics.median(times[own])
        print(f"| {name} | {fastest:.4f} | {middle:.4f} | {by_fastest:.0f}x | {by_median:.0f}x |")
    names = sorted({name for found in values.values() for name in found})
    print(f"\n| value | {' | '.join(values)} |\n|---|{'---|' * len(values)}")
    for name in names:
        cells = [f"{found[name]:.9f}" if name in found else "" for found in values.values()]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", type=Path, help="folder with monai and medpy")
    parser.add_argument("--panoptica-python", help="interpreter of an environment with panoptica")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.peers:
        sys.path.append(str(options.peers))
    reference, prediction = lesion((150, 120, 130), (19, 21, 18), 0.15), lesion((152, 122, 131), (20, 19, 19), 0.1)
    run(reference, prediction, options)


def run(reference: np.ndarray, prediction: np.ndarray, options: argparse.Namespace) -> None:
    sides: dict[str, Callable[[], tuple[float, Values]]] = {}
    makers = {"oncoseg": ours, "monai": monai, "medpy": medpy}
    for name, make in makers.items():
        try:
            side = make(reference, prediction)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}")
            continue
        sides[f"{name} {version(name)}"] = lambda side=side: timed(side)
    with tempfile.TemporaryDirectory() as folder:
        masks = Path(folder) / "masks.npz"
        np.savez(masks, reference=reference, prediction=prediction)
        other = InOtherPython(options.panoptica_python, masks) if options.panoptica_python else None
        if other:
            sides[f"panoptica {other.version}"] = other.round
        times: dict[str, list[float]] = {name: [] for name in sides}
        values: dict[str, Values] = {}
        for number in range(options.rounds + 1):
            for name, side in sides.items():
                seconds, values[name] = side()
                if number:  # the first round warms up
                    times[name].append(seconds)
        if other:
            other.close()
    millilitres = reference.sum() * np.prod(SPACING) / 1000
    print(f"\nMasks {SHAPE} at {SPACING} mm, lesion {millilitres:.1f} mL, NSD at {TOLERANCE_MM:g} mm, ", end="")
    print(f"{options.rounds} rounds. Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}.")
    show(times, values)


if __name__ == "__main__":
    main()
