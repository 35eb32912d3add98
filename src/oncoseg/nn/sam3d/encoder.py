"""SAM-Med3D's image encoder: a vision transformer over patches of a volume.

Wang et al., SAM-Med3D, 2023 (arXiv 2310.15161).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.nn.sam3d.attention import Positions, VolumeAttention
from oncoseg.nn.sam3d.layers import Perceptron, VolumeNorm
from oncoseg.nn.sam_vit import VitSize


class VolumeEncoder(nn.Module):
    """The image encoder. Started as the authors' code: torch's own random weights, positions of zeros.

    Shape: (batch, 1, s, s, s) -> (batch, width, s/p, s/p, s/p).

    Args:
        size: of the transformer; windows may be larger than the grid of patches, as those released are.
        image_size, patch_size: s and p in voxels; s is a multiple of p.
        width: channels of the embedding.
        positions: formula of the relative positions.

    Raises:
        ConfigError: when the volume is not a whole number of patches.
    """

    def __init__(
        self,
        size: VitSize,
        *,
        image_size: int = 128,
        patch_size: int = 16,
        width: int = 384,
        positions: Positions = "official",
    ) -> None:
        super().__init__()
        if image_size % patch_size or image_size < patch_size:
            raise ConfigError(f"image_size {image_size} must be a multiple of the patches of {patch_size} voxels.")
        side = image_size // patch_size
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(1, size.embed_dim, patch_size, stride=patch_size)})
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, side, size.embed_dim))
        self.blocks = nn.ModuleList(
            Block(size.embed_dim, size.heads, side=side, positions=positions)
            if index in size.global_blocks
            else Block(size.embed_dim, size.heads, side=size.window, positions=positions)
            for index in range(size.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(size.embed_dim, width, 1, bias=False),
            VolumeNorm(width),
            nn.Conv3d(width, width, 3, padding=1, bias=False),
            VolumeNorm(width),
        )

    def forward(self, volumes: Tensor) -> Tensor:
        """Embeddings of a batch of volumes."""
        tokens = self.patch_embed["proj"](volumes).movedim(1, -1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        embedding: Tensor = self.neck(tokens.movedim(-1, 1))
        return embedding


class Block(nn.Module):
    """Attention within windows, then a perceptron, each behind a layer norm and beside a skip.

    Shape: (batch, n, n, n, width) to the same.

    Args:
        width: of a token.
        heads: of the attention.
        side: of the windows in tokens; a global block's is n.
        positions: formula of the relative positions.
    """

    def __init__(self, width: int, heads: int, *, side: int, positions: Positions) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = VolumeAttention(width, heads, side=side, positions=positions)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens after the block."""
        tokens = tokens + self._attended(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result

    def _attended(self, tokens: Tensor) -> Tensor:
        n, side = tokens.shape[1], self.attn.side
        if n <= side:
            whole: Tensor = self.attn(tokens)
            return whole
        padding = -n % side
        padded = F.pad(tokens, (0, 0, 0, padding, 0, padding, 0, padding))
        windows = rearrange(padded, "b (x i) (y j) (z k) c -> (b x y z) i j k c", i=side, j=side, k=side)
        count = (n + padding) // side
        joined: Tensor = rearrange(
            self.attn(windows), "(b x y z) i j k c -> b (x i) (y j) (z k) c", x=count, y=count, z=count
        )
        return joined[:, :n, :n, :n]
