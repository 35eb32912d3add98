"""Prompts sorted by the object they point at and the slice they lie on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncoseg.inference.rectangles import Rectangle, Taper, rectangles
from oncoseg.prompt import Box, Click, MaskPrompt, Prompt, Scribble

#: Clicks that stand for one scribble on one slice, evenly along it.
CLICKS_A_SCRIBBLE = 8


class Dot(NamedTuple):
    """A click on a slice, in voxels."""

    row: int
    column: int
    positive: bool


@dataclass(frozen=True, eq=False)
class Asked:
    """What is known about one object on one slice.

    Attributes:
        slice: which.
        box: rectangle round it; None without one.
        dots: clicks in the order they were given.
        mask: a rough mask of the slice, bool (rows, columns); None without one.
    """

    slice: int
    box: Rectangle | None = None
    dots: tuple[Dot, ...] = ()
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)

    def same(self, other: Asked | None) -> bool:
        """Whether both say the same."""
        if other is None or (self.slice, self.box, self.dots) != (other.slice, other.box, other.dots):
            return False
        if self.mask is None or other.mask is None:
            return self.mask is other.mask
        return bool(np.array_equal(self.mask, other.mask))

    @property
    def says_where(self) -> bool:
        """Whether it points at something, rather than only away from something."""
        return self.box is not None or self.mask is not None or any(dot.positive for dot in self.dots)

    @property
    def extent(self) -> Rectangle:
        """The rectangle round everything that points at the object."""
        spans = [] if self.box is None else [self.box[1:]]
        spans += [(dot.row, dot.column, dot.row + 1, dot.column + 1) for dot in self.dots if dot.positive]
        if self.mask is not None and self.mask.any():
            rows, columns = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (1, 0))
            spans.append((int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1))
        if not spans:
            spans = [(dot.row, dot.column, dot.row + 1, dot.column + 1) for dot in self.dots]
        tops, lefts, bottoms, rights = zip(*spans, strict=True)
        return Rectangle(self.slice, min(tops), min(lefts), max(bottoms), max(rights))


def objects(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    """Prompts by object, in the order in which objects are first named.

    Prompts with a number `lesion` belong together. Of the others every box and every mask is an object of its own;
    a click or scribble that points at something belongs to the box without a number whose voxels hold it, else to
    one common object; one that points away belongs to every object.
    """
    found: dict[str, list[Prompt]] = {}
    away = [p for p in prompts if isinstance(p, Click | Scribble) and not p.positive and p.lesion is None]
    boxes = {f"box {n}": p for n, p in enumerate(prompts) if isinstance(p, Box) and p.lesion is None}
    for number, prompt in enumerate(prompts):
        if prompt.lesion is not None:
            key = f"lesion {prompt.lesion}"
        elif isinstance(prompt, Box):
            key = f"box {number}"
        elif isinstance(prompt, MaskPrompt):
            key = f"mask {number}"
        elif not prompt.positive:
            continue
        else:
            key = next((name for name, box in boxes.items() if _inside(prompt, box)), "clicks")
        found.setdefault(key, []).append(prompt)
    if not found and away:
        found["clicks"] = []
    return {key: [*own, *away] for key, own in found.items()}


def by_slice(prompts: Iterable[Prompt], taper: Taper = "none") -> dict[int, Asked]:
    """What the prompts of one object say on each slice they touch, slices in order."""
    asked: dict[int, Asked] = {}
    for prompt in prompts:
        for index, said in _each(prompt, taper):
            asked[index] = _joined(asked.get(index), said)
    return dict(sorted(asked.items()))


def _each(prompt: Prompt, taper: Taper) -> Iterable[tuple[int, Asked]]:
    match prompt:
        case Box():
            for rectangle in rectangles(prompt, taper):
                yield rectangle.slice, Asked(rectangle.slice, box=rectangle)
        case Click():
            index, row, column = prompt.index
            yield index, Asked(index, dots=(Dot(row, column, prompt.positive),))
        case Scribble():
            for index, line in _lines(prompt).items():
                yield index, Asked(index, dots=tuple(Dot(row, column, prompt.positive) for row, column in line))
        case MaskPrompt():
            for index in prompt.slices:
                if prompt.mask.voxels[index].any():
                    yield index, Asked(index, mask=prompt.mask.voxels[index])


def _lines(scribble: Scribble) -> Mapping[int, list[tuple[int, int]]]:
    """A scribble's voxels by slice, thinned to `CLICKS_A_SCRIBBLE` evenly spread ones on each."""
    lines: dict[int, list[tuple[int, int]]] = {}
    for index, row, column in scribble.indices:
        lines.setdefault(index, []).append((row, column))
    for index, line in lines.items():
        places = np.linspace(0, len(line) - 1, min(len(line), CLICKS_A_SCRIBBLE))
        lines[index] = [line[int(n)] for n in np.rint(places)]
    return lines


def _joined(known: Asked | None, said: Asked) -> Asked:
    if known is None:
        return said
    mask = said.mask if known.mask is None else known.mask if said.mask is None else known.mask | said.mask
    box = said.box if known.box is None else known.box
    if known.box is not None and said.box is not None:
        a, b = known.box, said.box
        box = Rectangle(a.slice, min(a.top, b.top), min(a.left, b.left), max(a.bottom, b.bottom), max(a.right, b.right))
    return replace(known, box=box, dots=(*known.dots, *said.dots), mask=mask)


def _inside(prompt: Click | Scribble, box: Box) -> bool:
    voxel = prompt.index if isinstance(prompt, Click) else prompt.indices[0]
    return all(a <= v < b for a, v, b in zip(box.start, voxel, box.stop, strict=True))
