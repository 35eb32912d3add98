"""The Vision-LSTM block: a matrix LSTM over a sequence of tokens (Alkin et al. 2024, arXiv 2406.04303).

Beck et al. 2024 (arXiv 2405.04517) write the matrix LSTM as a recurrence, token by token, and prove that the
stabilised parallel form computed here is equal to it. Parameters have the names of the released block.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oncoseg.errors import ConfigError

#: Added to the normaliser in the released code.
EPSILON = 1e-6
#: Tokens whose weights on all earlier tokens are held at once.
ROWS = 512


class ViLBlock(nn.Module):
    """x + layer(norm(x)) on (batch, tokens, width), in float32 whatever the autocast.

    Args:
        width: of a token.

    Raises:
        ConfigError: for an odd width.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = OffsetNorm(width)
        self.layer = ViLLayer(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same shape; a token sees itself and those before it. Half becomes float32."""
        # Tensors without memory, of which operations are counted, have no autocast of their own.
        with torch.autocast("cpu" if tokens.is_meta else tokens.device.type, enabled=False):
            tokens = tokens if tokens.dtype == torch.float64 else tokens.float()
            mixed: Tensor = tokens + self.layer(self.norm(tokens))
            return mixed


class ViLLayer(nn.Module):
    """Widen, mix along the sequence, gate, narrow (Alkin et al. 2024, figure 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The released code falls back to blocks and heads of 2 for widths that 4 does not divide.
        size = 4 if width % 4 == 0 else 2
        if width % size:
            raise ConfigError(f"A Vision-LSTM block needs an even width; got {width}. Choose features or patch anew.")
        inner = 2 * width
        self.proj_up = nn.Linear(width, 2 * inner, bias=False)
        self.q_proj, self.k_proj, self.v_proj = (BlockDiagonal(inner, size, width) for _ in range(3))
        self.conv1d = CausalConvolution(inner)
        self.mlstm_cell = MatrixLSTM(inner, heads=size)
        self.learnable_skip = nn.Parameter(torch.ones(inner))
        self.proj_down = nn.Linear(inner, width, bias=False)
        nn.init.normal_(self.proj_up.weight, std=math.sqrt(2 / (5 * width)))
        nn.init.normal_(self.proj_down.weight, std=2 / math.sqrt(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same shape."""
        inner, gate = self.proj_up(tokens).chunk(2, dim=-1)
        near = F.silu(self.conv1d(inner))
        mixed = self.mlstm_cell(self.q_proj(near), self.k_proj(near), self.v_proj(inner))
        narrow: Tensor = self.proj_down((mixed + self.learnable_skip * near) * F.silu(gate))
        return narrow


class MatrixLSTM(nn.Module):
    """Gates from query, key and value; one matrix memory a head; layer norm of each head."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.igate = nn.Linear(3 * width, heads)
        self.fgate = nn.Linear(3 * width, heads)
        self.outnorm = OffsetNorm(width, groups=heads)
        nn.init.zeros_(self.igate.weight)
        nn.init.normal_(self.igate.bias, std=0.1)
        nn.init.zeros_(self.fgate.weight)
        with torch.no_grad():
            self.fgate.bias.copy_(torch.linspace(3.0, 6.0, heads))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Three times (batch, tokens, width) -> (batch, tokens, width)."""
        together = torch.cat([query, key, value], dim=-1)
        gates = {"input_gate": self.igate(together).mT, "forget_gate": self.fgate(together).mT}
        heads = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        mixed = matrix_lstm(*heads, **gates)
        normed: Tensor = self.outnorm(mixed.transpose(1, 2).flatten(2))
        return normed


class BlockDiagonal(nn.Module):
    """A linear map that mixes `size` neighbouring channels, without bias; started for tokens of `width`."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels // size, size, size))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (5 * width)))

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., channels) -> the same shape."""
        blocks, size, _ = self.weight.shape
        return torch.einsum("...bi,boi->...bo", tokens.unflatten(-1, (blocks, size)), self.weight).flatten(-2)


class CausalConvolution(nn.Module):
    """Depthwise convolution of a token with the three before it; in front of the first lie zeros."""

    def __init__(self, channels: int, size: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, size, padding=size - 1, groups=channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, channels) -> the same shape."""
        convolved: Tensor = self.conv(tokens.transpose(1, 2))[..., : tokens.shape[1]]
        return convolved.transpose(1, 2)


class OffsetNorm(nn.Module):
    """Layer norm without bias whose weight is stored as its difference from 1.

    Args:
        width: of a token.
        groups: of neighbouring channels, each with its own mean and deviation.
    """

    def __init__(self, width: int, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) -> the same shape."""
        grouped = tokens.unflatten(-1, (self.groups, -1))
        return F.layer_norm(grouped, grouped.shape[-1:], eps=1e-5).flatten(-2) * (1 + self.weight)


def matrix_lstm(
    query: Tensor, key: Tensor, value: Tensor, *, input_gate: Tensor, forget_gate: Tensor, rows: int = ROWS
) -> Tensor:
    """The matrix LSTM in its parallel, stabilised form (Beck et al. 2024, section 2.3 and appendix).

    With log D[t, s] = i[s] + sum of log sigmoid(f[r]) over r = s + 1 ... t for s <= t, m[t] its row maximum and
    C = (q k^T / sqrt(width)) * exp(log D - m):
    h[t] = (sum over s of C[t, s] v[s]) / (max(|sum of C[t]|, exp(-m[t])) + 1e-6).

    Args:
        query: q, (batch, heads, tokens, width).
        key: k, of the same shape.
        value: v, of the same shape.
        input_gate: i before its exponential, (batch, heads, tokens).
        forget_gate: f before its sigmoid, of the same shape.
        rows: tokens computed at once; sequences longer than this are computed again in the backward pass, so
            that memory grows with `rows` x tokens and not with tokens squared.

    Returns:
        h, (batch, heads, tokens, width).
    """
    tokens = query.shape[2]
    kept = F.logsigmoid(forget_gate).cumsum(-1)
    source = input_gate - kept
    # m divides numerator and denominator alike, so that no gradient needs to flow through it.
    highest = (kept + source.cummax(-1).values).detach()
    key = key / math.sqrt(key.shape[-1])
    found = []
    for first in range(0, tokens, rows):
        stop = min(first + rows, tokens)
        part = slice(first, stop)
        given = (query[:, :, part], key[:, :, :stop], value[:, :, :stop])
        compute = partial(_rows, kept=kept[..., part], source=source[..., :stop], highest=highest[..., part])
        if tokens > rows and torch.is_grad_enabled():
            found.append(checkpoint(compute, *given, use_reentrant=False, preserve_rng_state=False))
        else:
            found.append(compute(*given))
    return torch.cat(found, dim=2)


def _rows(query: Tensor, key: Tensor, value: Tensor, *, kept: Tensor, source: Tensor, highest: Tensor) -> Tensor:
    """What the last tokens of a sequence become: `query`, `kept` and `highest` are theirs, the others of all tokens."""
    decay = (kept - highest)[..., :, None] + source[..., None, :]
    later = torch.ones(decay.shape[-2:], dtype=torch.bool, device=decay.device).triu(1 + key.shape[2] - query.shape[2])
    weights = (query @ key.transpose(-2, -1)) * decay.masked_fill(later, -math.inf).exp()
    normaliser = torch.maximum(weights.sum(-1, keepdim=True).abs(), torch.exp(-highest)[..., None])
    return (weights @ value) / (normaliser + EPSILON)
