"""Dice of the validation patients after every epoch, one line a training.

After Fig. 6 of Yi et al. 2026 (doi 10.21037/qims-2025-370).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oncoseg.experiments.store import CellResult
from oncoseg.report.drawing import PaperFigure, Selection, from_zero, line_style, note
from oncoseg.report.tables import number
from oncoseg.report.trajectories import WORDS, Trajectory, Values, by_model, trajectories

TITLE = "Validation Dice over the epochs of each training"


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen.

    Attributes:
        values: `slices`, `cases` or `auto`, see `oncoseg.report.trajectories`.
    """

    values: Values = "auto"


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """One panel a data set, one line a training (equal colours: seeds and folds of one model), a ring at its highest.

    Raises:
        InputError: when no training logged a score.
        UnknownNameError: for an unknown data set or model.
    """
    held = trajectories(results, dataset=choices.dataset, models=choices.models, values=choices.values)
    names = list(dict.fromkeys(one.dataset for one in held))
    labels = list(by_model(held))
    figure = PaperFigure(figsize=(5.4, 2.6 * len(names) + 0.6 + 0.09 * len(labels)), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False, sharex=True).ravel()
    for name, axes in zip(names, panels, strict=True):
        for one in (t for t in held if t.dataset == name):
            style = line_style(labels.index(one.label))
            style["marker"] = style["marker"] if len(one.epochs) <= 40 else ""
            axes.plot(one.epochs, one.scores, linewidth=1.4, markersize=3.2, **style, label=choices.named(one.label))
            axes.plot(one.epochs[one.best], one.scores[one.best], "o", markersize=9, markerfacecolor="none",
                      markeredgecolor=style["color"], markeredgewidth=1.2)  # fmt: skip
        axes.set_title(choices.named(name))
        axes.set_ylabel(WORDS[held[0].values].replace(" of ", " of\n", 1))
        axes.grid(axis="y")
        from_zero(axes)
    panels[-1].set_xlabel("epoch")
    pairs = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(pairs.values(), pairs.keys(), loc="outside upper left", ncols=min(3, len(pairs)))
    said = _said(held)
    note(figure, said)
    figure.numbers = [
        _number(one, epoch, score) for one in held for epoch, score in zip(one.epochs, one.scores, strict=True)
    ]
    figure.words = " ".join([said, *(_values(one, choices) for one in held)])
    return figure


def _said(held: Sequence[Trajectory]) -> str:
    trainings = f"{len(held)} training{'s' if len(held) > 1 else ''}"
    return (
        f"{WORDS[held[0].values]} after each epoch of {trainings}. Ring: the highest value, which was chosen on these "
        "very patients and is no estimate for new ones."
    )


def _values(one: Trajectory, choices: Choices) -> str:
    return (
        f"{choices.named(one.label)} on {choices.named(one.dataset)} (seed {one.seed}, fold {one.fold}): "
        f"{number(one.scores[0])} after epoch {one.epochs[0]:g}, highest {number(one.scores[one.best])} after epoch "
        f"{one.epochs[one.best]:g}, {number(one.scores[-1])} after epoch {one.epochs[-1]:g}."
    )


def _number(one: Trajectory, epoch: float, score: float) -> dict[str, Any]:
    return {"dataset": one.dataset, "model": one.label, "seed": one.seed, "fold": one.fold, "epoch": epoch,
            "values": one.values, "dice": score}  # fmt: skip
