"""Image, reference and one column a model, with a magnified inset; a row a case.

Layout `benchmark` after the qualitative figure of Mulero Ayllon et al. 2025 (arXiv 2505.01239): both lungs and the
tumour. Layout `gtv-samgan` after Figs. 3-5 of Yi et al. 2026 (doi 10.21037/qims-2025-370): the reference and each
model, the contour in green, the inset in red.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from oncoseg.errors import InputError
from oncoseg.experiments.lungs import LEFT, RIGHT
from oncoseg.experiments.store import CellResult
from oncoseg.report.drawing import PaperFigure, Selection, note, note_lines
from oncoseg.report.groups import by_dataset, make_groups
from oncoseg.report.pictures import edges
from oncoseg.report.views import (
    RULES,
    Column,
    Mask,
    Predicted,
    View,
    chosen_case,
    columns_of,
    frame_round,
    own_crop,
    predicted,
    require_known,
    view_of,
)

TITLE = "The same slice as every model sees it: image, reference, outlines with Dice, magnified inset"
#: Width of a panel, and of all of them.
_INCHES, _WIDEST = 2.0, 15.0
_COLOURS = {
    "benchmark": {"tumour": "#ff6a2b", LEFT: "#56b4e9", RIGHT: "#f0e442", "frame": "#ffffff"},
    "gtv-samgan": {"tumour": "#00d26a", LEFT: "#00d26a", RIGHT: "#00d26a", "frame": "#ff2d2d"},
}
_WORDS = {LEFT: "left lung", RIGHT: "right lung"}
#: Side of the inset as a share of the slice's, and how much larger it must show its part to be worth its place.
_INSET, _ENLARGED = 0.44, 1.3


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen.

    Attributes:
        case: names of cases, or `median`, `worst`, `best`, `largest`: by the mean Dice over the columns; a row each.
        layout: `benchmark` or `gtv-samgan`.
        most: largest number of models; how many more there are is said.
        margin_mm: round the tumour in the inset.
    """

    case: tuple[str, ...] = ("median",)
    layout: Literal["benchmark", "gtv-samgan"] = "benchmark"
    most: int = 10
    margin_mm: float = 8.0


@dataclass(frozen=True, eq=False)
class _Row:
    """A case: by which rule it was taken, its slice, and what each column drew, None where it has nothing."""

    rule: str
    view: View
    drawn: tuple[Predicted | None, ...]


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """One row a case, one column a model and prompt; Dice of the whole case in every panel.

    Raises:
        InputError: when the run has several data sets and none was chosen, or keeps no picture of a case.
        UnknownNameError: for an unknown data set, model, prompt or case.
    """
    columns, more = _columns(results, choices)
    rows = [_row(columns, case) for case in choices.case]
    pictures: list[str | Column] = (
        ["reference", *columns] if choices.layout == "gtv-samgan" else ["image", "reference", *columns]
    )
    inches = min(_INCHES, _WIDEST / len(pictures))
    heads = [p if isinstance(p, str) else _head(p, choices, width=int(13.5 * inches)) for p in pictures]
    said = _said(rows, columns, choices, more=more)
    high = max(0.94 * inches * _tall(row.view) + 0.22 for row in rows) * len(rows)
    above = 0.45 + 0.15 * max(head.count("\n") + 1 for head in heads)
    width = inches * len(pictures)
    figure = PaperFigure(figsize=(width, above + high + 0.13 * len(note_lines(said, width))), layout="constrained")
    grid = figure.subplots(len(rows), len(pictures), squeeze=False)
    numbers: list[dict[str, Any]] = []
    for row, line in zip(rows, grid, strict=True):
        for head, what, axes in zip(heads, pictures, line, strict=True):
            _panel(axes, row, what, columns, choices=choices)
            if row is rows[0]:
                axes.set_title(head, loc="center", fontsize=8.5)
        line[0].set_ylabel(f"{row.view.case}\nslice {row.view.slice_index}", fontsize=8)
        numbers += _numbers(row, columns)
    _legend(figure, rows, choices)
    note(figure, said)
    figure.numbers = numbers
    figure.words = f"{said} {_values(rows, columns, choices)}"
    return figure


def _tall(view: View) -> float:
    """Height of a slice over its width."""
    rows, columns = view.image.shape
    return float(rows * view.spacing[0] / (columns * view.spacing[1]))


def _columns(results: Sequence[CellResult], choices: Choices) -> tuple[list[Column], int]:
    same = by_dataset(make_groups(results))
    ids = {groups[0].key.dataset for groups in same}
    require_known("data set", [choices.dataset] if choices.dataset else [], ids)
    wanted = [groups for groups in same if choices.dataset in ("", groups[0].key.dataset)]
    if len(wanted) > 1:
        raise InputError(f"The run has several data sets: choose one with dataset=..., of {', '.join(sorted(ids))}.")
    columns = columns_of(wanted[0], models=choices.models, prompts=choices.prompts)
    if not columns:
        raise InputError("figure panel: no model is left. Choose fewer of models and prompts.")
    return columns[: choices.most], max(0, len(columns) - choices.most)


def _row(columns: Sequence[Column], asked: str) -> _Row:
    case = chosen_case(columns, asked)
    view = view_of(columns, case)
    if view is None:
        raise InputError(f"The run keeps no picture of {case}: its cells have no folder slices/.")
    return _Row(RULES.get(asked, "the case asked for"), view, tuple(predicted(c, view) for c in columns))


def _panel(axes: Axes, row: _Row, what: str | Column, columns: Sequence[Column], *, choices: Choices) -> None:
    view, masks = row.view, dict[str, Mask]()
    roi = columns[0].roi
    if what == "reference":
        masks = dict(view.references)
    elif isinstance(what, Column):
        found = row.drawn[columns.index(what)]
        view = own_crop(what, view)
        masks = {} if found is None else dict(found.masks)
        _dice(axes, found, what.roi, lungs=choices.layout == "benchmark")
    _slice(axes, view, masks, choices, roi=roi, width=1.1)
    frame = _frame(row, roi, choices.margin_mm)
    if frame is not None:
        _inset(axes, view, masks, choices=choices, frame=frame)


def _frame(row: _Row, roi: str, margin_mm: float) -> tuple[int, int, int, int] | None:
    """What the inset shows; None without a whole slice, or where it would hardly be larger than on the slice.

    Round the reference, so that no model decides where one looks; round the predictions where that is empty.
    """
    if not row.view.whole:
        return None
    shown = [row.view.references[roi]]
    if not shown[0].any():
        shown = [p.masks[roi] for p in row.drawn if p is not None and roi in p.masks]
    top, left, bottom, right = frame = frame_round(shown, row.view.spacing, margin_mm=margin_mm)
    rows, columns = row.view.image.shape
    return None if max((bottom - top) / rows, (right - left) / columns) > _INSET / _ENLARGED else frame


def _slice(axes: Axes, view: View, masks: Mapping[str, Mask], choices: Choices, *, roi: str, width: float) -> None:
    low, high = view.window
    row, column = view.spacing
    axes.imshow(view.image, cmap="gray", vmin=low, vmax=high, aspect=row / column, interpolation="nearest",
                extent=(0, view.image.shape[1], view.image.shape[0], 0))  # fmt: skip
    colours = _COLOURS[choices.layout]
    for name, mask in sorted(masks.items(), key=lambda item: item[0] == roi):
        tumour = name == roi
        if mask.any() and (tumour or choices.layout == "benchmark"):
            colour = colours["tumour"] if tumour else colours[name]
            axes.add_collection(
                LineCollection(edges(mask), colors=colour, linewidths=width * (1.4 if tumour else 0.9), label=name)
            )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _inset(
    axes: Axes, view: View, masks: Mapping[str, Mask], *, choices: Choices, frame: tuple[int, int, int, int]
) -> None:
    """A magnified part in the corner farthest from it, with its frame on the slice."""
    top, left, bottom, right = frame
    rows, columns = view.image.shape
    x = 0.0 if (left + right) / 2 > columns / 2 else 1 - _INSET
    y = 0.0 if (top + bottom) / 2 < rows / 2 else 1 - _INSET
    zoomed = axes.inset_axes((x, y, _INSET, _INSET), anchor="NW" if x == 0 else "NE")
    part = {name: mask[top:bottom, left:right] for name, mask in masks.items()}
    cut = View(
        view.case, view.image[top:bottom, left:right], {}, view.spacing, view.slice_index, view.window, whole=True
    )
    roi = next((name for name in masks if name not in _WORDS), "tumour")
    _slice(zoomed, cut, part, choices, roi=roi, width=1.0)
    colour = _COLOURS[choices.layout]["frame"]
    for spine in zoomed.spines.values():
        spine.set(visible=True, edgecolor=colour, linewidth=1.2)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=0.9))


def _dice(axes: Axes, found: Predicted | None, roi: str, *, lungs: bool) -> None:
    if found is None:
        text = "no picture kept"
    else:
        parts = [f"Dice {found.dice[roi]:.2f}"] if roi in found.dice else ["Dice undefined"]
        others = [found.dice[name] for name in (RIGHT, LEFT) if lungs and name in found.dice]
        parts += [f"lungs {np.mean(others):.2f}"] if others else []
        text = " · ".join(parts)
    axes.set_xlabel(text, fontsize=8, labelpad=2)


def _legend(figure: PaperFigure, rows: Sequence[_Row], choices: Choices) -> None:
    colours = _COLOURS[choices.layout]
    present = {name for row in rows for name in row.view.references} | {
        name for row in rows for p in row.drawn if p is not None for name in p.masks
    }
    lungs = [name for name in (RIGHT, LEFT) if name in present and choices.layout == "benchmark"]
    handles = [Line2D([], [], color=colours[name], linewidth=1.6, label=_WORDS[name]) for name in lungs]
    handles.append(Line2D([], [], color=colours["tumour"], linewidth=2.2, label="tumour"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), facecolor="#3a3d42", frameon=True,
                  labelcolor="white", edgecolor="none", handlelength=1.6)  # fmt: skip


def _head(column: Column, choices: Choices, *, width: int) -> str:
    prompt = f"prompt: {column.prompt}" if column.prompt else "no prompt"
    return "\n".join([*textwrap.wrap(choices.named(column.label), width), *textwrap.wrap(prompt, width)])


def _said(rows: Sequence[_Row], columns: Sequence[Column], choices: Choices, *, more: int) -> str:
    cases = "; ".join(f"{row.view.case}: {row.rule}" for row in rows)
    over = f", Dice averaged over the {len(columns)} columns" if len(columns) > 1 else ""
    low, high = rows[0].view.window
    inset = any(_frame(row, columns[0].roi, choices.margin_mm) is not None for row in rows)
    parts = [
        f"By rule: {cases}{over}; of each the slice with the largest area of the reference.",
        "Dice is of the whole case." + (" Insets lie round the reference." if inset else ""),
        f"Window {low:g} to {high:g}" + (" HU." if low < 0 else "."),
    ]
    if any("~" in (c.prediction(row.view.case) or "") for c in columns for row in rows):
        parts.append("Of several draws of a prompt the first is shown.")
    if not all(row.view.whole for row in rows):
        parts.append("The run keeps no whole slices, so the surroundings of the tumour are shown.")
    if more:
        parts.append(f"{more} more not shown.")
    return " ".join(parts)


def _values(rows: Sequence[_Row], columns: Sequence[Column], choices: Choices) -> str:
    told = []
    for row in rows:
        values = [
            f"{choices.named(c.label)} ({c.prompt or 'no prompt'}) {p.dice[c.roi]:.3f}"
            for c, p in zip(columns, row.drawn, strict=True)
            if p is not None and c.roi in p.dice
        ]
        told.append(f"Dice of {row.view.case}: {', '.join(values)}.")
    return " ".join(told)


def _numbers(row: _Row, columns: Sequence[Column]) -> list[dict[str, Any]]:
    return [
        {"case": row.view.case, "chosen_as": row.rule, "slice": row.view.slice_index, "model": column.label,
         "prompt": column.prompt, "roi": roi, "dice": value}
        for column, found in zip(columns, row.drawn, strict=True) if found is not None
        for roi, value in found.dice.items()
    ]  # fmt: skip
