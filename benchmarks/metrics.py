"""Scoring speed and memory, side by side, with the values each side gives.

    python benchmarks/metrics.py [--rounds 5] [--peers DIR] [--panoptica-python PYTHON] [--cases 1000 --workers 2]

One case of 512 x 512 x 120 voxels at (2.5, 0.8, 0.8) mm with three lesions of 31, 4.3 and 0.6 mL, all found, and one
false lesion. `oncoseg, battery` is every metric of the shelf: overlap, borders at three tolerances, boundary IoU, added
path length, lesions under three matching rules, and calibration of a probability in three regions. The others compute
what they have among Dice, IoU, HD95, ASSD, NSD at 2 mm and lesion quality. Every side runs in a process of its own that
is given its arrays before the clock starts; memory is the peak above what it held then. `--peers DIR` is a folder made
by `pip install --target DIR --no-deps monai==1.6.1 medpy==0.5.2 SimpleITK==2.5.7`; `--panoptica-python` is the
interpreter of an environment of its own that holds panoptica, whose numpy is older. A peer that is not there is left
out. `--cases` scores that many smaller cases with the battery, in parallel.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np

SHAPE, SPACING, TOLERANCE_MM = (120, 512, 512), (2.5, 0.8, 0.8), 2.0
#: Centres and radii in mm, and how wavy the surface is.
REFERENCE = (
    ((150, 120, 130), (19, 21, 18), 0.15),
    ((90, 250, 300), (9, 11, 10), 0.1),
    ((220, 300, 150), (5, 6, 5), 0.0),
)
PREDICTION = (
    ((152, 122, 131), (20, 19, 19), 0.1),
    ((91, 251, 299), (9, 10, 10), 0.12),
    ((221, 301, 151), (5, 5, 5), 0.0),
    ((60, 100, 320), (6, 6, 6), 0.0),
)
Values = dict[str, float]
Side = Callable[[], Values]


class Masks(NamedTuple):
    """A case: reference and prediction (bool), and the probability of the prediction (float32)."""

    reference: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray


def lesion(shape: Sequence[int], centre_mm: Sequence[float], radii_mm: Sequence[float], lobes: float) -> np.ndarray:
    """An ellipsoid with a wavy surface, bool; made slice by slice, so that nothing large was ever held."""
    steps = [np.arange(n) * s - c for n, s, c in zip(shape, SPACING, centre_mm, strict=True)]
    heights, y, x = (step / radius for step, radius in zip(steps, radii_mm, strict=True))
    turn, flat = np.sin(5 * np.arctan2(y[:, None], x)), y[:, None] ** 2 + x**2
    return np.stack([z**2 + flat <= 1 + lobes * turn * np.cos(3 * z) for z in heights])


def the_case() -> Masks:
    """The case of the table; its probability is above 0 everywhere, as a network's is."""
    reference, prediction = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for mask, lesions in ((reference, REFERENCE), (prediction, PREDICTION)):
        for one in lesions:
            mask |= lesion(SHAPE, *one)
    rng = np.random.default_rng(0)
    probability = np.empty(SHAPE, np.float32)
    for each in probability:
        each[:] = 0.02 * rng.random(each.shape, dtype=np.float32) ** 8
    probability[prediction] = 0.5001 + 0.499 * rng.random(int(prediction.sum()), dtype=np.float32)
    return Masks(reference, prediction, probability)


def battery(masks: Masks) -> Side:
    from oncoseg.evaluation.pair import MaskPair
    from oncoseg.evaluation.scoring import EVERY_METRIC, metric

    chosen = [metric(name) for name in EVERY_METRIC]

    def score() -> Values:
        pair = MaskPair.from_arrays(masks.reference, masks.prediction, SPACING, probability=masks.probability)
        return {each.name: value for each in chosen if (value := each(pair).value) is not None}

    return score


def usual(masks: Masks) -> Side:
    from oncoseg.evaluation.pair import MaskPair
    from oncoseg.evaluation.scoring import metric

    names = ["dice", "iou", "hd95_max", "hd95_pooled", "assd", "masd", f"nsd_border@{TOLERANCE_MM:g}"]
    chosen = [metric(name) for name in (*names, "lesion_pq", "lesion_sq", "lesion_f1")]

    def score() -> Values:
        pair = MaskPair.from_arrays(masks.reference, masks.prediction, SPACING)
        return {each.name: each(pair).value or 0.0 for each in chosen}

    return score


def monai(masks: Masks) -> Side:
    import torch
    from monai import metrics
    from monai.metrics.meaniou import compute_iou

    y, p = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in masks[:2])
    options = {"include_background": True, "spacing": SPACING}

    def score() -> Values:
        return {
            "dice": float(metrics.compute_dice(p, y)),
            "iou": float(compute_iou(p, y)),
            "hd95_max": float(metrics.compute_hausdorff_distance(p, y, percentile=95, **options)),
            "assd": float(metrics.compute_average_surface_distance(p, y, symmetric=True, **options)),
            f"nsd_border@{TOLERANCE_MM:g}": float(
                metrics.compute_surface_dice(p, y, class_thresholds=[TOLERANCE_MM], **options)
            ),
        }

    return score


def medpy(masks: Masks) -> Side:
    from medpy.metric import binary

    reference, prediction = masks[:2]
    return lambda: {
        "dice": float(binary.dc(prediction, reference)),
        "iou": float(binary.jc(prediction, reference)),
        "hd95_pooled": float(binary.hd95(prediction, reference, voxelspacing=SPACING)),
        "assd": float(binary.assd(prediction, reference, voxelspacing=SPACING)),
    }


def simpleitk(masks: Masks) -> Side:
    import SimpleITK as sitk  # noqa: N813

    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks[:2]]
    for image in images:
        image.SetSpacing(SPACING[::-1])

    def score() -> Values:
        overlap, distance = sitk.LabelOverlapMeasuresImageFilter(), sitk.HausdorffDistanceImageFilter()
        overlap.Execute(*images)
        distance.Execute(*images)
        # Its distances are to the solid, so they have names of their own.
        return {
            "dice": overlap.GetDiceCoefficient(),
            "iou": overlap.GetJaccardCoefficient(),
            "hd to the solid": distance.GetHausdorffDistance(),
            "average hd to the solid": distance.GetAverageHausdorffDistance(),
        }

    return score


def panoptica(masks: Masks) -> Side:
    """Binary metrics of all lesions together, and lesion quality by panoptica's own evaluator."""
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
    )
    from panoptica.metrics import Metric

    y, p = masks.reference.astype(np.uint8), masks.prediction.astype(np.uint8)
    wanted = {"dice": Metric.DSC, "iou": Metric.IOU, "hd95_pooled": Metric.HD95, "masd": Metric.ASSD}
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(),
        instance_metrics=[Metric.IOU],
        global_metrics=[],
        log_times=False,
        verbose=False,
    )

    def score() -> Values:
        one = {"ref_instance_idx": 1, "pred_instance_idx": 1, "voxelspacing": SPACING}
        values = {name: float(each(y, p, **one)) for name, each in wanted.items()}
        with contextlib.redirect_stdout(None):
            found = next(iter(evaluator.evaluate(p, y, verbose=False).values()))
        lesions = {"lesion_pq": float(found.pq), "lesion_sq": float(found.sq), "lesion_f1": float(found.rq)}
        return {**values, "nsd_panoptica": float(Metric.NSD(y, p, **one, threshold=TOLERANCE_MM)), **lesions}

    return score


SIDES: dict[str, tuple[Callable[[Masks], Side], str]] = {
    "oncoseg, battery": (battery, "oncoseg"),
    "oncoseg, the others' metrics": (usual, "oncoseg"),
    "monai": (monai, "monai"),
    "medpy": (medpy, "medpy"),
    "SimpleITK": (simpleitk, "SimpleITK"),
    "panoptica": (panoptica, "panoptica"),
}


def serve(name: str, peers: str) -> None:
    """Runs inside the side's own interpreter: answers every line with seconds, CPU seconds and values."""
    from importlib.metadata import version

    if peers:
        sys.path.append(peers)
    make, package = SIDES[name]
    masks = the_case()
    side = make(masks)
    print(json.dumps(version(package)), flush=True)
    for _ in sys.stdin:
        before = peak_bytes()
        start, cpu = time.perf_counter(), time.process_time()
        values = side()
        taken = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        print(json.dumps({**taken, "bytes": peak_bytes() - before, "values": values}), flush=True)


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Process:
    """A side in another process, one round a line, timed there."""

    def __init__(self, name: str, python: str, peers: str) -> None:
        command = [python, __file__, "--serve", name, "--peers", peers]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._answer()

    def round(self) -> dict[str, Any]:
        """One more round; None of the version where the peer is missing."""
        self.child.stdin.write("go\n")  # type: ignore[union-attr]
        self.child.stdin.flush()  # type: ignore[union-attr]
        found: dict[str, Any] = self._answer()
        return found

    def close(self) -> None:
        """End the other process."""
        self.child.stdin.close()  # type: ignore[union-attr]
        self.child.wait(timeout=60)

    def _answer(self) -> Any:
        line = self.child.stdout.readline()  # type: ignore[union-attr]
        return json.loads(line) if line else None


def compare(options: argparse.Namespace) -> None:
    """One table of times and memory, one of values."""
    peers = str(options.peers or "")
    rows: dict[str, list[dict[str, Any]]] = {}
    for name in SIDES:
        python = options.panoptica_python if name == "panoptica" else sys.executable
        if not python:
            continue
        process = Process(name, python, peers)
        if process.version is None:
            print(f"{name} is left out: it is not installed.")
            continue
        label = f"{name} {process.version}"
        found = [process.round() for _ in range(options.rounds + 1)]
        process.close()
        # The first round warms up, and it alone raises the peak.
        rows[label] = [{**one, "bytes": found[0]["bytes"]} for one in found[1:]]
        print(f"{label}: {min(one['seconds'] for one in rows[label]):.3f} s", file=sys.stderr)
    show(rows)


def show(rows: dict[str, list[dict[str, Any]]]) -> None:
    own = min(one["seconds"] for one in rows[next(iter(rows))])
    print("\n| side | metrics | fastest s | median s | CPU s | extra memory, MB | times the battery |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, rounds in rows.items():
        seconds = [one["seconds"] for one in rounds]
        cells = [f"{min(seconds):.3f}", f"{statistics.median(seconds):.3f}", f"{min(o['cpu'] for o in rounds):.3f}"]
        cells += [f"{rounds[0]['bytes'] / 1e6:.0f}", f"{min(seconds) / own:.1f}"]
        print(f"| {name} | {len(rounds[0]['values'])} | {' | '.join(cells)} |")
    values = {name: rounds[0]["values"] for name, rounds in rows.items()}
    shared = [n for n in next(iter(values.values())) if sum(n in found for found in values.values()) > 2]
    shared += [n for found in values.values() for n in found if n not in next(iter(values.values()))]
    print(f"\n| value | {' | '.join(values)} |\n|---|{'---|' * len(values)}")
    for name in dict.fromkeys(shared):
        cells = [f"{found[name]:.9f}" if name in found else "" for found in values.values()]
        print(f"| {name} | {' | '.join(cells)} |")


def small(number: int) -> float:
    """Seconds of CPU of the battery on one case of 64 x 128 x 128 voxels, with its own shapes."""
    rng = np.random.default_rng(number)
    shape = (64, 128, 128)
    middle = np.array(shape) * SPACING / 2
    radii = rng.uniform(8, 22, 3)
    reference = lesion(shape, middle, radii, 0.1)
    prediction = lesion(shape, middle + rng.normal(0, 2, 3), radii * rng.normal(1, 0.1, 3), 0.1)
    probability = np.where(prediction, 0.9, 0.01).astype(np.float32)
    start = time.process_time()
    from oncoseg.evaluation.pair import MaskPair
    from oncoseg.evaluation.scoring import EVERY_METRIC, metric

    pair = MaskPair.from_arrays(reference, prediction, SPACING, probability=probability)
    for name in EVERY_METRIC:
        metric(name)(pair)
    return time.process_time() - start


def many(cases: int, workers: int) -> None:
    """Many cases at once, and how busy the workers were."""
    start = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        used = sum(pool.map(small, range(cases), chunksize=8))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, cpu = time.perf_counter() - start, children.ru_utime + children.ru_stime
    print(
        f"\n{cases} cases of 64 x 128 x 128 voxels, {workers} workers: {seconds:.1f} s, {cases / seconds:.0f} cases/s, "
    )
    print(
        f"{1000 * used / cases:.0f} ms of CPU a case, {cpu / seconds:.2f} cores busy, load {os.getloadavg()[0]:.1f}, ",
        end="",
    )
    print(f"largest worker {children.ru_maxrss / 1000:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", help="folder with monai, medpy and SimpleITK", default="")
    parser.add_argument("--panoptica-python", help="interpreter of an environment with panoptica")
    parser.add_argument("--cases", type=int, default=0, help="score so many cases in parallel instead")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with contextlib.suppress(ModuleNotFoundError, BrokenPipeError):
            serve(options.serve, options.peers)
        return
    if options.cases:
        many(options.cases, options.workers)
        return
    masks = the_case()
    volumes = ", ".join(f"{lesion(SHAPE, *one).sum() * np.prod(SPACING) / 1000:.1f}" for one in REFERENCE)
    print(f"Masks {masks.reference.shape} at {SPACING} mm, lesions of {volumes} mL, {options.rounds} rounds. ", end="")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}.")
    del masks
    compare(options)


if __name__ == "__main__":
    main()
