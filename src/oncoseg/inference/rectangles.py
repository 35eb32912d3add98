"""Boxes as rectangles on slices, and the part of a slice that a 2D model looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from oncoseg.prompt import Box

#: How a box of several slices becomes rectangles: the same one on each slice, or the cross-sections
#: of the ellipsoid inscribed in it.
Taper = Literal["none", "ellipsoid"]


class Rectangle(NamedTuple):
    """A half-open rectangle on one slice, in voxels; the edges of a tapered one lie between voxels."""

    slice: int
    top: float
    left: float
    bottom: float
    right: float

    @property
    def longest(self) -> float:
        """Its longer side in voxels."""
        return max(self.bottom - self.top, self.right - self.left)


class Crop(NamedTuple):
    """A half-open part of a slice in whole voxels."""

    top: int
    left: int
    bottom: int
    right: int


def rectangles(box: Box, taper: Taper = "none") -> Iterator[Rectangle]:
    """The rectangle that prompts each slice of a box."""
    (first, top, left), (last, bottom, right) = box.start, box.stop
    for index in box.slices:
        offset = (index + 0.5 - first) / ((last - first) / 2) - 1
        scale = (1 - offset**2) ** 0.5 if taper == "ellipsoid" else 1.0
        half_height, half_width = scale * (bottom - top) / 2, scale * (right - left) / 2
        row, column = (top + bottom) / 2, (left + right) / 2
        yield Rectangle(index, row - half_height, column - half_width, row + half_height, column + half_width)


def crop_round(rectangle: Rectangle, rows: int, columns: int, side: int) -> Crop:
    """A square of `side` voxels round a rectangle, moved to lie inside the slice.

    Where the slice is smaller than the square, the slice ends it.
    """
    height, width = min(side, rows), min(side, columns)
    top = round((rectangle.top + rectangle.bottom - height) / 2)
    left = round((rectangle.left + rectangle.right - width) / 2)
    top, left = min(max(top, 0), rows - height), min(max(left, 0), columns - width)
    return Crop(top, left, top + height, left + width)
