"""The reading sheet: one page with the measurements of the lesions and the slices they were taken on."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.files import require_writable, write_text, written_whole
from oncoseg.io.sr_writer import Finding
from oncoseg.io.structures import RESEARCH_USE
from oncoseg.measurements import Axis
from oncoseg.report.pages import environment
from oncoseg.volume import Volume

#: Lowest and highest HU that are shown: soft tissue, and lung.
SOFT_TISSUE, LUNG = (-160.0, 240.0), (-1350.0, 150.0)
SUFFIXES = (".pdf", ".html")
#: Lesions with pictures, and lines of the table, that fit on the page.
_SHOWN, _LISTED = 3, 12
#: Heights of a line of the table and of a row of pictures, as shares of the page.
_LINE, _PICTURE = 0.0165, 0.198
#: Half the side of the pictures in mm; larger lesions get as much as they need.
_HALF_MM = 40.0
_OUTLINE, _LONG, _SHORT = "#ffd21f", "#38b6ff", "#ff5fc4"
_COLUMNS = ("lesion", "volume, mL", "long axis, mm", "short axis, mm", "mean ± SD (HU)", "slice", "centre (LPS), mm")
_LOCATION = "location"
_CAPTION = (
    "Yellow: outline; blue: long axis; pink: short axis. A row shows the slice with the longest diameter, then the "
    "planes across it through the lesion's centre. Where there is room, the largest lesion follows in whole planes and "
    "on more slices."
)
#: Shares of the page's width, to be scaled, of these columns and of the locations.
_WIDTHS = (1.3, 1.0, 1.2, 1.2, 1.3, 0.6, 1.5, 1.9)


@dataclass(frozen=True, eq=False)
class Sheet:
    """What a reading sheet shows.

    Attributes:
        image: HU or intensities.
        masks: ROI name -> bool volume on the same grid.
        findings: lesions of these ROIs, in the order of the table.
        series: SeriesInstanceUID, the only identifier that is printed: no name and no number of a patient.
        made_by: a sentence on what drew the masks.
        where: body site, None when unknown; "lung" is shown in a lung window.
    """

    image: Volume
    masks: Mapping[str, Volume]
    findings: Sequence[Finding]
    series: str
    made_by: str
    where: str | None = None

    @property
    def window(self) -> tuple[float, float]:
        """Lowest and highest value that are shown."""
        low, high = float(self.image.voxels.min()), float(self.image.voxels.max())
        if low >= 0:  # no HU: what is darkest and brightest
            return low, high
        return LUNG if self.where == "lung" else SOFT_TISSUE


class _View(NamedTuple):
    """A picture of a plane: values, outline, mm per pixel (down, across), title, whether all is shown, lines on it."""

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    spacing: tuple[float, float]
    title: str
    whole: bool = False
    axes: tuple[Axis, ...] = ()


def write_sheet(output: Path, sheet: Sheet) -> None:
    """Write a reading sheet as PDF or HTML (by its suffix), whole.

    Raises:
        InputError: for another suffix, or when the file cannot be written.
    """
    require_sheet(output)
    if output.suffix.lower() == ".html":
        write_text(output, _html(sheet))
        return
    with mpl.rc_context({"font.family": "sans-serif", "font.size": 8}):
        figure = _page(sheet)
        with written_whole(output) as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})


def require_sheet(output: Path) -> None:
    """Raise InputError unless a sheet could be written there."""
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"{output}: a reading sheet is written as {' or '.join(SUFFIXES)}. Rename it.")
    require_writable(output)


def rows(sheet: Sheet) -> list[tuple[str, ...]]:
    """The lines of the table as text; what is undefined is a dash."""
    lines = []
    for finding in sheet.findings[:_LISTED]:
        lesion = finding.lesion
        numbers = (lesion.millilitres, lesion.long_axis.length_mm, lesion.short_axis.length_mm)
        mean = "–" if lesion.mean is None else f"{lesion.mean:.0f} ± {lesion.deviation or 0.0:.0f}"
        centre = ", ".join(f"{v:.0f}" for v in lesion.centre_mm)
        volume, *axes = numbers
        line = (finding.title, f"{volume:.2f}", *(f"{v:.1f}" for v in axes), mean, str(lesion.slice_index), centre)
        lines.append((*line, str(lesion.location or "–")) if _located(sheet) else line)
    return lines


def columns(sheet: Sheet) -> list[str]:
    """Heads of the table's columns; locations have one where any lesion has one."""
    return [*_COLUMNS, *([_LOCATION] if _located(sheet) else [])]


def _located(sheet: Sheet) -> bool:
    return any(finding.lesion.location is not None for finding in sheet.findings)


def _notes(sheet: Sheet) -> list[str]:
    more = len(sheet.findings) - _LISTED
    notes = [f"{more} smaller lesions are not listed."] if more > 0 else []
    if not sheet.findings:
        notes.append("No lesion was found.")
    notes.append(f"Site: {sheet.where or 'unknown'}. Slices count from 0. Diameters lie in the plane of the slices.")
    return notes


def _caption(sheet: Sheet) -> str:
    """What the pictures show, and which side of the patient is where if columns run across the patient."""
    across = sheet.image.affine[:3, 2]
    if abs(across[0]) < 0.9 * np.linalg.norm(across):
        return _CAPTION
    return f"{_CAPTION} On slices the patient's right is on the {'left' if across[0] > 0 else 'right'}."


def _page(sheet: Sheet) -> Figure:
    """An A4 page."""
    figure = Figure(figsize=(8.27, 11.69), facecolor="white")
    figure.text(0.06, 0.965, "Reading sheet", size=15, weight="bold")
    figure.text(0.06, 0.948, f"Series {sheet.series}", size=7, color="#555555")
    figure.text(0.94, 0.965, RESEARCH_USE, size=8, weight="bold", color="#b00020", ha="right")
    lines, below = rows(sheet), 0.925
    if lines:
        height = _LINE * (len(lines) + 1)
        table = figure.add_axes((0.06, below - height, 0.88, height))
        table.set_axis_off()
        whole, heads = mpl.transforms.Bbox.unit(), columns(sheet)
        drawn = table.table(
            lines, colLabels=heads, colWidths=_WIDTHS[: len(heads)], bbox=whole, cellLoc="right", edges="horizontal"
        )
        drawn.auto_set_font_size(False)
        drawn.set_fontsize(7.5)
        below -= height
    figure.text(0.06, below - 0.02, " ".join(_notes(sheet)), size=7)
    if lines:
        figure.text(
            0.06, below - 0.05 - _SHOWN * _PICTURE, "\n".join(textwrap.wrap(_caption(sheet), 150)), size=6, va="top"
        )
    _pictures(figure, sheet, bottom=below - 0.04 - _SHOWN * _PICTURE, top=below - 0.04)
    for line, text in enumerate(_wrapped(sheet.made_by)):
        figure.text(0.06, 0.04 - 0.011 * line, text, size=6, color="#555555")
    return figure


def _wrapped(text: str, width: int = 150) -> list[str]:
    return textwrap.wrap(f"{text} Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.", width)[:3]


def _pictures(figure: Figure, sheet: Sheet, *, bottom: float, top: float) -> None:
    """A row of three planes for each of the largest lesions; what is left is filled with more of the largest one."""
    height = (top - bottom) / _SHOWN
    for row, views in enumerate(_rows(sheet)):
        for column, view in enumerate(views):
            place = (0.06 + 0.3 * column, top - (row + 1) * height + 0.005, 0.28, height - 0.03)
            _draw(figure.add_axes(place), view, sheet.window)


def _rows(sheet: Sheet) -> list[list[_View]]:
    shown = sheet.findings[:_SHOWN]
    found = [_views(finding, sheet) for finding in shown]
    if shown:
        found += [[view._replace(whole=True, axes=()) for view in found[0]], _slices(shown[0], sheet)]
    return found[:_SHOWN]


def _views(finding: Finding, sheet: Sheet) -> list[_View]:
    """The slice with the longest diameter, and the two planes across it through the lesion's centre."""
    lesion, (high, down, across) = finding.lesion, sheet.image.spacing
    centre = sheet.image.mm_to_index(np.array(lesion.centre_mm))
    _, i, j = (int(np.clip(np.rint(c), 0, n - 1)) for c, n in zip(centre, sheet.image.shape, strict=True))
    image, mask = sheet.image.voxels, sheet.masks[finding.name].voxels
    at, axes = lesion.slice_index, (lesion.long_axis, lesion.short_axis)
    return [
        _View(image[at], mask[at], (down, across), f"{finding.title}, slice {at}", axes=axes),
        _View(image[::-1, i], mask[::-1, i], (high, across), f"row {i}"),
        _View(image[::-1, :, j], mask[::-1, :, j], (high, down), f"column {j}"),
    ]


def _slices(finding: Finding, sheet: Sheet) -> list[_View]:
    """Slices at a sixth, a half and five sixths of a lesion's height."""
    lesion, (_, down, across) = finding.lesion, sheet.image.spacing
    image, mask = sheet.image.voxels, sheet.masks[finding.name].voxels
    chosen = [lesion.first_slice + lesion.slices * part // 6 for part in (5, 3, 1)]
    return [_View(image[k], mask[k], (down, across), f"{finding.title}, slice {k}") for k in chosen]


def _draw(axes: Axes, view: _View, window: tuple[float, float]) -> None:
    height, width = view.image.shape
    down, across = view.spacing
    extent = (-0.5 * across, (width - 0.5) * across, (height - 0.5) * down, -0.5 * down)
    axes.imshow(view.image, cmap="gray", vmin=window[0], vmax=window[1], extent=extent, interpolation="bilinear")
    touched = np.argwhere(view.mask)
    for line, colour in zip(view.axes, (_LONG, _SHORT), strict=False):
        (first, left), (last, right) = line.start, line.end
        axes.plot([left * across, right * across], [first * down, last * down], color=colour, linewidth=1.0)
    if touched.size:
        rows_mm, columns_mm = np.arange(height) * down, np.arange(width) * across
        axes.contour(columns_mm, rows_mm, view.mask, levels=[0.5], colors=[_OUTLINE], linewidths=0.8)
    if touched.size and not view.whole:
        middle = touched.mean(axis=0) * view.spacing
        half = max(_HALF_MM, 0.7 * float((np.ptp(touched, axis=0) * view.spacing).max()))
        axes.set_xlim(middle[1] - half, middle[1] + half)
        axes.set_ylim(middle[0] + half, middle[0] - half)
    axes.set_title(view.title, size=7, pad=2)
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])


def _html(sheet: Sheet) -> str:
    return (
        environment()
        .get_template("reading_sheet.html.j2")
        .render(
            research_use=RESEARCH_USE,
            series=sheet.series,
            columns=columns(sheet),
            rows=rows(sheet),
            notes=_notes(sheet),
            picture=_png(sheet) if sheet.findings else None,
            caption=_caption(sheet),
            made_by=" ".join(_wrapped(sheet.made_by)),
        )
    )


def _png(sheet: Sheet) -> str:
    """The pictures alone as a PNG data URI."""
    count = len(_rows(sheet))
    with mpl.rc_context({"font.family": "sans-serif", "font.size": 8}):
        figure = Figure(figsize=(8.27, 2.7 * _SHOWN), facecolor="white")
        _pictures(figure, sheet, bottom=0.0, top=1.0)
        stream = io.BytesIO()
        box = mpl.transforms.Bbox.from_bounds(0.3, 2.7 * (_SHOWN - count), 7.7, 2.7 * count)
        figure.savefig(stream, format="png", dpi=130, bbox_inches=box, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
