"""Medical SAM 2's memory, as the released 2D code sorts it and as the paper says (Zhu et al. 2024, arXiv 2408.00874).

Both forget time: memories have no place in it, and no object pointers are recalled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.nn.sam2.memory import Memory, Query, Recalled

#: How memories are chosen by their weights: drawn with replacement, or the heaviest.
Draw = Literal["sample", "heaviest"]


class SelfSortCode:
    """The bank of the released 2D code (func_2d/function.py of ImprintLab/Medical-SAM2).

    Until it is full it takes everything. Then a new memory replaces the one that resembles its least similar memory
    most, if that is more alike to it than the new one, and not expected to be better by 0.1 or more. A frame recalls
    memories drawn with replacement, with the softmax over the cosine between embeddings for probabilities.

    Args:
        size: most memories.
        draws: memories a frame recalls; as many as a batch has images in the released code.
        draw: how.
        seed: of the draws.
    """

    always_asked = True
    compares = True
    sees_conditioned = True

    def __init__(self, size: int = 16, draws: int = 4, *, draw: Draw = "sample", seed: int = 0) -> None:
        self._size, self._draws, self._draw = size, draws, draw
        self._generator = torch.Generator().manual_seed(seed)
        self.held: list[Memory] = []

    def update(self, entry: Memory) -> None:
        """Take it, put it in the place of another, or leave it."""
        entry = replace(entry, features=entry.features.detach())
        if len(self.held) < self._size:
            self.held.append(entry)
            return
        held = _unit([memory.features for memory in self.held])
        alike = (held @ held.T).fill_diagonal_(-torch.inf)
        new = held @ _unit([entry.features])[0]
        least = int(new.argmin())
        most = int(alike[least].argmax())
        if new[least] < alike[least, most] and entry.quality > self.held[most].quality - 0.1:
            del self.held[most]
            self.held.append(entry)

    def read(self, query: Query) -> Recalled | None:
        """Memories drawn for a frame; None while there are none."""
        if not self.held:
            return None
        weights = torch.softmax(_cosines(self.held, query), dim=0)
        chosen = _chosen(weights, self._draws, self._draw, self._generator)
        return Recalled([(self.held[n], None) for n in chosen], [])

    def clear(self) -> None:
        """Forget everything; draws go on."""
        self.held.clear()


class SelfSortPaper:
    """The bank of the paper: the memories that differ most from one another.

    A frame whose mask is expected to be good enough joins; those with the largest sum of dissimilarities (1 - cosine
    of embeddings) to all others stay. A frame recalls as many as there are, drawn with replacement, with cosines to its
    own embedding for weights.

    Args:
        size: most memories; not given by the paper.
        threshold: the IoU that must be expected of a mask; not given by the paper.
        draw: how memories are chosen.
        seed: of the draws.
    """

    always_asked = False
    compares = True
    sees_conditioned = False

    def __init__(self, size: int = 16, threshold: float = 0.5, *, draw: Draw = "sample", seed: int = 0) -> None:
        self._size, self._threshold, self._draw = size, threshold, draw
        self._generator = torch.Generator().manual_seed(seed)
        self.held: list[Memory] = []

    def update(self, entry: Memory) -> None:
        """Take it where its mask is expected to be good enough (the first one always), and drop the most alike."""
        if self.held and entry.quality <= self._threshold:
            return
        self.held.append(replace(entry, features=entry.features.detach()))
        if len(self.held) > self._size:
            held = _unit([memory.embedding for memory in self.held])
            unlike = (1 - held @ held.T).fill_diagonal_(0).sum(dim=1)
            # Among equals the older one stays.
            kept = sorted(torch.sort(unlike, descending=True, stable=True).indices[: self._size].tolist())
            self.held = [self.held[n] for n in kept]

    def read(self, query: Query) -> Recalled | None:
        """Memories drawn for a frame, as many as there are; None while there are none."""
        if not self.held:
            return None
        # A weight cannot be negative; all zero would leave nothing to draw.
        weights = _cosines(self.held, query).clamp(min=1e-6)
        chosen = _chosen(weights, len(self.held), self._draw, self._generator)
        return Recalled([(self.held[n], None) for n in chosen], [])

    def clear(self) -> None:
        """Forget everything; draws go on."""
        self.held.clear()


def _chosen(weights: Tensor, draws: int, draw: Draw, generator: torch.Generator) -> list[int]:
    if draw == "heaviest":
        return [int(n) for n in weights.argsort(descending=True, stable=True)[:draws]]
    drawn = torch.multinomial(weights.double().cpu(), draws, replacement=True, generator=generator)
    return [int(n) for n in drawn]


def _cosines(held: Sequence[Memory], query: Query) -> Tensor:
    return _unit([memory.embedding for memory in held]) @ _unit([query.embedding])[0]


def _unit(vectors: Sequence[Tensor]) -> Tensor:
    """Vectors as rows of length 1, float32."""
    return F.normalize(torch.stack([vector.reshape(-1) for vector in vectors]).float(), dim=1)
