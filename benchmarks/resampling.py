"""Cubic resampling of a 512x512x120 CT to (1, 1, 3) mm, beside the peers, in the same process.

    python benchmarks/resampling.py [--rounds 3] [--peers DIR]

Contenders run in turns, so that a busy machine slows all alike. Every result is compared with
`scipy.ndimage.affine_transform` (float64, order 3, mirror) on the contender's own grid: nnU-Net aligns the edges of
the outermost voxels, MONAI their centres, ours the centre of the field of view. Peers that are not installed are
named and left out. `--peers DIR` is a folder made by `pip install --target DIR --no-deps monai==1.6.1 nnunetv2
batchgenerators acvl-utils pandas SimpleITK`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.datasets.phantom import build
from oncoseg.preprocess.resample import resample
from oncoseg.volume import Volume

SHAPE, OLD, NEW = (120, 512, 512), (3.0, 0.8, 0.8), (3.0, 1.0, 1.0)
Result = tuple[NDArray[Any], NDArray[np.float64]]  # voxels, and the index in the old grid of (0, 0, 0) and of steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="folder with the peers' packages")
    arguments = parser.parse_args()
    rounds: int = arguments.rounds
    if arguments.peers:
        sys.path.append(str(arguments.peers))
    case = build(cases=1, shape=list(SHAPE), spacing=list(OLD), tumours=[0, 0]).load("phantom-0000")
    image = case.image.with_voxels(case.image.voxels.astype(np.float32))
    contenders = {name: run for name, (module, run) in CONTENDERS.items() if importlib.util.find_spec(module)}
    missing = sorted(set(CONTENDERS) - set(contenders))
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, Result] = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            started, used = time.perf_counter(), time.process_time()
            results[name] = run(image)
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - used)
    show(wall, cpu, {name: error(image, *result) for name, result in results.items()}, rounds)
    if missing:
        print(f"\nNot installed, left out: {', '.join(missing)}.")


def show(
    wall: dict[str, list[float]],
    cpu: dict[str, list[float]],
    errors: dict[str, tuple[float, float]],
    rounds: int,
) -> None:
    ours = next(iter(wall))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, ")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {version('scipy')}; ", end="")
    print(f"fastest (median) of {rounds} rounds, contenders in turns; phantom, float32.\n")
    print("| contender | s | ours is faster by | CPU s | by | largest / mean error against scipy, HU (interior) |")
    print("|---|---|---|---|---|---|")
    for name in wall:
        times = f"{min(wall[name]):.3f} ({np.median(wall[name]):.3f})"
        ratio = f"{min(wall[name]) / min(wall[ours]):.1f}x ({np.median(wall[name]) / np.median(wall[ours]):.1f}x)"
        ratio_cpu = f"{min(cpu[name]) / min(cpu[ours]):.1f}x"
        largest, mean = errors[name]
        print(f"| {name} | {times} | {ratio} | {min(cpu[name]):.3f} | {ratio_cpu} | {largest:.4f} / {mean:.5f} |")


def error(image: Volume, voxels: NDArray[Any], placed: NDArray[np.float64]) -> tuple[float, float]:
    """Largest and mean difference to scipy in the interior, on the contender's own grid; on some slices."""
    start, step = placed
    slices = slice(40, 48)
    begin = start + np.array([slices.start * step[0], 0, 0])
    expected = ndimage.affine_transform(
        image.voxels.astype(np.float64)[20:80],
        step,
        begin - [20, 0, 0],
        output_shape=(8, *voxels.shape[1:]),
        order=3,
        mode="mirror",
    )
    apart = np.abs(voxels[slices].astype(np.float64) - expected)[:, 16:-16, 16:-16]
    return float(apart.max()), float(apart.mean())


def ours(image: Volume) -> Result:
    result = resample(image, spacing=NEW, order=3)
    return result.voxels, np.array([image.mm_to_index(result.affine[:3, 3]), np.divide(NEW, OLD)])


def scipys(image: Volume) -> Result:
    step = np.divide(NEW, OLD)
    shape = tuple(np.ceil(np.divide(SHAPE, step)).astype(int))
    voxels = ndimage.affine_transform(image.voxels, step, order=3, mode="mirror", output_shape=shape)
    return voxels, np.array([np.zeros(3), step])


def nnunets(image: Volume) -> Result:
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape

    shape = compute_new_shape(SHAPE, OLD, NEW)
    # The arguments are those its planner writes into plans.json.
    voxels = resample_data_or_seg_to_shape(
        image.voxels[None], shape, OLD, NEW, is_seg=False, order=3, order_z=0, force_separate_z=None
    )[0]
    step = np.divide(SHAPE, shape)
    return np.asarray(voxels), np.array([(step - 1) / 2, step])


def skimages(image: Volume) -> Result:
    """The call nnU-Net makes for every slice of an anisotropic volume."""
    from skimage.transform import resize

    shape = tuple(np.rint(np.multiply(SHAPE, np.divide(OLD, NEW))).astype(int))
    planes = [resize(s, shape[1:], order=3, mode="edge", anti_aliasing=False) for s in image.voxels]
    step = np.divide(SHAPE, shape)
    return np.stack(planes), np.array([(step - 1) / 2, step])


def monais(image: Volume) -> Result:
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    volume = MetaTensor(torch.from_numpy(image.voxels[None]), affine=torch.diag(torch.tensor([*OLD, 1.0])))
    # MONAI takes the order of the spline as its mode and then calls scipy.
    result = Spacing(pixdim=NEW, mode=3, padding_mode="mirror")(volume)
    placed = np.linalg.solve(np.diag([*OLD, 1.0]), np.asarray(result.affine, dtype=np.float64))
    return result.numpy()[0], np.array([placed[:3, 3], np.diag(placed)[:3]])


def sitks(image: Volume) -> Result:
    import SimpleITK

    source = SimpleITK.GetImageFromArray(image.voxels)
    source.SetSpacing(OLD[::-1])
    step = np.divide(NEW, OLD)
    size = [int(n) for n in np.ceil(np.divide(SHAPE, step))[::-1]]
    result = SimpleITK.Resample(
        source,
        size,
        SimpleITK.Transform(),
        SimpleITK.sitkBSpline,
        source.GetOrigin(),
        NEW[::-1],
        source.GetDirection(),
        0.0,
        SimpleITK.sitkFloat32,
    )
    return SimpleITK.GetArrayFromImage(result), np.array([np.zeros(3), step])


CONTENDERS: dict[str, tuple[str, Callable[[Volume], Result]]] = {
    "oncoseg": ("oncoseg", ours),
    "nnU-Net, default order 3": ("nnunetv2", nnunets),
    "MONAI Spacing, order 3": ("monai", monais),
    "scipy affine_transform, order 3": ("scipy", scipys),
    "skimage resize, order 3, slice by slice": ("skimage", skimages),
    "SimpleITK B-spline": ("SimpleITK", sitks),
}


if __name__ == "__main__":
    main()
