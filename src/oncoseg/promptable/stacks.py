"""Slices that see each other are embedded several at a time; prompts and masks stay those of single slices."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from oncoseg.inference.rectangles import Crop
from oncoseg.promptable.slices import MOST_EMBEDDINGS, PromptedSliceModel, SliceSession, region
from oncoseg.volume import Volume


def stack_of(index: int, slices: int, size: int) -> list[int]:
    """The slices that are embedded together with one: always the same stack of a volume, whatever is asked.

    Stacks follow each other from the first slice on; the last one ends with the volume.

    Args:
        index: of the slice.
        slices: of the volume.
        size: of a stack.

    Returns:
        `size` slices in order; a volume with fewer repeats its last one.

    Example:
        >>> stack_of(5, slices=7, size=4), stack_of(1, slices=3, size=4)
        ([3, 4, 5, 6], [0, 1, 2, 2])
    """
    first = max(0, min(index // size * size, slices - size))
    return [min(number, slices - 1) for number in range(first, first + size)]


class StackSession(SliceSession):
    """One image prompted step by step; slices are embedded with their whole stack.

    Args:
        model: whose network takes the slices of a stack one after the other in a batch.
        image: to be prompted.
        size: of a stack.
    """

    def __init__(self, model: PromptedSliceModel, image: Volume, size: int) -> None:
        super().__init__(model, image)
        self._size = size

    def _embed(self, wanted: Iterable[tuple[int, Crop]]) -> None:
        asked = list(dict.fromkeys(wanted))
        for index, crop in asked:
            if (index, crop) not in self._embeddings:
                stack = stack_of(index, self._axial.volume.shape[0], self._size)
                embedded = self._embedded([(number, crop) for number in stack])
                self._embeddings |= {(number, crop): one for number, one in zip(stack, embedded, strict=True)}
        kept = max(MOST_EMBEDDINGS, len(asked) * self._size)
        while len(self._embeddings) > kept:
            self._embeddings.popitem(last=False)


def shown_stack(model: PromptedSliceModel, grey: Volume, stack: list[int], crop: Crop) -> Tensor:
    """The same part of several slices of an axial volume of grey values as network inputs, (stack, 3, size, size)."""
    parts = (np.array(grey.voxels[region(number, crop)]) for number in stack)
    return torch.stack([model.frame.show(torch.from_numpy(part)) for part in parts])
