"""Attention inside windows of a volume of tokens, plain and shifted (Liu et al. 2021), as nnFormer has it.

Tokens are (batch, slices, rows, columns, width); a window is a cube of them. Names of the state dict are those of
the released nnFormer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Added to the logits of tokens that a shift brought together: their attention becomes 0 to float32.
APART = -100.0


class WindowAttention(nn.Module):
    """Multi-head attention between the tokens of one window, with a learned bias for their relative position.

    Args:
        width: of a token.
        heads: must divide the width.
        window: tokens along each side.
        asked: queries come ready from outside, and this layer makes keys and values only (nnFormer's skip attention).
    """

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int, *, asked: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 3, heads))
        self.register_buffer("relative_position_index", relative_positions(window))
        if asked:
            self.kv = nn.Linear(width, 2 * width)
        else:
            self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows: Tensor, *, queries: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Mix the tokens of every window.

        Args:
            windows: (batch x windows, tokens, width).
            queries: the same shape, where the layer was made to be `asked`.
            mask: (windows, tokens, tokens), added to the logits; None for none.

        Returns:
            The shape of `windows`.
        """
        if queries is None:
            query, key, value = self._split(self.qkv(windows), 3)
        else:
            (query,), (key, value) = self._split(queries, 1), self._split(self.kv(windows), 2)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        shape = query.shape
        if mask is not None:
            # Windows join the heads, so that one bias serves the whole batch.
            bias = (bias[None] + mask[:, None]).flatten(0, 1)
            query, key, value = (x.reshape(-1, len(bias), *shape[2:]) for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None].to(query.dtype))
        attended: Tensor = self.proj(mixed.reshape(shape).transpose(1, 2).flatten(2))
        return attended

    def _split(self, tokens: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(windows, tokens, parts x width) to `parts` tensors (windows, heads, tokens, width / heads)."""
        split: tuple[Tensor, ...] = tokens.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        return split


class Perceptron(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) -> the same shape."""
        result: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return result


class DropPath(nn.Module):
    """Leaves out a whole branch for some samples of a batch while training (Huang et al. 2016).

    Args:
        probability: of leaving it out; what is kept grows by 1 / (1 - probability).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """(batch, ...) -> the same shape."""
        if not self.training or not self.probability:
            return branch
        kept = 1 - self.probability
        drawn = branch.new_empty(len(branch), *[1] * (branch.ndim - 1)).bernoulli_(kept)
        return branch * drawn / kept


class WindowBlock(nn.Module):
    """Window attention and perceptron, each behind a layer norm and added to what came in.

    Args:
        width: of a token.
        heads: of the attention.
        grid: tokens along slices, rows and columns.
        window: tokens along each side of a window; a grid no larger than it is one window of its shortest side.
        shifted: windows begin half a window later and reach round the end, where a mask keeps ends apart.
        drop_path: probability of leaving a branch out while training.
        asked: the block is given queries and a skip connection apart, see `forward`.
    """

    mask: Tensor | None

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        grid: Sequence[int],
        window: int,
        shifted: bool = False,
        drop_path: float = 0.0,
        asked: bool = False,
    ) -> None:
        super().__init__()
        self.grid = tuple(grid)
        self.window = min(window, *grid)
        self.shift = window // 2 if shifted and min(grid) > window else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, self.window, asked=asked)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width, 4 * width)
        mask = shift_mask(self.grid, self.window, self.shift) if self.shift else None
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor, skip: Tensor | None = None) -> Tensor:
        """Mix tokens.

        Args:
            tokens: (batch, *grid, width).
            skip: the same shape, for a block made to be `asked`: keys and values come from it, queries from
                `tokens`, and their sum is what the attention is added to.

        Returns:
            The shape of `tokens`.
        """
        base = tokens if skip is None else tokens + skip
        normed = self._windows(self.norm1(tokens))
        if skip is None:
            mixed = self.attn(normed, mask=self.mask)
        else:
            mixed = self.attn(self._windows(self.norm1(skip)), queries=normed, mask=self.mask)
        tokens = base + self.drop_path(self._tokens(mixed))
        result: Tensor = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return result

    def _windows(self, tokens: Tensor) -> Tensor:
        missing = [-size % self.window for size in self.grid]
        # As released: tokens that fill up the last windows are zeros and take part in the attention.
        tokens = F.pad(tokens, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0])) if any(missing) else tokens
        tokens = tokens.roll([-self.shift] * 3, (1, 2, 3)) if self.shift else tokens
        return split_windows(tokens, self.window)

    def _tokens(self, windows: Tensor) -> Tensor:
        slices, rows, columns = self.grid
        tokens = join_windows(windows, self.window, [size + -size % self.window for size in self.grid])
        tokens = tokens.roll([self.shift] * 3, (1, 2, 3)) if self.shift else tokens
        return tokens[:, :slices, :rows, :columns]


def split_windows(tokens: Tensor, window: int) -> Tensor:
    """(batch, slices, rows, columns, width), multiples of the window, to (batch x windows, window^3, width)."""
    parts: Tensor = tokens.unflatten(3, (-1, window)).unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return parts.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(0, 3)


def join_windows(windows: Tensor, window: int, grid: Sequence[int]) -> Tensor:
    """What `split_windows` took apart, at the size of the grid."""
    counts = [size // window for size in grid]
    parts = windows.reshape(-1, *counts, window, window, window, windows.shape[-1])
    return parts.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, *grid, windows.shape[-1])


def relative_positions(window: int) -> Tensor:
    """Row of the bias table for every pair of tokens of a window, (window^3, window^3).

    As released: steps along slices and rows are 3 w - 1 and 2 w - 1 apart, not (2 w - 1)^2 and 2 w - 1, so that
    different relative positions share a row and most rows of the table are never read.
    """
    places = torch.tensor(list(itertools.product(range(window), repeat=3)))
    steps = places[:, None] - places[None] + window - 1
    return steps[..., 0] * (3 * window - 1) + steps[..., 1] * (2 * window - 1) + steps[..., 2]


def shift_mask(grid: Sequence[int], window: int, shift: int) -> Tensor:
    """(windows, window^3, window^3): 0 for tokens of one neighbourhood, `APART` for those a shift brought together."""
    axes = []
    for size in grid:
        place = torch.arange(size + -size % window)
        axes.append((place >= len(place) - window).int() + (place >= len(place) - shift).int())
    regions = axes[0][:, None, None] * 9 + axes[1][:, None] * 3 + axes[2]
    windows = split_windows(regions[None, ..., None], window)[..., 0]
    return (windows[:, :, None] != windows[:, None]).float() * APART
