"""How the one crop window of a data set comes about: slices, tight boxes, their union over the training set, the crop.

After Fig. 2 of Yi et al. 2026 (doi 10.21037/qims-2025-370), GTV-MFIT. The window is computed by the code that the model
`gtv_samgan` is trained with, on the training cases of the run's own split, and what it cuts off the tested cases is
counted as that model's results count it. Needs the images: the data set is opened again.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import Dataset
from oncoseg.errors import InputError
from oncoseg.experiments.coverage import Coverage
from oncoseg.experiments.gallery import picture
from oncoseg.experiments.lungs import CLASSICAL, DRAWN
from oncoseg.experiments.specs import DatasetSpec, SplitSpec
from oncoseg.experiments.splits import Split, cases_of, load_splits, training_fraction
from oncoseg.experiments.store import SPLITS, CellResult
from oncoseg.experiments.trained import with_tumour
from oncoseg.inference.slices import axial_view
from oncoseg.preprocess.fixed_window import Found, Window, union_window
from oncoseg.report.drawing import PaperFigure, Selection, note
from oncoseg.report.figures import PALETTE
from oncoseg.report.views import require_known
from oncoseg.volume import Volume

TITLE = "The crop window of a data set: slices, tight boxes, their union over the training cases, the crop"
MODEL = "gtv_samgan"
_BOX, _UNION, _WINDOW = PALETTE[1], PALETTE[5], "#ff2d2d"


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen.

    Attributes:
        smallest: least side of the window in pixels; None for what the run's `gtv_samgan` was told, else 256.
        margin: pixels round the union; None likewise, else 0.
        examples: training cases whose slice with the largest tumour is shown: evenly spread by tumour area.
        data: options of the data set that results do not keep, e.g. where it lies: data.root=/data/LUNG1.
        lungs: weights file of lungmask, where the run's data set had its lungs from one.
    """

    smallest: int | None = None
    margin: int | None = None
    examples: int = 3
    data: Mapping[str, Any] = field(default_factory=dict)
    lungs: str = ""


@dataclass(frozen=True, eq=False)
class _Slices:
    """Of one training case: all tight boxes, and the slice with the largest tumour.

    Attributes:
        boxes: (top, left, bottom, right), half open, one a slice with tumour.
        shown: box of the slice that is shown.
        area: pixels of tumour on it.
    """

    case: str
    image: NDArray[np.float32]
    window: tuple[float, float]
    number: int
    boxes: tuple[Window, ...]
    shown: Window
    area: int


@dataclass(frozen=True)
class _Fixed:
    """What `Coverage` asks of a model."""

    window: Window

    def window_on(self, image: Volume) -> NDArray[np.bool_]:
        view = axial_view(image)
        return view.restore(self.window.mask(view.volume.shape))


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """Top: slices with their tight box and the window, and all boxes with their union; bottom: the crops.

    Raises:
        InputError: when the run has no training cases, the data are not those of the run, or hold no tumour.
        UnknownNameError: for an unknown data set.
    """
    cell = _cell(results, choices)
    split, roi, dataset = _split(cell), cell.record.configuration["roi"], _opened(cell, choices)
    chosen = set(cell.record.configuration["dataset"]["cases"])
    entries = [entry for entry in dataset.entries() if not chosen or entry.case in chosen]
    seed, share = _split_seed(cell), cell.record.fraction
    patients = training_fraction(split.train, share, seed)
    training = [with_tumour(dataset.load(name), roi) for name in cases_of(patients, entries)]
    smallest, margin = _sizes(cell, choices)
    masks = ((case.name, axial_view(case.mask(TUMOUR)).volume.voxels) for case in training)
    found = union_window(masks, smallest=smallest, margin=margin)
    coverage = Coverage()
    for name in cases_of(split.test, entries):
        case = with_tumour(dataset.load(name), roi)
        coverage.add(_Fixed(found.window), case.image, case.mask(TUMOUR))  # type: ignore[arg-type]
    slices = [one for case in training if (one := _slices(case)) is not None]
    return _figure(cell, slices, found, coverage=coverage, choices=choices, asked=(smallest, margin))


def _figure(
    cell: CellResult, slices: Sequence[_Slices], found: Found, *, coverage: Coverage, choices: Choices,
    asked: tuple[int, int],
) -> PaperFigure:  # fmt: skip
    shown = _examples(slices, choices.examples)
    figure = PaperFigure(figsize=(2.3 * (len(shown) + 1), 5.3), layout="constrained")
    grid = figure.subplots(2, len(shown) + 1, squeeze=False)
    window, union = found.window, _union(slices)
    for one, (top, bottom) in zip(shown, grid.T, strict=False):
        _image(top, one.image, one.window)
        _box(top, one.shown, _BOX, 1.4)
        _box(top, window, _WINDOW, 1.6)
        top.set_title(f"{one.case}\nslice {one.number}", fontsize=8.5)
        crop = one.image[window.top : window.bottom, window.left : window.right]
        _image(bottom, crop, one.window, origin=(window.top, window.left))
        _box(bottom, one.shown, _BOX, 1.4)
    boxes, words = grid[:, -1]
    blank = np.full(found.shape, np.nan, np.float32)
    _image(boxes, blank, (0.0, 1.0))
    for one in slices:
        for box in one.boxes:
            _box(boxes, box, _BOX, 0.5)
    _box(boxes, union, _UNION, 1.8)
    _box(boxes, window, _WINDOW, 1.8)
    count = sum(len(one.boxes) for one in slices)
    boxes.set_title(f"{count} boxes of\n{len(slices)} training cases", fontsize=8.5)
    boxes.set_facecolor("#f1f3f5")
    words.set_axis_off()
    lines = [line for fact in _facts(found, union, coverage) for line in textwrap.wrap(fact, 34)]
    words.text(0.0, 0.98, "\n".join(lines), va="top", fontsize=8, transform=words.transAxes)
    grid[0, 0].set_ylabel("slice, tight box,\nwindow")
    grid[1, 0].set_ylabel("crop that the\nmodel sees")
    handles = [
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linewidth=1.6, label=label)
        for colour, label in ((_BOX, "tight box of a slice"), (_UNION, "union"), (_WINDOW, "window"))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    said = _said(cell, choices, asked=asked)
    note(figure, said)
    figure.words = " ".join([said, *_facts(found, union, coverage)])
    figure.numbers = [_number(one, box) for one in slices for box in one.boxes] + [
        {"case": what, "slice": None, **window_._asdict()} for what, window_ in (("union", union), ("window", window))
    ]
    return figure


def _cell(results: Sequence[CellResult], choices: Choices) -> CellResult:
    """The cell whose split and options are used: one of `gtv_samgan` with the most training patients, else any."""
    trained = [c for c in results if c.record.trained_here and not c.record.source]
    require_known("data set", [choices.dataset] if choices.dataset else [], {c.record.dataset for c in trained})
    wanted = [c for c in trained if choices.dataset in ("", c.record.dataset)]
    if not wanted:
        raise InputError("The run trained nothing, so there are no training cases to find a window on.")
    return max(wanted, key=lambda c: (c.record.model == MODEL, c.record.fraction, -c.record.fold, -c.record.seed))


def _opened(cell: CellResult, choices: Choices) -> Dataset:
    """The data set of a cell, with lungs or cut into slices if the run's was: known by its fingerprint."""
    held = cell.record.configuration["dataset"]
    options = {**held["options"], **choices.data}
    units: tuple[Literal["patient", "slice"], ...] = ("patient", "slice")
    for lungs, unit in itertools.product([choices.lungs] if choices.lungs else [None, DRAWN, CLASSICAL], units):
        split = SplitSpec(unit=unit)
        spec = DatasetSpec(held["use"], options, split, roi=cell.record.configuration["roi"], lungs=lungs)
        dataset = spec.open()
        if dataset.fingerprint() == held["fingerprint"]:
            return dataset
    raise InputError(
        f"The data set {cell.record.dataset} is not the one of the run: its content differs. Say where the run's "
        "data lie, e.g. data.root=/data/LUNG1."
    )


def _split(cell: CellResult) -> Split:
    source = cell.folder.parent / SPLITS / f"{cell.record.dataset}.json"
    return load_splits(source).folds[cell.record.fold]


def _split_seed(cell: CellResult) -> int:
    return int(cell.record.provenance.seeds.get("split", 0))


def _sizes(cell: CellResult, choices: Choices) -> tuple[int, int]:
    told = cell.record.configuration.get("options", {}) if cell.record.model == MODEL else {}
    smallest = choices.smallest if choices.smallest is not None else int(told.get("crop_smallest", 256))
    margin = choices.margin if choices.margin is not None else int(told.get("crop_margin", 0))
    return smallest, margin


def _slices(case: Case) -> _Slices | None:
    image, mask = axial_view(case.image).volume, axial_view(case.mask(TUMOUR)).volume
    boxes = {n: _tight(plane) for n, plane in enumerate(mask.voxels) if plane.any()}
    if not boxes:
        return None
    tile = picture(image, mask, mask)
    number = tile.slice_index
    plane = image.voxels[number].astype(np.float32)
    area = int(np.count_nonzero(mask.voxels[number]))
    return _Slices(case.name, plane, tile.window, number, tuple(boxes.values()), boxes[number], area)


def _tight(plane: NDArray[np.bool_]) -> Window:
    rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    return Window(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _union(slices: Sequence[_Slices]) -> Window:
    corners = np.array([box for one in slices for box in one.boxes])
    top, left = corners[:, :2].min(axis=0).tolist()
    bottom, right = corners[:, 2:].max(axis=0).tolist()
    return Window(top, left, bottom, right)


def _examples(slices: Sequence[_Slices], count: int) -> list[_Slices]:
    """Evenly spread by area, the largest first."""
    ordered = sorted(slices, key=lambda one: (-one.area, one.case))
    places = np.linspace(0, len(ordered) - 1, min(max(count, 1), len(ordered))).round().astype(int)
    return [ordered[place] for place in dict.fromkeys(places.tolist())]


def _image(
    axes: Axes, image: NDArray[np.float32], window: tuple[float, float], *, origin: tuple[int, int] = (0, 0)
) -> None:
    rows, columns = image.shape
    top, left = origin
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], interpolation="nearest",
                extent=(left, left + columns, top + rows, top))  # fmt: skip
    axes.tick_params(labelsize=6.5, length=2)
    for spine in axes.spines.values():
        spine.set_visible(True)


def _box(axes: Axes, box: Window, colour: str, width: float) -> None:
    size = (box.right - box.left, box.bottom - box.top)
    axes.add_patch(Rectangle((box.left, box.top), *size, fill=False, edgecolor=colour, linewidth=width, clip_on=False))


def _facts(found: Found, union: Window, coverage: Coverage) -> list[str]:
    window, (rows, columns) = found.window, found.shape
    size = f"{window.right - window.left} x {window.bottom - window.top}"
    return [
        f"Slices: {columns} x {rows} pixels.",
        f"Union: [{union.left}, {union.top}, {union.right}, {union.bottom}].",
        f"Window: [{window.left}, {window.top}, {window.right}, {window.bottom}], {size} pixels.",
        f"On {coverage.cases} tested case{'s' if coverage.cases != 1 else ''}:",
        *coverage.told,
    ]


def _said(cell: CellResult, choices: Choices, *, asked: tuple[int, int]) -> str:
    least, margin = asked
    return (
        f"{choices.named(cell.record.dataset)}: tight boxes of the tumour on every slice of the training cases "
        f"({cell.record.fraction:.0%} of the training patients); the window is the square round their union"
        + (f" and {margin} pixels" if margin else "")
        + f", of at least {least} pixels, inside the slice; [column, row, column, row]. Shown: slices with the largest "
        "tumour of cases evenly spread by its area."
    )


def _number(one: _Slices, box: Window) -> dict[str, Any]:
    return {"case": one.case, "slice": one.number if box == one.shown else None, **box._asdict()}
