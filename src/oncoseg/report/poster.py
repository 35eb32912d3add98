"""One picture for a page or a slide: the same slice of one case, a tile for each cell that predicted it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oncoseg.errors import InputError, UnknownNameError
from oncoseg.experiments.store import CellResult, GallerySlice, read_run
from oncoseg.files import written_whole
from oncoseg.report.groups import PRIMARY

_REFERENCE, _PREDICTION, _BOX = "#ffd21f", "#38b6ff", "#ff5fc4"


def write_poster(run: Path, output: Path, *, dataset: str) -> Path:
    """Write the first case of a data set, best prediction first, as PNG.

    Every tile says what was predicted with which prompt and the Dice of the whole case.

    Args:
        run: folder of a run.
        output: the PNG.
        dataset: id of the data set in the matrix.

    Raises:
        InputError: when the run holds no picture of the data set, or `output` cannot be written to.
        UnknownNameError: for a data set that is not in the run.
    """
    results = read_run(run)
    known = {r.record.dataset for r in results}
    if dataset not in known:
        raise UnknownNameError("data set of the run", dataset, known)
    tiles = _tiles([r for r in results if r.record.dataset == dataset])
    if not tiles:
        raise InputError(f"{run} holds no picture of {dataset}.")
    with mpl.rc_context({"font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(2.3 * len(tiles), 2.75), layout="constrained", facecolor="white")
        for axes, (title, picture) in zip(figure.subplots(1, len(tiles), squeeze=False)[0], tiles, strict=True):
            _draw(axes, title, picture)
        with written_whole(output) as temporary:
            figure.savefig(temporary, dpi=130, format="png", bbox_inches="tight", metadata={"Software": None})
    return output


def _tiles(results: Sequence[CellResult]) -> list[tuple[str, GallerySlice]]:
    """Title and picture of the first case, falling by Dice; cells that draw prompts several times are left out."""
    found: list[tuple[float, str, GallerySlice]] = []
    case = min((p.case for r in results for p in r.predictions if "~" not in p.case), default=None)
    for result in results:
        dice = next((s.value for s in result.scores if s.case == case and s.metric == PRIMARY), None)
        picture = result.gallery(case) if case is not None else None
        if picture is not None and dice is not None:
            record = result.record
            prompt = "no prompt" if record.prompt == "none" else record.prompt
            found.append((dice, f"{record.model}\n{prompt}, Dice {dice:.2f}", picture))
    return [(title, picture) for _, title, picture in sorted(found, key=lambda f: (-f[0], f[1]))]


def _draw(axes: Axes, title: str, picture: GallerySlice) -> None:
    low, high = picture.window
    rows, columns = picture.image.shape
    row, column = picture.spacing
    extent = (0.0, columns * column, rows * row, 0.0)
    axes.imshow(picture.image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    for mask, colour in ((picture.reference, _REFERENCE), (picture.prediction, _PREDICTION)):
        if mask.any():
            axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1.4, extent=extent, origin="upper")
    for top, left, bottom, right in picture.boxes:
        outline = mpl.patches.Rectangle(
            (left * column, top * row), (right - left) * column, (bottom - top) * row, fill=False, color=_BOX, lw=0.9
        )
        axes.add_patch(outline)
    axes.set_title(title)
    axes.set_axis_off()
