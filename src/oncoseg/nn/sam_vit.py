"""SAM's image encoder, a vision transformer with windows and relative positions, built of transformers' parts.

Kirillov et al., Segment Anything, 2023 (arXiv 2304.02643), appendix A; Li et al., ViTDet, 2022 (arXiv 2203.16527).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.nn.sam import Sam

#: Makes a layer from transformers' configuration and the side of its attention windows, 0 for the whole image.
MakeLayer = Callable[[Any, int], nn.Module]


@dataclass(frozen=True)
class VitSize:
    """How large an image encoder is.

    Attributes:
        embed_dim: width of a token, a multiple of `heads`.
        depth: layers.
        heads: of the attention.
        global_blocks: layers, counted from 0, that attend to the whole image; the others stay in their windows.
        window: side of the windows in tokens.
    """

    embed_dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int = 14

    def __post_init__(self) -> None:
        if min(self.embed_dim, self.depth, self.heads, self.window) < 1 or self.embed_dim % self.heads:
            raise ConfigError(
                f"A transformer of embed_dim {self.embed_dim}, depth {self.depth}, heads {self.heads} and window "
                f"{self.window} cannot be: all are at least 1, and embed_dim is a multiple of heads."
            )


#: The encoders of the published weights.
SIZES = {
    "b": VitSize(768, 12, 12, (2, 5, 8, 11)),
    "l": VitSize(1024, 24, 16, (5, 11, 17, 23)),
    "h": VitSize(1280, 32, 16, (7, 15, 23, 31)),
}


def sized(vit: str, *, embed_dim: int | None = None, depth: int | None = None, heads: int | None = None) -> VitSize:
    """A published size, or one that differs from it; global blocks stay as far apart, the last layer being one.

    Args:
        vit: `b`, `l` or `h`.
        embed_dim: in place of the published one; None keeps it, here and below.
        depth: in layers.
        heads: of the attention.

    Raises:
        ConfigError: when they do not fit together.
    """
    base = SIZES[vit]
    layers = depth or base.depth
    blocks = base.global_blocks if layers == base.depth else tuple(range(layers - 1, -1, -(base.depth // 4)))[::-1]
    return VitSize(embed_dim or base.embed_dim, layers, heads or base.heads, blocks)


class VitEncoder(nn.Module):
    """The image encoder. Started as the authors' code: torch's own random weights, position tables of zeros.

    Names of its tensors are those of transformers' `SamVisionEncoder`.

    Shape: (batch, 3, s, s) -> (batch, 256, s/p, s/p).

    Args:
        size: of the transformer.
        image_size, patch_size: s and p in pixels; s is a multiple of p.
        layer: makes the layers; None for SAM's own.

    Raises:
        ConfigError: when the image is not a whole number of patches.
    """

    def __init__(
        self, size: VitSize, *, image_size: int = 1024, patch_size: int = 16, layer: MakeLayer | None = None
    ) -> None:
        super().__init__()
        # transformers takes most of a second to import, and only networks that are built need it.
        from transformers import SamVisionConfig
        from transformers.models.sam import modeling_sam as sam

        if image_size % patch_size or image_size < patch_size:
            raise ConfigError(f"image_size {image_size} must be a multiple of the patches of {patch_size} pixels.")
        config = SamVisionConfig(
            hidden_size=size.embed_dim,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            mlp_dim=4 * size.embed_dim,
            image_size=image_size,
            patch_size=patch_size,
            window_size=size.window,
            global_attn_indexes=list(size.global_blocks),
        )
        config._attn_implementation = "sdpa"
        make = layer or sam.SamVisionLayer
        side = image_size // patch_size
        self.patch_embed = sam.SamPatchEmbeddings(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, size.embed_dim))
        self.layers = nn.ModuleList(
            make(config, 0 if index in size.global_blocks else size.window) for index in range(size.depth)
        )
        self.neck = sam.SamVisionNeck(config)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of a batch of images."""
        tokens = self.patch_embed(images) + self.pos_embed
        for layer in self.layers:
            tokens = layer(tokens)
        embedding: Tensor = self.neck(tokens)
        return embedding


def sam_vit(size: VitSize, *, image_size: int = 1024, patch_size: int = 16, layer: MakeLayer | None = None) -> Sam:
    """SAM with random weights; arguments as of `VitEncoder`. ViT-B at 1024 px has 93,735,472 parameters."""
    encoder = VitEncoder(size, image_size=image_size, patch_size=patch_size, layer=layer)
    return Sam(encoder, image_size=image_size, patch_size=patch_size)
