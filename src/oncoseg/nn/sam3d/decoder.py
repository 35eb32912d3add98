"""SAM-Med3D's mask decoder: SAM's two-way transformer between prompts and the places of a volume.

Wang et al., SAM-Med3D, 2023 (arXiv 2310.15161); Kirillov et al., Segment Anything, 2023 (arXiv 2304.02643), appendix A.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.nn.sam3d.layers import Perceptron, VolumeNorm

#: One mask for a clear prompt and three for an ambiguous one.
MASKS = 4
HEADS = 8


class Exchange(NamedTuple):
    """Two sequences that attend to each other: `tokens` (batch, t, width) and `places` (batch, n, width)."""

    tokens: Tensor
    places: Tensor


class MaskDecoder(nn.Module):
    """From an embedding and prompts to masks and how good they are expected to be.

    Args:
        width: of tokens and places, a multiple of 16.
        hidden: of the perceptrons of the transformer.

    Raises:
        ConfigError: for another width.
    """

    def __init__(self, width: int, *, hidden: int = 2048) -> None:
        super().__init__()
        if width % (2 * HEADS):
            raise ConfigError(
                f"A mask decoder of width {width} cannot be: the width must be a multiple of {2 * HEADS}."
            )
        self.transformer = TwoWayTransformer(width, hidden=hidden)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width // 4, 2, stride=2),
            VolumeNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose3d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Head(width, width, width // 8) for _ in range(MASKS))
        self.iou_prediction_head = Head(width, 256, MASKS)

    def forward(self, source: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, 4, 4 n, 4 n, 4 n) and expected IoU (batch, 4).

        Args:
            source: (batch, width, n, n, n), the embedding with the mask prompt in it.
            positions: (1, width, n, n, n), code of its places.
            tokens: (batch, t, width), of the clicks; t may be 0.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(source), -1, -1)
        asked = torch.cat([own, tokens], dim=1)
        answered, places = self.transformer(source.flatten(2).mT, positions.flatten(2).mT, asked)
        features = self.output_upscaling(places.mT.unflatten(2, source.shape[2:]))
        weights = torch.stack([head(answered[:, 1 + i]) for i, head in enumerate(self.output_hypernetworks_mlps)], 1)
        return torch.einsum("bmc,bcijk->bmijk", weights, features), self.iou_prediction_head(answered[:, 0])


class TwoWayTransformer(nn.Module):
    """Two blocks of exchange between tokens and places, then a last look of the tokens at the places."""

    def __init__(self, width: int, *, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, hidden=hidden, first=index == 0) for index in range(2))
        self.final_attn_token_to_image = Attention(width, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, places: Tensor, positions: Tensor, tokens: Tensor) -> Exchange:
        """Both sequences after the exchange; codes of tokens are the tokens as they came."""
        state = Exchange(tokens, places)
        for layer in self.layers:
            state = layer(state, tokens, positions)
        looked = self.final_attn_token_to_image(state.tokens + tokens, state.places + positions, state.places)
        return Exchange(self.norm_final_attn(state.tokens + looked), state.places)


class TwoWayBlock(nn.Module):
    """Tokens attend to each other and to the places, pass a perceptron, and the places attend to them.

    Args:
        width: of both sequences.
        hidden: of the perceptron.
        first: the first block's attention among tokens has neither codes nor a skip.
    """

    def __init__(self, width: int, *, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width, hidden, activation=nn.ReLU())
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, width // 2)

    def forward(self, state: Exchange, codes: Tensor, positions: Tensor) -> Exchange:
        """Both sequences after the block; `codes` are those of the tokens, `positions` those of the places."""
        tokens, places = state
        if self.first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            coded = tokens + codes
            tokens = self.norm1(tokens + self.self_attn(coded, coded, tokens))
        placed = places + positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + codes, placed, places))
        tokens = self.norm3(tokens + self.mlp(tokens))
        places = self.norm4(places + self.cross_attn_image_to_token(placed, tokens + codes, tokens))
        return Exchange(tokens, places)


class Attention(nn.Module):
    """Attention of eight heads between two sequences (batch, n, width), computed in `inner` channels."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(batch, n of the query, width)."""
        q, k, v = (
            rearrange(project(x), "b n (h c) -> b h n c", h=HEADS)
            for project, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        attended = rearrange(F.scaled_dot_product_attention(q, k, v), "b h n c -> b n (h c)")
        result: Tensor = self.out_proj(attended)
        return result


class Head(nn.Module):
    """Three linear layers with ReLU between them: (..., width) -> (..., out)."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)])

    def forward(self, token: Tensor) -> Tensor:
        """What the head says of a token."""
        first, second, third = self.layers
        result: Tensor = third(second(first(token).relu()).relu())
        return result
