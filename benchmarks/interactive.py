"""How long a prompt takes on a slice that is embedded: a session of a promptable model, click after click.

    python benchmarks/interactive.py [--models lite_medsam mini_sam] [--clicks 40] [--compute float32 onnxruntime]

A phantom thorax of 60 slices of 512 x 512; the prompts lie on one slice. The first prompt embeds the slice; the others
are answered from its embedding. `lite_medsam` knows boxes alone, so its prompts are boxes round the same places. Each
time is that of `session.add`, from the prompt to the probability of the whole volume. Masks of every way of embedding
are compared with those of float32.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from typing import Any

import numpy as np
import torch

from oncoseg import registry
from oncoseg.datasets.phantom import build
from oncoseg.errors import OncosegError
from oncoseg.prompt import Box, Click, Prompt
from oncoseg.volume import Volume


def prompts_on(image: Volume, index: int, *, clicks: bool, count: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    rows, columns = image.shape[1:]
    places = rng.integers((rows // 4, columns // 4), (3 * rows // 4, 3 * columns // 4), (count, 2))
    if clicks:
        return [Click((index, int(r), int(c)), positive=n % 3 != 2) for n, (r, c) in enumerate(places)]
    return [Box((index, int(r) - 12, int(c) - 15), (index + 1, int(r) + 12, int(c) + 15)) for r, c in places]


def measured(name: str, compute: str, image: Volume, count: int) -> dict[str, Any]:
    model = registry.load("models", name).build(compute=compute, crop="slice")
    kind = "click" if "click" in model.info.prompts else "box"
    prompts = prompts_on(image, image.shape[0] // 2, clicks=kind == "click", count=count)
    session = model.session(image)
    session.add(prompts[0])  # libraries compile here
    session = model.session(image)
    seconds, masks = [], []
    for prompt in prompts:
        started = time.perf_counter()
        found = session.add(prompt)
        seconds.append(time.perf_counter() - started)
        masks.append(found.voxels[image.shape[0] // 2] > 0.5)
    later = np.array(seconds[1:]) * 1000
    return {
        "kind": kind,
        "first": seconds[0],
        "p50": np.percentile(later, 50),
        "p95": np.percentile(later, 95),
        "masks": masks,
    }


def dice(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    overlap = sum(int((x & y).sum()) for x, y in zip(a, b, strict=True))
    return 2 * overlap / max(1, sum(int(x.sum()) for x in (*a, *b)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lite_medsam", "mini_sam"])
    parser.add_argument("--compute", nargs="+", default=["float32", "onnxruntime"])
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    phantom = build(cases=1, seed=1, shape=[60, 512, 512], spacing=[3.0, 0.75, 0.75])
    image = phantom.load(phantom.entries()[0].case).image
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f}, torch {torch.__version__}, "
        f"{arguments.threads} threads; {arguments.clicks} prompts on one slice of {image.shape}.\n"
    )
    print("| model | embedded by | first prompt, s | next, p50 ms | next, p95 ms | Dice of masks with float32 |")
    print("|---|---|---:|---:|---:|---:|")
    for name in arguments.models:
        plain: list[np.ndarray] | None = None
        for compute in arguments.compute:
            try:
                found = measured(name, compute, image, arguments.clicks)
            except OncosegError as error:
                print(f"| `{name}` ({error}) | {compute} | | | | |")
                continue
            plain = found["masks"] if plain is None else plain
            print(
                f"| `{name}`, {found['kind']} | {compute} | {found['first']:.2f} | {found['p50']:.0f} | "
                f"{found['p95']:.0f} | {dice(plain, found['masks']):.5f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
