"""Swin transformer for slices: attention in windows that shift from block to block (Liu et al. 2021, arXiv 2103.14030).

Names of the state dict are the official ones. Features are (batch, rows, columns, width) throughout.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Added to the score of two pixels that the shift brought into one window from different places.
APART = -100.0


class PatchEmbedding(nn.Module):
    """Squares of pixels to features, with layer norm."""

    def __init__(self, channels: int, width: int, size: int = 4) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, size, size)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, rows / size, columns / size, width)."""
        features: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return features


class SwinBlock(nn.Module):
    """Attention in windows and a multilayer perceptron, each behind a layer norm and added to what came in.

    Args:
        width: of the features.
        heads: of the attention; must divide the width.
        side: rows and columns of the features, a multiple of the window unless smaller.
        window: rows and columns of a window; features no larger than it are one window without shift.
        shifted: by half a window.
        mlp_ratio: inner width of the perceptron in widths.
        drop_path: probability of leaving out what a branch adds, while training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        side: int,
        window: int = 7,
        shifted: bool = False,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.window = min(window, side)
        self.shift = window // 2 if shifted and side > window else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, self.window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width, int(width * mlp_ratio))
        self.drop_path = StochasticDepth(drop_path)
        self.register_buffer("attn_mask", shift_mask(side, self.window, self.shift) if self.shift else None)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, side, side, width) to the same shape."""
        features = features + self.drop_path(self._attended(self.norm1(features)))
        result: Tensor = features + self.drop_path(self.mlp(self.norm2(features)))
        return result

    def _attended(self, features: Tensor) -> Tensor:
        side, window, shift = features.shape[1], self.window, self.shift
        if shift:
            features = features.roll((-shift, -shift), (1, 2))
        attended = joined(self.attn(windows(features, window), self.attn_mask), window, side)
        return attended.roll((shift, shift), (1, 2)) if shift else attended


class WindowAttention(nn.Module):
    """Multi-head attention between the pixels of a window, with one learnt bias per head and relative position."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        table = torch.empty((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within windows.

        Args:
            tokens: (batch x windows, pixels, width), the windows of a sample one after the other.
            mask: (windows, pixels, pixels), added to the scores.

        Returns:
            The same shape as `tokens`.
        """
        count, pixels, width = tokens.shape
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = bias + mask[:, None]
        # The windows of one sample go in as heads, so that bias and mask need not be repeated for the batch.
        together = bias.shape[0]
        query, key, value = (
            part.unflatten(0, (-1, together)).transpose(2, 3).flatten(1, 2)
            for part in self.qkv(tokens).view(count, pixels, 3, self.heads, -1).unbind(2)
        )
        bias = bias.flatten(0, 1)[None].to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.unflatten(1, (together, self.heads)).transpose(2, 3)
        attended: Tensor = self.proj(mixed.reshape(count, pixels, width))
        return attended


class Perceptron(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, features: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        changed: Tensor = self.fc2(F.gelu(self.fc1(features)))
        return changed


class PatchMerging(nn.Module):
    """Halves rows and columns, doubles the width: four neighbours side by side, layer norm, linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, rows, columns, width), even, to (batch, rows / 2, columns / 2, 2 width)."""
        # Official order: down the rows first.
        corners = [features[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(corners, dim=-1)))
        return merged


class StochasticDepth(nn.Module):
    """Leaves out a branch for whole samples while training, and enlarges it for the others (Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """The same shape; unchanged when not training."""
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        drawn = torch.rand(branch.shape[0], *[1] * (branch.ndim - 1), device=branch.device) < keep
        left: Tensor = branch * (drawn.to(branch.dtype) / keep)
        return left


def windows(features: Tensor, window: int) -> Tensor:
    """(batch, rows, columns, width) to (batch x windows, window x window, width), row by row."""
    cut: Tensor = features.unflatten(2, (-1, window)).unflatten(1, (-1, window)).transpose(2, 3)
    return cut.reshape(-1, window * window, features.shape[-1])


def joined(tokens: Tensor, window: int, side: int) -> Tensor:
    """What `windows` cut, together again: (batch, side, side, width)."""
    count = side // window
    grid = tokens.view(-1, count, count, window, window, tokens.shape[-1]).transpose(2, 3)
    return grid.reshape(-1, side, side, tokens.shape[-1])


def relative_positions(window: int) -> Tensor:
    """Row of the bias table for two pixels of a window, (pixels, pixels): (dy + w - 1) (2 w - 1) + dx + w - 1."""
    position = torch.arange(window)
    apart = position[:, None] - position[None, :] + window - 1
    index = apart[:, None, :, None] * (2 * window - 1) + apart[None, :, None, :]
    return index.reshape(window * window, window * window)


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """Scores (windows, pixels, pixels) added after a shift: 0 for pixels of one region, `APART` else.

    Rolling joins the first rows and columns of an image to its last; they must not see each other.
    """
    position = torch.arange(side)
    region = (position >= side - window).long() + (position >= side - shift).long()
    numbers = (3 * region[:, None] + region[None, :])[None, :, :, None]
    cut = windows(numbers, window).squeeze(-1)
    return torch.where(cut[:, None] == cut[:, :, None], 0.0, APART)
