"""How a part of a slice becomes a SAM-type network's square input, and how its masks come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Mean and deviation of natural images, of 0 to 1, as SAM was trained.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: `corner`: the longest side fills the frame, zeros below or to the right; `squash`: both sides fill it;
#: `centre`: a part smaller than the frame lies in its middle with zeros round it, a larger one is squashed.
Fit = Literal["corner", "squash", "centre"]


class Placement(NamedTuple):
    """Where a part of a slice lies in the frame, in pixels of the frame: first row and column, rows and columns."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Frame:
    """The network's view.

    Attributes:
        size: rows and columns of its input.
        fit: see `Fit`.
        interpolation: of the grey values; masks take the nearest pixel.
        antialias: smooth before shrinking.
        whole: round grey values to 0 ... 255 first, as 8-bit pictures are.
        stretch: minimum and maximum of the part become 0 and 1 after resizing.
        colours: subtract and divide by `MEAN` and `DEVIATION`; padding stays 0.
    """

    size: int
    fit: Fit = "corner"
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    antialias: bool = False
    whole: bool = False
    stretch: bool = False
    colours: bool = False

    def placement(self, shape: Sequence[int]) -> Placement:
        """Where a part of (rows, columns) lies."""
        rows, columns = shape
        if self.fit == "squash" or (self.fit == "centre" and max(rows, columns) > self.size):
            return Placement(0, 0, self.size, self.size)
        if self.fit == "centre":
            return Placement((self.size - rows) // 2, (self.size - columns) // 2, rows, columns)
        longest = max(rows, columns)
        scaled = [max(1, round(n * self.size / longest)) for n in (rows, columns)]
        return Placement(0, 0, *scaled)

    def show(self, grey: Tensor) -> Tensor:
        """Grey values (rows, columns) in [0, 1] as the network's input (3, size, size)."""
        place = self.placement(grey.shape)
        if self.whole:
            grey = (grey * 255).floor() / 255
        seen = self._resized(grey[None, None], place)
        if self.stretch:
            low, high = float(seen.min()), float(seen.max())
            # Resizing leaves rounding errors on an even part; one HU is never as small.
            seen = (seen - low) / (high - low) if high - low > 1e-5 else torch.zeros_like(seen)
        seen = seen.expand(1, 3, -1, -1)
        if self.colours:
            mean, deviation = (seen.new_tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
            seen = (seen - mean) / deviation
        return self._padded(seen, place)[0]

    def show_mask(self, mask: Tensor) -> Tensor:
        """A mask (rows, columns) in the frame: uint8 (size, size), nearest pixels."""
        place = self.placement(mask.shape)
        small = F.interpolate(mask[None, None].float(), size=place[2:], mode="nearest-exact")
        return self._padded(small, place)[0, 0].to(torch.uint8)

    def corners(self, shape: Sequence[int], rectangle: Sequence[float]) -> list[float]:
        """A half-open rectangle (top, left, bottom, right) of the part as (column, row, column, row) in the frame.

        The networks were trained on boxes from the first to the last pixel inside, counted in the frame, so the
        half-open ends move back by one of its pixels.
        """
        (top, left, bottom, right), place = rectangle, self.placement(shape)
        down, across = place.rows / shape[0], place.columns / shape[1]
        first = [place.left + across * left, place.top + down * top]
        return [*first, place.left + across * right - 1, place.top + down * bottom - 1]

    def point(self, shape: Sequence[int], pixel: Sequence[float]) -> list[float]:
        """The centre of a pixel (row, column) of the part as (column, row) in the frame."""
        (row, column), place = pixel, self.placement(shape)
        down, across = place.rows / shape[0], place.columns / shape[1]
        return [place.left + across * (column + 0.5) - 0.5, place.top + down * (row + 0.5) - 0.5]

    def back(self, logits: Tensor, shape: Sequence[int]) -> Tensor:
        """Logits (n, n) of the frame as probabilities (rows, columns) of the part."""
        rows, columns = shape
        place = self.placement(shape)
        whole = logits[None, None]
        if len(logits) != self.size:
            whole = F.interpolate(whole, size=(self.size, self.size), mode="bilinear")
        used = whole[..., place.top : place.top + place.rows, place.left : place.left + place.columns]
        return F.interpolate(used, size=(rows, columns), mode="bilinear")[0, 0].sigmoid()

    def _resized(self, grey: Tensor, place: Placement) -> Tensor:
        if tuple(grey.shape[2:]) == place[2:]:
            return grey
        if self.interpolation == "nearest":
            return F.interpolate(grey, size=place[2:], mode="nearest")
        resized = F.interpolate(grey, size=place[2:], mode=self.interpolation, antialias=self.antialias)
        return resized.clamp(0, 1) if self.interpolation == "bicubic" else resized

    def _padded(self, x: Tensor, place: Placement) -> Tensor:
        below, right = self.size - place.top - place.rows, self.size - place.left - place.columns
        return F.pad(x, (place.left, right, place.top, below))
