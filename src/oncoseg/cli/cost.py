"""`oncoseg cost`: what a model costs by its size, without weights or data; measured on request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oncoseg.cli.show import print_json, print_table, say

if TYPE_CHECKING:
    from oncoseg.experiments.passes import ModelCost, Scene
    from oncoseg.score import Cost

_SIZE = "Slices x rows x columns, e.g. 120x512x512."


def cost(
    model: Annotated[str, typer.Argument(help="Name on the shelf, with or without variant, e.g. unetr, medsam.box.")],
    shape: Annotated[str, typer.Option(help=_SIZE)] = "120x512x512",
    spacing: Annotated[str, typer.Option(help="mm between slices, rows, columns.")] = "3x1x1",
    prompted_slices: Annotated[
        int, typer.Option(min=1, help="Slices of one lesion that are prompted, or followed through.")
    ] = 10,
    clicks: Annotated[int, typer.Option(min=1, help="Clicks that a model prompted in volumes answers.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the model, e.g. mirror=true. Repeatable.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also run it, with random weights: seconds, memory, energy.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count parameters and operations of a model: one forward pass, and a whole volume with its factors."""
    from oncoseg.config import parse_settings
    from oncoseg.experiments.passes import Scene, model_cost

    sizes = _three(shape, "shape", whole=True)
    millimetres = _three(spacing, "spacing", whole=False)
    scene = Scene((int(sizes[0]), int(sizes[1]), int(sizes[2])), millimetres, prompted_slices, clicks)
    options = parse_settings(settings or [])
    found = model_cost(model, scene=scene, options=options)
    measured = _measured(model, scene, options) if measure else None
    if as_json:
        print_json(_data(found, measured))
        return
    _print(found, measured)


def _data(found: ModelCost, measured: Cost | None) -> dict[str, Any]:
    from oncoseg.config import plain

    passes = [{**plain(p), "calls": p.calls, "total": p.total} for p in found.passes]
    data = {**plain(found), "passes": passes, "forward_macs": found.forward_macs, "volume_macs": found.volume_macs}
    return {**data, "measured": plain(measured)}


def _print(found: ModelCost, measured: Cost | None) -> None:
    rows = [
        [p.part, " x ".join(map(str, p.size)), _giga(p.macs), _giga(p.total), _factors(dict(p.factors))]
        for p in found.passes
    ]
    title = f"{found.model}: {found.parameters:,} parameters, {found.trainable_parameters:,} of them trainable"
    print_table(title, ["part", "input", "GMACs", "of a volume", "calls"], rows)
    if found.reason is not None:
        say(f"operations not counted: {found.reason}")
        return
    shape = " x ".join(map(str, found.scene.shape))
    say(f"one forward pass {_giga(found.forward_macs)} GMACs, a volume of {shape} {_giga(found.volume_macs)} GMACs")
    for sentence in found.assumed:
        say(sentence)
    say(f"counted by {found.counter}")
    if measured is not None:
        _print_measured(measured)


def _print_measured(measured: Cost) -> None:
    memory = f"{measured.peak_memory_bytes / 2**20:.0f} MiB" if measured.peak_memory_bytes else "unknown"
    energy = f"{measured.energy_joules:.0f} J" if measured.energy_joules is not None else str(measured.energy_reason)
    say(
        f"measured: {measured.seconds_median:.2f} s (median of {measured.repeats}, {measured.device}, "
        f"{measured.threads} threads), peak memory {memory}, energy: {energy}"
    )
    say(f"counted while it ran: {_giga(measured.macs)} GMACs")


def _measured(name: str, scene: Scene, options: dict[str, Any]) -> Cost:
    """One volume of noise in a process of its own, with the simplest prompts that the model takes."""
    import numpy as np

    from oncoseg.experiments.cost import measure_cost
    from oncoseg.experiments.specs import ModelSpec
    from oncoseg.prompt import Box, Click
    from oncoseg.volume import Volume

    probe = ModelSpec(name, options)
    chosen = {"random_weights": True, **options} if probe.info.weights else options
    voxels = np.random.default_rng(0).normal(-500, 300, scene.shape).astype(np.int16)
    image = Volume.from_spacing(voxels, scene.spacing)
    middle = [n // 2 for n in scene.shape]
    if "box" in probe.info.prompts:
        half = min(scene.prompted_slices, scene.shape[0]) / 2
        first = middle[0] - math.floor(half)
        quarter = [n // 4 for n in scene.shape[1:]]
        start = (first, middle[1] - quarter[0], middle[2] - quarter[1])
        stop = (middle[0] + math.ceil(half), middle[1] + quarter[0], middle[2] + quarter[1])
        prompts: list[Any] = [Box(start, stop)]
    elif probe.info.prompts:
        prompts = [Click((middle[0], middle[1], middle[2]))]
    else:
        prompts = []
    return measure_cost(ModelSpec(name, chosen), image, prompts=prompts, case="noise")


def _three(text: str, name: str, *, whole: bool) -> tuple[float, float, float]:
    from oncoseg.errors import InputError

    parts = text.lower().replace(",", "x").split("x")
    try:
        values = [int(p) if whole else float(p) for p in parts]
    except ValueError:
        values = []
    if len(values) != 3 or min(values) <= 0:
        raise InputError(f"--{name} {text} is not of the form 120x512x512: three positive numbers with x between.")
    return values[0], values[1], values[2]


def _factors(factors: dict[str, int]) -> str:
    return " x ".join(f"{count} {name if count != 1 else name.removesuffix('s')}" for name, count in factors.items())


def _giga(macs: int | None) -> str:
    if macs is None:
        return "-"
    return f"{macs / 1e9:,.1f}" if macs >= 1e10 else f"{macs / 1e9:.3g}"
