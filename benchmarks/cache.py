"""A 96^3 patch from the cache of prepared volumes, beside a numpy memory map of the same voxels.

    python benchmarks/cache.py [--rounds 40] [--folder DIR]

Three situations: `kept` (the file is in memory and stays open), `opened` (in memory, opened anew for each patch: a
loader over many volumes), `disk` (opened anew after the system was told to forget the file, so that the bytes come
from the disk). Both sides take turns on the same random patches, in one process with one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oncoseg.datasets.phantom import build
from oncoseg.preprocess.cache import CachedVolume, Storage, VolumeCache
from oncoseg.volume import Volume

SHAPE, SPACING, PATCH = (120, 512, 512), (3.0, 0.8, 0.8), 96
Patch = tuple[slice, slice, slice]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where to write; its disk is what is measured")
    arguments = parser.parse_args()
    image = build(cases=1, shape=list(SHAPE), spacing=list(SPACING)).load("phantom-0000").image
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python ", end="")
    print(f"{platform.python_version()}, numpy {np.__version__}, blosc2 {version('blosc2')}; median of ", end="")
    print(f"{arguments.rounds} patches of 96^3 from {' x '.join(map(str, SHAPE))} voxels of a phantom.\n")
    print("| voxels | storage | file, MB (npy) | situation | cache, ms | memory map, ms | ratio | CPU ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("int16", "float32"):
        for storage in ("blosc2", "plain"):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                volume = image.with_voxels(image.voxels.astype(kind))
                compare(volume, storage, Path(folder), arguments.rounds)


def compare(volume: Volume, storage: Storage, folder: Path, rounds: int) -> None:
    cache = VolumeCache(folder, storage=storage)
    path = cache.get_or_make("entry", lambda: volume).path
    plain = folder / "voxels.npy"
    np.save(plain, volume.voxels)
    kind = str(volume.voxels.dtype)
    sizes = f"{path.stat().st_size / 1e6:.0f} ({plain.stat().st_size / 1e6:.0f})"

    def row(situation: str, wall: tuple[float, float], cpu: tuple[float, float]) -> None:
        ratios = f"{wall[0] / wall[1]:.2f} | {cpu[0] / cpu[1]:.2f}"
        print(f"| {kind} | {storage} | {sizes} | {situation} | {wall[0] * 1e3:.2f} | {wall[1] * 1e3:.2f} | {ratios} |")

    def ours_anew(patch: Patch) -> NDArray:
        return crop(opened(cache), patch)

    def theirs_anew(patch: Patch) -> NDArray:
        return np.array(np.load(plain, mmap_mode="r")[patch])

    # First the two that hold no file open: what is mapped cannot be forgotten.
    row("disk", *measure(ours_anew, theirs_anew, files=(path, plain), rounds=rounds))
    row("opened", *measure(ours_anew, theirs_anew, files=(), rounds=rounds))
    entry, mapped = opened(cache), np.load(plain, mmap_mode="r")
    row("kept", *measure(lambda p: crop(entry, p), lambda p: np.array(mapped[p]), files=(), rounds=rounds))


def measure(
    ours: Callable[[Patch], NDArray], theirs: Callable[[Patch], NDArray], *, files: tuple[Path, ...], rounds: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Median wall and CPU seconds of both sides."""
    rng = np.random.default_rng(0)
    wall: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    for _ in range(rounds):
        start = [int(rng.integers(0, n - PATCH + 1)) for n in SHAPE]
        z, y, x = (slice(s, s + PATCH) for s in start)
        found = []
        for side, read in enumerate((ours, theirs)):
            for file in files:
                forget(file)
            began, used = time.perf_counter(), time.process_time()
            found.append(read((z, y, x)))
            wall[side].append(time.perf_counter() - began)
            cpu[side].append(time.process_time() - used)
        if not np.array_equal(*found):
            raise SystemExit("The cache gave other voxels than the memory map.")
    return (
        (float(np.median(wall[0])), float(np.median(wall[1]))),
        (float(np.median(cpu[0])), float(np.median(cpu[1]))),
    )


def opened(cache: VolumeCache) -> CachedVolume:
    entry = cache.get("entry")
    if entry is None:
        raise SystemExit("The cache lost its entry.")
    return entry


def crop(entry: CachedVolume, patch: Patch) -> NDArray:
    return entry.crop([p.start for p in patch], [p.stop for p in patch]).voxels


def forget(file: Path) -> None:
    """Tell the system to drop the file from memory; what is still mapped stays."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
