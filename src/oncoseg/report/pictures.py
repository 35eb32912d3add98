"""The gallery: slices with the outlines of reference and prediction, the worst cases first.

A tile is a small grey PNG with vector outlines over it along the voxel edges, so that what is drawn is
exactly the mask, at any zoom.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oncoseg.experiments.store import SLICES, CellResult, GallerySlice
from oncoseg.report.groups import PRIMARY, Entrant, Group
from oncoseg.score import Score

#: Longest side of a tile's picture in pixels; larger crops are thinned.
LARGEST_SIDE = 256


@dataclass(frozen=True)
class Tile:
    """One picture with its caption.

    Attributes:
        why: "worst", "2nd worst", "median", "best" or "only case".
        case, label, prompt: what is shown.
        value: Dice of the whole case, None when undefined.
        slice_number: of the case's volume, counted from 0.
        png: data URI of the grey picture.
        width_mm, height_mm: of the picture; also the coordinates of the paths.
        reference, prediction, boxes: SVG path data, "" for an empty mask.
    """

    why: str
    case: str
    label: str
    prompt: str
    value: float | None
    slice_number: int
    png: str
    width_mm: float
    height_mm: float
    reference: str
    prediction: str
    boxes: str


@dataclass(frozen=True)
class Strip:
    """The tiles of one entrant in one group."""

    label: str
    prompt: str
    level: int
    tiles: tuple[Tile, ...]


def gallery(groups: Sequence[Group], *, worst: int = 3, most: int = 12) -> tuple[list[Strip], int]:
    """Tiles of the groups of one data set.

    Args:
        groups: of one data set, in the report's order.
        worst: how many of the worst cases to show of each entrant, before the median and the best.
        most: largest number of strips.

    Returns:
        The strips, models before baselines, and how many more were left out to keep the file small.
    """
    strips = []
    for kinds in (("model",), ("classical", "null"), ("human",)):
        for group in groups:
            for entrant in (*group.entrants, *(group.humans if group is groups[0] else ())):
                if entrant.kind in kinds and (tiles := _tiles(entrant, worst)):
                    strips.append(Strip(entrant.label, entrant.record.prompt, group.key.level, tuple(tiles)))
    return strips[:most], max(0, len(strips) - most)


def outline(mask: NDArray[np.bool_], spacing: tuple[float, float]) -> str:
    """SVG path along the voxel edges of a 2D mask, in mm; "" when the mask is empty.

    Runs of edges in one line are joined into one stroke.

    Example:
        >>> outline(np.array([[True]]), (1.0, 1.0))
        'M0 0H1M0 1H1M0 0V1M1 0V1'
    """
    row, column = spacing
    strokes = [
        f"M{_mm(x0 * column)} {_mm(y0 * row)}" + (f"H{_mm(x1 * column)}" if y0 == y1 else f"V{_mm(y1 * row)}")
        for (x0, y0), (x1, y1) in edges(mask)
    ]
    return "".join(strokes)


def edges(mask: NDArray[np.bool_]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Ends (column, row) of the straight strokes between mask and background, in pixels; those along rows first."""
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]
    along = padded[1:-1, 1:] != padded[1:-1, :-1]
    strokes = [((a, i), (b, i)) for i, line in enumerate(across) for a, b in _runs(line)]
    return strokes + [((j, a), (j, b)) for j, line in enumerate(along.T) for a, b in _runs(line)]


def png(picture: GallerySlice) -> str:
    """The slice in its window as a grey PNG data URI."""
    low, high = picture.window
    grey = np.clip((picture.image - low) / max(high - low, 1e-6), 0, 1)
    step = -(-max(grey.shape) // LARGEST_SIDE)
    stream = io.BytesIO()
    Image.fromarray(np.rint(grey[::step, ::step] * 255).astype(np.uint8)).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _tiles(entrant: Entrant, worst: int) -> list[Tile]:
    wanted = frozenset(s for s in entrant.scores if s.metric == PRIMARY)
    scores = [(cell, s) for cell in entrant.cells for s in cell.scores if s in wanted]
    shown = [(cell, s) for cell, s in scores if (cell.folder / SLICES / f"{s.case}.npz").exists()]
    shown.sort(key=lambda pair: (pair[1].value is not None, pair[1].value or 0.0, pair[1].case))
    tiles = []
    for index, why in _choose(len(shown), worst):
        cell, score = shown[index]
        picture = cell.gallery(score.case)
        if picture is not None:
            tiles.append(_tile(entrant, cell, score, picture=picture, why=why))
    return tiles


def _choose(count: int, worst: int) -> list[tuple[int, str]]:
    """Positions in an ascending list and what they are: the worst ones, then median and best."""
    if count < 2:
        return [(0, "only case")][:count]
    names = ["worst", "2nd worst", "3rd worst", *(f"{n}th worst" for n in range(4, worst + 1))]
    chosen = {i: names[i] for i in range(min(worst, count))}
    chosen.setdefault(count // 2, "median")
    chosen[count - 1] = "best"
    return list(chosen.items())


def _tile(entrant: Entrant, cell: CellResult, score: Score, *, picture: GallerySlice, why: str) -> Tile:
    rows, columns = picture.image.shape
    row, column = picture.spacing
    return Tile(
        why=why,
        case=score.case,
        label=entrant.label,
        prompt=cell.record.prompt,
        value=score.value,
        slice_number=picture.slice_index,
        png=png(picture),
        width_mm=round(columns * column, 2),
        height_mm=round(rows * row, 2),
        reference=outline(picture.reference, picture.spacing),
        prediction=outline(picture.prediction, picture.spacing),
        boxes="".join(
            f"M{_mm(c0 * column)} {_mm(r0 * row)}H{_mm(c1 * column)}V{_mm(r1 * row)}H{_mm(c0 * column)}Z"
            for r0, c0, r1, c1 in picture.boxes
        ),
    )


def _runs(line: NDArray[Any]) -> list[tuple[int, int]]:
    """Half-open runs of True."""
    edges = np.flatnonzero(np.diff(np.pad(line.astype(np.int8), 1)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _mm(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
