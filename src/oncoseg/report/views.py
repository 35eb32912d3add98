"""One slice of a case with the outlines of everybody who segmented it, from result files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError, UnknownNameError
from oncoseg.experiments.lungs import LEFT, RIGHT
from oncoseg.experiments.store import MASKS, CellResult, WholeSlice
from oncoseg.io.images import read_mask
from oncoseg.report.groups import PRIMARY, STRICT_PROTOCOL, Group, Kind, base_case
from oncoseg.score import Score

Mask = NDArray[np.bool_]
#: How a case is chosen by the mean Dice over the models that are shown.
RULES = {
    "median": "the case of median Dice",
    "worst": "the case of lowest Dice",
    "best": "the case of highest Dice",
    "largest": "the case with the largest tumour",
}


@dataclass(frozen=True, eq=False)
class Column:
    """One model with one prompt.

    Attributes:
        label: of the model, as in the report's tables.
        prompt: label of the prompt, "" for none.
        roi: the structure that is ranked.
        cells: folds and seeds.
        dice: Dice by name of the prediction, defined ones alone.
        kind: a model, or something that one is compared with.
    """

    label: str
    prompt: str
    roi: str
    cells: tuple[CellResult, ...]
    dice: Mapping[str, float]
    kind: Kind

    def prediction(self, case: str) -> str | None:
        """Name of the first prediction of a case with a defined Dice."""
        return min((name for name in self.dice if base_case(name) == case), default=None)


@dataclass(frozen=True, eq=False)
class View:
    """A slice of a case with its references by ROI name.

    Attributes:
        whole: the whole slice; its centre cut out round the tumour otherwise.
    """

    case: str
    image: NDArray[np.float32]
    references: Mapping[str, Mask]
    spacing: tuple[float, float]
    slice_index: int
    window: tuple[float, float]
    whole: bool


@dataclass(frozen=True, eq=False)
class Predicted:
    """What one model drew on a view: masks by ROI name, and the Dice of the whole case by ROI name."""

    masks: Mapping[str, Mask]
    dice: Mapping[str, float]


def columns_of(groups: Sequence[Group], *, models: Sequence[str] = (), prompts: Sequence[str] = ()) -> list[Column]:
    """The models of the groups of one data set, each with each of its prompts.

    In the order of `models`; without it, models before what they are compared with.

    Raises:
        UnknownNameError: for a model or prompt that the groups do not have.
    """
    found = []
    for group in groups:
        for entrant in group.entrants:
            dice = {s.case: s.value for s in entrant.scores if s.metric == PRIMARY and s.value is not None}
            prompt = entrant.record.prompt
            shown = "" if prompt == "none" else prompt
            found.append(Column(entrant.label, shown, group.key.roi, entrant.cells, dict(dice), entrant.kind))
    require_known("model", models, {c.label for c in found})
    require_known("prompt", prompts, {c.prompt or "none" for c in found})
    wanted = [
        c for c in found if (not models or c.label in models) and (not prompts or (c.prompt or "none") in prompts)
    ]
    if models:
        return sorted(wanted, key=lambda c: list(models).index(c.label))
    return sorted(wanted, key=lambda c: ("model", "classical", "null", "human").index(c.kind))


def require_known(kind: str, asked: Sequence[str], held: set[str]) -> None:
    """Raise UnknownNameError for the first name that a run does not have."""
    for name in asked:
        if name not in held:
            raise UnknownNameError(f"{kind} of the run", name, held)


def chosen_case(columns: Sequence[Column], case: str) -> str:
    """A case that all columns predicted: by name, or by a rule of `RULES`.

    The rules look at the mean of the columns' Dice; of an even number of cases the lower middle one is the median, and
    of equal ones the first by name.

    Raises:
        InputError: when the columns share no case.
        UnknownNameError: for a case that is not shared.
    """
    shared = set.intersection(*({base_case(name) for name in column.dice} for column in columns))
    if not shared:
        raise InputError(
            "The models have no case with a defined Dice in common. Choose some of them with models=[...]."
        )
    if case not in RULES:
        require_known("case", [case], shared)
        return case
    if case == "largest":
        volumes = {
            base_case(p.case): p.volume_reference_mm3 or 0.0 for c in columns for r in c.cells for p in r.predictions
        }
        return min(shared, key=lambda name: (-volumes.get(name, 0.0), name))
    ordered = sorted(shared, key=lambda name: (mean_dice(columns, name), name))
    return ordered[{"worst": 0, "best": -1, "median": (len(ordered) - 1) // 2}[case]]


def mean_dice(columns: Sequence[Column], case: str) -> float:
    """Mean of the columns' means over the draws of a case."""
    means = [np.mean([v for name, v in c.dice.items() if base_case(name) == case]) for c in columns]
    return float(np.mean(means))


def view_of(columns: Sequence[Column], case: str) -> View | None:
    """The slice of a case with the largest reference; whole where any of the cells holds it. None without a picture."""
    cropped: View | None = None
    wholes: list[WholeSlice] = []
    for column in columns:
        for cell in column.cells:
            tile = cell.gallery(column.prediction(case) or case)
            if tile is None:
                continue
            whole = cell.whole(tile)
            wholes += [] if whole is None else [whole]
            held = {column.roi: tile.reference}
            cropped = cropped or View(case, tile.image, held, tile.spacing, tile.slice_index, tile.window, whole=False)
    if not wholes:
        return cropped
    first = max(wholes, key=lambda one: len(one.references))
    return View(case, first.image, first.references, first.spacing, first.slice_index, first.window, whole=True)


def predicted(column: Column, view: View) -> Predicted | None:
    """What a column drew on a view; None where it has no picture or mask of it.

    Raises:
        InputError: when a mask lies on another grid than the slice.
    """
    name = column.prediction(view.case)
    for cell in column.cells:
        tile = None if name is None else cell.gallery(name)
        if name is None or tile is None:
            continue
        dice = {s.roi: s.value for s in _dice(cell, name) if s.value is not None}
        if not view.whole:
            return Predicted({column.roi: tile.prediction}, dice)
        masks = {}
        for roi in (column.roi, RIGHT, LEFT):
            source = cell.folder / MASKS / f"{name}{'' if roi == column.roi else f'.{roi}'}.nii.gz"
            if source.exists():
                masks[roi] = read_mask(source).voxels[view.slice_index]
                if masks[roi].shape != view.image.shape:
                    raise InputError(f"{source} has slices of {masks[roi].shape}, its case {view.image.shape} pixels.")
        return Predicted(masks, dice) if masks else None
    return None


def own_crop(column: Column, view: View) -> View:
    """A view without a whole slice as this column's picture was cut out, which depends on its boxes."""
    name = column.prediction(view.case)
    tile = next((t for c in column.cells if name is not None and (t := c.gallery(name)) is not None), None)
    if view.whole or tile is None:
        return view
    return replace(view, image=tile.image, references={column.roi: tile.reference}, spacing=tile.spacing)


def frame_round(masks: Sequence[Mask], spacing: tuple[float, float], *, margin_mm: float) -> tuple[int, int, int, int]:
    """A square in mm round everything marked with a margin, as (top, left, bottom, right) in pixels, inside the slice.

    The whole slice when nothing is marked.
    """
    marked = np.logical_or.reduce(masks) if masks else np.zeros((1, 1), bool)
    rows, columns = marked.shape
    if not marked.any():
        return 0, 0, rows, columns
    ends = [np.flatnonzero(marked.any(axis=1 - axis))[[0, -1]] + (0, 1) for axis in (0, 1)]
    side = max((b - a) * mm for (a, b), mm in zip(ends, spacing, strict=True)) + 2 * margin_mm
    sides = []
    for (a, b), mm, size in zip(ends, spacing, marked.shape, strict=True):
        length = min(size, round(side / mm))
        start = min(max(0, round((a + b - length) / 2)), size - length)
        sides.append((int(start), int(start + length)))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right


def _dice(cell: CellResult, name: str) -> list[Score]:
    held = [s for s in (*cell.scores, *cell.others) if s.case == name and s.metric == PRIMARY]
    return [s for s in held if s.protocol == STRICT_PROTOCOL] or held
