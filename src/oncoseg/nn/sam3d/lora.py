"""Low-rank changes of the queries and values of a frozen transformer.

Hu et al., LoRA, 2021 (arXiv 2106.09685), without scaling, as M-SAM and SAMed use it on SAM's fused projection.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.nn.sam3d.attention import VolumeAttention
from oncoseg.nn.sam3d.encoder import VolumeEncoder


class LowRankQkv(nn.Module):
    """A fused projection to queries, keys and values, with B A x added to queries and values; B starts as zeros.

    Args:
        qkv: the projection, (..., width) -> (..., 3 width).
        rank: rows of A.
    """

    def __init__(self, qkv: nn.Linear, rank: int) -> None:
        super().__init__()
        width = qkv.in_features
        self.qkv = qkv
        self.linear_a_q = nn.Linear(width, rank, bias=False)
        self.linear_b_q = nn.Linear(rank, width, bias=False)
        self.linear_a_v = nn.Linear(width, rank, bias=False)
        self.linear_b_v = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.linear_b_q.weight)
        nn.init.zeros_(self.linear_b_v.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values, one behind the other."""
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        query = query + self.linear_b_q(self.linear_a_q(tokens))
        value = value + self.linear_b_v(self.linear_a_v(tokens))
        return torch.cat([query, key, value], dim=-1)


def add_low_rank(encoder: VolumeEncoder, rank: int) -> None:
    """Give every block of an encoder changes of a rank: 4 x width x rank parameters a block.

    Raises:
        ConfigError: for a rank below 1, or when the encoder has them already.
    """
    if rank < 1:
        raise ConfigError(f"Low-rank changes of rank {rank} cannot be: give at least 1.")
    for attention in encoder.modules():
        if not isinstance(attention, VolumeAttention):
            continue
        if not isinstance(attention.qkv, nn.Linear):
            raise ConfigError("This encoder has low-rank changes already.")
        attention.qkv = LowRankQkv(attention.qkv, rank)
