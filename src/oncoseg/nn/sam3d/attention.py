"""Attention over the tokens of a cube, with decomposed relative positions as SAM-Med3D's weights know them.

Wang et al., SAM-Med3D, 2023 (arXiv 2310.15161). For queries r (not scaled) and tables Rd, Rh, Rw the code of ViTDet,
brought to three axes, means to add

    D(q; kd) + H(q; kh) + W(q; kw),  D(d, h, w; k) = r . Rd[d, k],  H = r . Rh[h, k],  W = r . Rw[w, k]

to the logit of query q = (qd, qh, qw) and key k = (kd, kh, kw). The released code leaves out an axis where it adds them
and in fact computes

    D(qd, qh, qw; kw) + H(qd, qh, kd; kw) + W(qd, qh, kh; kw).

The released weights were learned with this, so it is what `official` means; `intended` is the first formula.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from oncoseg.errors import ConfigError, InputError

#: Which of the two formulas above relative positions follow.
Positions = Literal["official", "intended"]


class Bias(NamedTuple):
    """What relative positions add to the logits of a cube's n^3 queries.

    Attributes:
        inside: (batch, n^3, n^3), for keys of the cube.
        padding: (batch, n^3), log of the summed exponentials for the keys of the window outside the cube; None when
            the cube fills the window.
    """

    inside: Tensor
    padding: Tensor | None


class VolumeAttention(nn.Module):
    """Attention of all tokens of a window with each other.

    SAM-Med3D cuts its 8^3 tokens into windows of 14^3, so that there is one window and four fifths of it are zeros,
    which take part in the attention and are cut off afterwards. They are not computed here: padded keys differ by
    nothing but their relative position and share one value, so they stand as a single key whose logit is that of the
    padding plus the log of the summed exponentials of their positions. But for rounding this is the same, with about
    thirty times less attention.

    Shape: (batch, n, n, n, width) to the same, n at most `side`; a smaller cube is the first corner of a window
    of zeros.

    Args:
        width: of a token, a multiple of `heads`.
        heads: of the attention.
        side: of the window in tokens.
        positions: formula of the relative positions.

    Raises:
        ConfigError: when the width is not a multiple of `heads`, or `positions` is none of the two.
    """

    def __init__(self, width: int, heads: int, *, side: int, positions: Positions = "official") -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"Tokens of width {width} cannot be shared among {heads} heads: give a multiple.")
        if positions not in get_args(Positions):
            raise ConfigError(f"positions {positions!r} is none of {', '.join(get_args(Positions))}.")
        self.heads, self.side, self.positions = heads, side, positions
        self.qkv: nn.Module = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, tokens: Tensor) -> Tensor:
        """Attended tokens.

        Raises:
            InputError: when the tokens are no cube, or one larger than the window.
        """
        n = tokens.shape[1]
        if tokens.shape[1:4] != (n, n, n) or n > self.side:
            raise InputError(
                f"Tokens of shape {tuple(tokens.shape[1:4])} are no cube of at most {self.side}; relative positions "
                "of SAM-Med3D are defined for cubes alone."
            )
        sequence = tokens.flatten(1, 3)
        if n < self.side:  # one token of the padding, behind the others
            sequence = F.pad(sequence, (0, 0, 0, 1))
        query, key, value = rearrange(self.qkv(sequence), "b n (three h c) -> three b h n c", three=3, h=self.heads)
        bias = self._bias(query.flatten(0, 1), n)
        mask = bias.inside.to(query.dtype)
        if bias.padding is not None:
            mask = torch.cat([mask, bias.padding[..., None].to(query.dtype)], dim=-1)
            query = query[:, :, :-1]
        mask = mask.unflatten(0, (-1, self.heads))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        projected: Tensor = self.proj(rearrange(attended, "b h (i j k) c -> b i j k (h c)", i=n, j=n))
        return projected

    def _bias(self, query: Tensor, n: int) -> Bias:
        """Of queries (batch * heads, n^3, or n^3 and one of the padding, channels)."""
        place = torch.arange(self.side, device=query.device)
        index = place[:, None] - place + self.side - 1
        tables = [table[index].to(query.dtype) for table in (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w)]
        cube = query[:, : n**3].unflatten(1, (n, n, n))
        if self.positions == "intended":
            return _intended(cube, tables)
        row = cube
        if n < self.side:
            padding = query[:, -1][:, None, None, None].expand(-1, n, n, self.side - n, -1)
            row = torch.cat([cube, padding], dim=3)
        return _official(cube, row, tables)


def _official(cube: Tensor, row: Tensor, tables: list[Tensor]) -> Bias:
    """From queries (batch, n, n, n, c), and the same (batch, n, n, side, c) with padding along the last axis."""
    n, side = cube.shape[3], row.shape[3]
    deep, high, wide = tables
    d = torch.einsum("bdhwc,dkc->bdhwk", cube, deep[:n])
    h = torch.einsum("bdhxc,hkc->bdhxk", row, high[:n])
    w = torch.einsum("bdhxc,xkc->bdhxk", row, wide)
    inside = (d[:, :, :, :, None, None, :n] + h[:, :, :, None, :n, None, :n] + w[:, :, :, None, None, :n, :n]).reshape(
        len(cube), n**3, n**3
    )
    if n == side:
        return Bias(inside, None)
    # The outside falls into three boxes; within each one, and for one kw, the sum over keys is a product of sums.
    d, h, w = (_precise(x) for x in (d, h, w))
    h_inside, h_padding = h[..., :n, :].logsumexp(-2), h[..., n:, :].logsumexp(-2)
    w_inside, w_padding = w[..., :n, :].logsumexp(-2), w[..., n:, :].logsumexp(-2)
    w_any = torch.logaddexp(w_inside, w_padding)
    beside = torch.logaddexp(h_padding + w_any, h_inside + w_padding)[..., :n]
    behind = (torch.logaddexp(h_inside, h_padding) + w_any)[..., n:]
    padding = (d + torch.cat([beside, behind], dim=-1)[:, :, :, None]).logsumexp(-1)
    return Bias(inside, padding.flatten(1))


def _intended(cube: Tensor, tables: list[Tensor]) -> Bias:
    """From queries (batch, n, n, n, c)."""
    n, side = cube.shape[3], tables[0].shape[1]
    d = torch.einsum("bdhwc,dkc->bdhwk", cube, tables[0][:n])
    h = torch.einsum("bdhwc,hkc->bdhwk", cube, tables[1][:n])
    w = torch.einsum("bdhwc,wkc->bdhwk", cube, tables[2][:n])
    inside = (d[..., :n, None, None] + h[..., None, :n, None] + w[..., None, None, :n]).reshape(len(cube), n**3, n**3)
    if n == side:
        return Bias(inside, None)
    d, h, w = (_precise(x) for x in (d, h, w))
    d_inside, h_inside = d[..., :n].logsumexp(-1), h[..., :n].logsumexp(-1)
    h_any, w_any = h.logsumexp(-1), w.logsumexp(-1)
    boxes = (
        d[..., n:].logsumexp(-1) + h_any + w_any,
        d_inside + h[..., n:].logsumexp(-1) + w_any,
        d_inside + h_inside + w[..., n:].logsumexp(-1),
    )
    return Bias(inside, torch.stack(boxes).logsumexp(0).flatten(1))


def _precise(x: Tensor) -> Tensor:
    """At least single precision: a sum over thousands of keys is too much for half of it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
