"""nnU-Net's list of augmentations on one patch, beside the peers, in the same process, one thread.

    python benchmarks/augmentation.py [--rounds 30] [--peers DIR]

Rotation, scaling, noise, blur, brightness, contrast, low resolution, gamma and flips at nnU-Net's chances, and
rotation with scaling alone, on a slice of 256x256 and a patch of 96x96x96, image and class map. Sample n of every side
is drawn with seed n, in turns; the mean over many samples counts, because most samples change little. Peers that are
not installed are named and left out. `--peers DIR` is a folder made by `pip install --target DIR --no-deps
batchgeneratorsv2 batchgenerators fft-conv-pytorch torchio deprecated wrapt humanize pandas SimpleITK
jaxtyping wadler-lindig`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oncoseg.preprocess.augment import augmenter

SHAPES: dict[int, tuple[int, ...]] = {2: (256, 256), 3: (96, 96, 96)}
Side = Callable[[NDArray[np.float32], NDArray[np.uint8], int], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--peers", type=Path, help="folder with the peers' packages")
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(str(arguments.peers))
    torch.set_num_threads(1)
    makers = {"oncoseg": ours, "batchgeneratorsv2": batchgenerators, "torchio": torchio}
    found = [name for name in makers if importlib.util.find_spec(name)]
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, one thread; {arguments.rounds} samples, in turns.")
    print(", ".join(f"{name} {version(name)}" for name in found) + f", monai {version('monai')}\n")
    print("| what | side | ms a sample, mean | longest | times ours | draws from global generators |")
    print("|---|---|---:|---:|---:|---|")
    for space, shape in SHAPES.items():
        for what in ("all of nnU-Net", "rotation and scaling"):
            sides = {name: makers[name](space, what) for name in found}
            show(f"{what}, {'x'.join(map(str, shape))}", measured(sides, shape, arguments.rounds))
    missing = sorted(set(makers) - set(found))
    if missing:
        print(f"\nNot installed, left out: {', '.join(missing)}.")


def measured(sides: dict[str, Side], shape: tuple[int, ...], rounds: int) -> dict[str, list[float]]:
    image = np.random.default_rng(0).normal(0, 1, (1, *shape)).astype(np.float32)
    classes = np.zeros(shape, np.uint8)
    classes[tuple(slice(n // 3, n // 2) for n in shape)] = 1
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for n in range(-2, rounds):  # the first two warm up
        for name, run in sides.items():
            started = time.perf_counter()
            run(image, classes, abs(n))
            if n >= 0:
                taken[name].append(time.perf_counter() - started)
    return taken


def show(what: str, taken: dict[str, list[float]]) -> None:
    for name, seconds in taken.items():
        ratio = np.mean(seconds) / np.mean(taken["oncoseg"])
        shared = "no" if name == "oncoseg" else "yes"
        print(f"| {what} | {name} | {np.mean(seconds) * 1e3:.1f} | {max(seconds) * 1e3:.0f} | {ratio:.2f} | {shared} |")


def ours(space: int, what: str) -> Side:
    augment = augmenter("nnunet" if what.startswith("all") else "mild", space)
    return lambda image, classes, n: augment(image, classes, np.random.default_rng(n))


def batchgenerators(space: int, what: str) -> Side:
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    every = what.startswith("all")
    reach = {True: pi if space == 2 else pi / 6, False: pi / 12}[every]
    spatial = SpatialTransform(
        SHAPES[space],
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0,
        p_rotation=0.2 if every else 0.5,
        rotation=(-reach, reach),
        p_scaling=0.2 if every else 0.5,
        scaling=(0.7, 1.4) if every else (0.9, 1.1),
        p_synchronize_scaling_across_axes=1,
    )
    parts: list[Any] = [spatial]
    if every:
        factor = BGContrast((0.75, 1.25))
        parts += [
            RandomTransform(GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True), 0.1),
            RandomTransform(GaussianBlurTransform((0.5, 1.0), p_per_channel=0.5, benchmark=False), 0.2),
            RandomTransform(MultiplicativeBrightnessTransform(factor, synchronize_channels=False), 0.15),
            RandomTransform(ContrastTransform(factor, preserve_range=True, synchronize_channels=False), 0.15),
            RandomTransform(
                SimulateLowResolutionTransform((0.5, 1), False, True, ignore_axes=None, allowed_channels=None), 0.25
            ),
            RandomTransform(GammaTransform(BGContrast((0.7, 1.5)), 1, False, 1, 1), 0.1),
            RandomTransform(GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1, 1), 0.3),
        ]
    transform = ComposeTransforms([*parts, MirrorTransform(tuple(range(space)))])

    def run(image: NDArray[np.float32], classes: NDArray[np.uint8], n: int) -> Any:
        np.random.seed(n)
        torch.manual_seed(n)
        labels = torch.from_numpy(classes[None].astype(np.int16))
        return transform(image=torch.from_numpy(image.copy()), segmentation=labels)

    return run


def torchio(space: int, what: str) -> Side:
    import torchio as tio

    every = what.startswith("all")
    degrees = (180 if space == 2 else 30) if every else 15
    turned = (0, 0, degrees) if space == 2 else degrees
    scales = (0.7, 1.4) if every else (0.9, 1.1)
    parts: list[Any] = [tio.RandomAffine(scales=scales, degrees=turned, isotropic=True, p=0.36 if every else 0.75)]
    if every:
        parts += [
            tio.RandomNoise(std=(0, 0.3), p=0.1),
            tio.RandomBlur((0.5, 1.0), p=0.2),
            tio.RandomGamma((-0.35, 0.4), p=0.6),
            tio.RandomAnisotropy(downsampling=(1, 2), p=0.25),
        ]
    flip = tio.RandomFlip(axes=tuple(range(3 - space, 3)) if space == 3 else (0, 1), flip_probability=0.5)
    transform = tio.Compose([*parts, flip])

    def run(image: NDArray[np.float32], classes: NDArray[np.uint8], n: int) -> Any:
        torch.manual_seed(n)
        shape = (1, *classes.shape, *[1] * (3 - space))
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=torch.from_numpy(image.reshape(shape).copy())),
            classes=tio.LabelMap(tensor=torch.from_numpy(classes.reshape(shape).copy())),
        )
        return transform(subject)

    return run


if __name__ == "__main__":
    main()
