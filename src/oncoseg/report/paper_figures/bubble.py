"""Dice against operations of a whole volume, on a logarithmic axis, bubble area by parameters.

After Fig. 2 of Mulero Ayllon et al. 2025 (arXiv 2505.01239), whose axis mixes one image with whole volumes; here every
model stands for what it computes of one volume: slices, tiles, mirrored passes and prompts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from oncoseg.errors import InputError
from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.store import CellResult
from oncoseg.report.drawing import PaperFigure, Selection, note
from oncoseg.report.estimates import summary_of
from oncoseg.report.figures import Bubble, draw_bubbles
from oncoseg.report.groups import PRIMARY, make_groups
from oncoseg.report.tables import magnitude, number
from oncoseg.report.views import require_known
from oncoseg.score import Cost

#: Letters of a name that stands beside its bubble.
LONGEST = 30
TITLE = "Dice against operations of a whole volume, bubble area by parameters"


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen: see `Selection`."""


@dataclass(frozen=True)
class _Entry:
    """One bubble with what it was made from."""

    bubble: Bubble
    prompt: str
    cost: Cost
    dice: Summary


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """All models with counted operations of one data set, each with each of its prompts; vertical line: interval.

    Prompts that were displaced on purpose are left out unless they are chosen by `prompts`.

    Raises:
        InputError: when fewer than two models have counted operations, or a data set must be chosen.
        UnknownNameError: for an unknown data set, model or prompt.
    """
    held = _entries(results, choices)
    figure = PaperFigure(figsize=(7.2, 4.2), layout="constrained")
    shown, key = _numbered([e.bubble for e in held])
    axes = draw_bubbles(figure, shown, "Dice")
    axes.grid(visible=True)
    said = f"{key}{_said(held)}"
    note(figure, said)
    figure.numbers = [
        {"model": e.bubble.label, "prompt": e.prompt, "dice": e.dice.mean, "low": e.dice.low, "high": e.dice.high,
         "patients": e.dice.patients, "macs": e.cost.macs, "parameters": e.cost.parameters,
         "counter": e.cost.mac_counter, "shape": " x ".join(map(str, e.cost.shape))}
        for e in held
    ]  # fmt: skip
    values = [
        f"{e.bubble.label}: Dice {number(e.dice.mean)}, {magnitude(e.bubble.macs)}MACs, "
        f"{magnitude(e.bubble.parameters)} parameters."
        for e in held
    ]
    figure.words = " ".join([said, *values])
    return figure


def _numbered(bubbles: Sequence[Bubble]) -> tuple[list[Bubble], str]:
    """Bubbles under numbers, and what the numbers mean, where a name is too long to stand beside its bubble."""
    if max(len(bubble.label) for bubble in bubbles) <= LONGEST:
        return list(bubbles), ""
    named = [dataclasses.replace(bubble, label=str(n)) for n, bubble in enumerate(bubbles, start=1)]
    return named, "; ".join(f"{n}: {bubble.label}" for n, bubble in enumerate(bubbles, start=1)) + ". "


def _entries(results: Sequence[CellResult], choices: Choices) -> list[_Entry]:
    groups = make_groups(results)
    ids = sorted({g.key.dataset for g in groups})
    require_known("data set", [choices.dataset] if choices.dataset else [], set(ids))
    require_known("model", choices.models, {e.label for g in groups for e in g.entrants})
    require_known("prompt", choices.prompts, {g.key.prompt for g in groups})
    if len(ids) > 1 and not choices.dataset:
        raise InputError(f"The run has several data sets: choose one with dataset=..., of {', '.join(ids)}.")
    found = []
    shown = [g for g in groups if choices.dataset in ("", g.key.dataset)]
    for group in (g for g in shown if not g.key.jitter_mm or g.key.prompt in choices.prompts):
        for entrant in group.entrants:
            cost, dice = entrant.cells[0].cost, summary_of(entrant, PRIMARY)
            wanted = (not choices.models or entrant.label in choices.models) and (
                not choices.prompts or group.key.prompt in choices.prompts
            )
            if wanted and cost is not None and cost.macs and dice.mean is not None:
                prompt = "" if group.key.prompt == "none" else group.key.prompt
                label = choices.named(entrant.label) + (f", {prompt}" if prompt else "")
                ends = (dice.low, dice.high)
                bubble = Bubble(label, entrant.kind, float(cost.macs), dice.mean, cost.parameters, *ends)
                found.append(_Entry(bubble, prompt, cost, dice))
    if len(found) < 2:
        raise InputError(
            "Fewer than two models of the run have counted operations. Leave cost = true in the matrix, and choose "
            "models that are networks."
        )
    return found


def _said(held: Sequence[_Entry]) -> str:
    patients = sorted({e.dice.patients for e in held})
    shapes = sorted({e.cost.shape for e in held})
    counters = sorted({e.cost.mac_counter for e in held})
    volumes = " and ".join(" x ".join(map(str, shape)) for shape in shapes)
    warned = " They differ in size: compare with care." if len(shapes) > 1 else ""
    return (
        f"Mean over {' or '.join(map(str, patients))} patients, line: 95 % BCa interval. Operations of one "
        f"whole volume ({volumes} voxels), counted by {'; '.join(counters)}.{warned} Models with prompts from the "
        "reference stand beside models without: read the prompt in the label."
    )
