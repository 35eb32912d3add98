"""Dice after every click: the stages of refinement, one line a model, and what the model says without any click.

After the refinement of Shi et al. 2024 (M-SAM, arXiv 2403.05912): a first click and ten corrections are 11 stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from oncoseg.errors import InputError
from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.store import CellResult
from oncoseg.report.drawing import PaperFigure, Selection, draw_means, from_zero, line_style, note
from oncoseg.report.estimates import summary_of
from oncoseg.report.groups import PRIMARY, Entrant, Group, by_dataset, make_groups
from oncoseg.report.interaction import after_each_round, but_prompts, unprompted
from oncoseg.report.tables import number
from oncoseg.report.views import require_known

TITLE = "Dice after every stage of refinement, with intervals, and without any click"


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen: see `Selection`."""


@dataclass(frozen=True)
class _Curve:
    """One model with one way of prompting on one data set; stage 1 is the answer to the first prompts, 0 to none."""

    dataset: str
    label: str
    prompt: str
    kind: str
    stages: Mapping[int, Summary]


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """One panel a data set; stage 0 only of models that the run also scored without prompts.

    Raises:
        InputError: when nobody corrected a prediction.
        UnknownNameError: for an unknown data set, model or prompt.
    """
    held = _curves(results, choices)
    names = list(dict.fromkeys(c.dataset for c in held))
    keys = list(dict.fromkeys((c.label, c.prompt) for c in held))
    figure = PaperFigure(figsize=(5.8, 0.7 + 2.9 * len(names) + 0.19 * len(keys)), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False, sharex=True).ravel()
    for name, axes in zip(names, panels, strict=True):
        for curve in (c for c in held if c.dataset == name):
            place = keys.index((curve.label, curve.prompt))
            _line(axes, curve, f"{choices.named(curve.label)}, {curve.prompt}", place=place, of=len(keys))
        axes.set_title(choices.named(name))
        axes.set_ylabel("mean Dice")
        axes.grid(axis="y")
        from_zero(axes)
    last = max(stage for c in held for stage in c.stages)
    first = min(stage for c in held for stage in c.stages)
    panels[-1].set_xticks(range(first, last + 1), [str(n) if n else "no\nprompt" for n in range(first, last + 1)])
    panels[-1].set_xlabel("stage: the first prompts are stage 1, each correction is one more")
    pairs = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(pairs.values(), pairs.keys(), loc="outside upper left")
    said = _said(held, choices)
    note(figure, said)
    figure.numbers = [
        {"dataset": c.dataset, "model": c.label, "prompt": c.prompt, "stage": stage, "mean": s.mean, "low": s.low,
         "high": s.high, "patients": s.patients}
        for c in held for stage, s in c.stages.items()
    ]  # fmt: skip
    figure.words = " ".join([said, *(_in_words(c, choices) for c in held)])
    return figure


def _curves(results: Sequence[CellResult], choices: Choices) -> list[_Curve]:
    held = []
    for same in by_dataset(make_groups(results)):
        silent = unprompted(same)
        held += [curve for group in same for curve in _curves_of(group, silent)]
    if not held:
        raise InputError(
            'Nobody corrected a prediction in this run. Give prompt = { use = "centre_click", then = "edt_error", '
            "rounds = 10 } in a [[cells]] table."
        )
    require_known("data set", [choices.dataset] if choices.dataset else [], {c.dataset for c in held})
    require_known("model", choices.models, {c.label for c in held})
    require_known("prompt", choices.prompts, {c.prompt for c in held})
    wanted = [
        c for c in held if choices.dataset in ("", c.dataset) and (not choices.models or c.label in choices.models)
    ]
    wanted = [c for c in wanted if not choices.prompts or c.prompt in choices.prompts]
    if not wanted:
        raise InputError("No corrected model is left. Choose fewer of dataset, models and prompts.")
    order = {label: place for place, label in enumerate(choices.models)}
    return sorted(wanted, key=lambda c: (c.dataset, order.get(c.label, 0), c.kind == "null"))


def _curves_of(group: Group, silent: Mapping[str, Entrant]) -> list[_Curve]:
    found = []
    for entrant in group.entrants:
        after = after_each_round(entrant, group.key.roi)
        if after:
            stages = {n + 1: summary for n, summary in after.items()}
            zero = silent.get(but_prompts(entrant))
            if zero is not None and group.key.protocol in zero.protocols:
                stages = {0: summary_of(zero, PRIMARY), **stages}
            found.append(_Curve(group.key.dataset, entrant.label, group.key.prompt, entrant.kind, stages))
    return found


def _line(axes: Axes, curve: _Curve, label: str, *, place: int, of: int) -> None:
    """Stages from 1 on are joined; stage 0 stands alone, as nothing was refined to get there."""
    style = line_style(place) | ({"linestyle": "--"} if curve.kind == "null" else {})
    aside = 0.1 * (place - (of - 1) / 2)
    for stages in ([n for n in curve.stages if n > 0], [n for n in curve.stages if n == 0]):
        if stages:
            name = label if stages[0] else "_"
            draw_means(axes, [n + aside for n in stages], [curve.stages[n] for n in stages], label=name, style=style)


def _said(held: Sequence[_Curve], choices: Choices) -> str:
    counts = {c.dataset: max(s.patients for s in c.stages.values()) for c in held}
    return (
        "Mean Dice over the test patients ("
        + ", ".join(f"{choices.named(name)} n = {n}" for name, n in counts.items())
        + "), bars: 95 % BCa interval. Corrections are placed on the errors of the prediction before them, so this is "
        "what a user could reach who knows the reference. A case that is right stays as it is."
    )


def _in_words(curve: _Curve, choices: Choices) -> str:
    values = ", ".join(f"{stage}: {number(s.mean)}" for stage, s in curve.stages.items())
    return f"{choices.named(curve.label)} ({curve.prompt}) on {choices.named(curve.dataset)} by stage: {values}."
