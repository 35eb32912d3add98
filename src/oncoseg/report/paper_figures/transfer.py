"""Dice before and after a change of data set, one arrow a model, with the rate of the change.

After the transfer tables of Shi et al. 2024 (M-SAM, arXiv 2403.05912). Before: trained and tested on the target; after:
trained on the source; rate = 100 (after - before) / before. See `oncoseg.report.transfer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from oncoseg.errors import InputError
from oncoseg.experiments.store import CellResult
from oncoseg.report.drawing import FAINT, INK, PaperFigure, Selection, note
from oncoseg.report.figures import PALETTE
from oncoseg.report.groups import make_groups
from oncoseg.report.tables import number
from oncoseg.report.transfer import transfer_rows
from oncoseg.report.views import require_known

TITLE = "Dice on a data set of models trained on it, and of the same models trained on another one"
_BEFORE, _AFTER = PALETTE[0], PALETTE[3]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen; `dataset` is the target."""


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """One panel a source and target, one arrow a model and prompt, with intervals and rate.

    Raises:
        InputError: when the run has no model that was trained both on the target and elsewhere.
        UnknownNameError: for an unknown target, model or prompt.
    """
    rows = _rows(results, choices)
    pairs = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    counts = [sum((row["source"], row["target"]) == pair for row in rows) for pair in pairs]
    figure = PaperFigure(figsize=(6.2, 0.95 + 0.55 * len(pairs) + 0.42 * len(rows)), layout="constrained")
    panels = figure.subplots(len(pairs), 1, squeeze=False, sharex=True, height_ratios=[n + 0.4 for n in counts]).ravel()
    for pair, axes in zip(pairs, panels, strict=True):
        shown = [row for row in rows if (row["source"], row["target"]) == pair]
        for place, row in enumerate(shown):
            _arrow(axes, place, row)
        axes.set_yticks(range(len(shown)), [_label(row, choices) for row in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_title(f"{choices.named(pair[0])} → {choices.named(pair[1])}, n = {shown[0]['patients']}")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    panels[-1].set_xlabel("mean Dice on the target")
    low, high = panels[-1].get_xlim()
    panels[-1].set_xlim(low, high + 0.16 * (high - low))  # room for the rates
    handles = [
        Line2D([], [], marker="o", linestyle="", color=_BEFORE, label="before: trained on the target"),
        Line2D([], [], marker="s", linestyle="", color=_AFTER, label="after: trained on the source"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    said = (
        "Means over the test patients of the target that both trainings have a Dice for; lines: 95 % BCa interval. "
        "Number: rate, 100 (after - before) / before."
    )
    note(figure, said)
    figure.numbers = rows
    figure.words = " ".join([said, *(_in_words(row, choices) for row in rows)])
    return figure


def _rows(results: Sequence[CellResult], choices: Choices) -> list[dict[str, Any]]:
    rows = transfer_rows(make_groups(results))
    if not rows:
        raise InputError(
            "No model of the run was trained both on a data set and, for the same test cases, on another one. Give "
            "source = [...] in a [[cells]] table beside the same cells without it."
        )
    require_known("data set", [choices.dataset] if choices.dataset else [], {row["target"] for row in rows})
    require_known("model", choices.models, {row["model"] for row in rows})
    require_known("prompt", choices.prompts, {row["prompt"] for row in rows})
    order = {label: place for place, label in enumerate(choices.models)}
    kept = [
        row for row in rows
        if choices.dataset in ("", row["target"]) and (not order or row["model"] in order)
        and (not choices.prompts or row["prompt"] in choices.prompts)
    ]  # fmt: skip
    if not kept:
        raise InputError("No pair is left. Choose fewer of dataset, models and prompts.")
    return sorted(kept, key=lambda row: (row["source"], row["target"], order.get(row["model"], 0)))


def _arrow(axes: Axes, place: int, row: Row) -> None:
    for name, colour, marker, aside in (("before", _BEFORE, "o", -0.13), ("after", _AFTER, "s", 0.13)):
        if row[f"{name}_low"] is not None:
            axes.plot(
                [row[f"{name}_low"], row[f"{name}_high"]], [place + aside] * 2, color=colour, linewidth=1.1, alpha=0.7
            )
        axes.plot([row[name]], [place + aside], marker, color=colour, markersize=6)
    axes.annotate("", (row["after"], place + 0.13), (row["before"], place - 0.13),
                  arrowprops={"arrowstyle": "->", "color": FAINT, "shrinkA": 5, "shrinkB": 5})  # fmt: skip
    ends = [row[key] for key in ("before", "after", "before_high", "after_high") if row[key] is not None]
    axes.annotate(_rate(row), (max(ends), place), xytext=(8, 0), textcoords="offset points", va="center", color=INK)


def _label(row: Row, choices: Choices) -> str:
    prompt = "" if row["prompt"] in ("", "none") else f"\n{row['prompt']}"
    return f"{choices.named(row['model'])}{prompt}"


def _rate(row: Row) -> str:
    rate = row["rate_percent"]
    return "no rate" if rate is None else f"{rate:+.1f} %".replace("-", "−")


def _in_words(row: Row, choices: Choices) -> str:
    where = f"{choices.named(row['source'])} to {choices.named(row['target'])}"
    values = f"{number(row['before'])} before, {number(row['after'])} after, rate {_rate(row)}"
    return f"{choices.named(row['model'])} ({row['prompt']}), {where}: {values} (n = {row['patients']})."
