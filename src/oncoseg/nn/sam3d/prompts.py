"""SAM-Med3D's prompt encoder: clicks and earlier masks of a volume. It knows no boxes.

Wang et al., SAM-Med3D, 2023 (arXiv 2310.15161).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.nn.sam3d.layers import VolumeNorm


class VolumePrompts(NamedTuple):
    """What a batch of volumes is prompted with; every volume of it has the same kinds and number of prompts.

    Attributes:
        points: (batch, n, 3) clicks in voxels of the network's input, in the order of its axes; voxel centres are
            whole numbers.
        labels: (batch, n) int, 1 inside, 0 outside the object, -1 for a click that does not count.
        masks: (batch, 1, 4 s/p, 4 s/p, 4 s/p) logits of an earlier mask; zeros where the network is taught that there
            is none yet.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None


class PositionCode(nn.Module):
    """Random frequencies of three coordinates, as sine, cosine and sine again: (..., 3) in [0, 1] to (..., width).

    The second sine fills up the width, a third of which is the number of frequencies.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 3))

    def forward(self, coordinates: Tensor) -> Tensor:
        """Codes of coordinates."""
        matrix = self.positional_encoding_gaussian_matrix
        angles = 2 * math.pi * ((2 * coordinates.to(matrix.dtype) - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos(), angles.sin()], dim=-1)


class PromptEncoder(nn.Module):
    """Prompts to tokens and a map.

    Args:
        width: of a token, a multiple of 3.
        image_size: side s of the network's input in voxels.
        side: of the embedding, s/p.

    Raises:
        ConfigError: for another width.
    """

    def __init__(self, width: int, *, image_size: int, side: int) -> None:
        super().__init__()
        if width % 3:
            raise ConfigError(f"Prompts of width {width} cannot be coded: the width must be a multiple of 3.")
        self.image_size, self.side = image_size, side
        self.pe_layer = PositionCode(width)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width), nn.Embedding(1, width)])
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, 4, 2, stride=2),
            VolumeNorm(4),
            nn.GELU(),
            nn.Conv3d(4, 16, 2, stride=2),
            VolumeNorm(16),
            nn.GELU(),
            nn.Conv3d(16, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, prompts: VolumePrompts, batch: int) -> tuple[Tensor, Tensor]:
        """Tokens (batch, n + 1, width), none without clicks, and a map (batch, width, s/p, s/p, s/p)."""
        none = self.no_mask_embed.weight
        tokens = none.new_zeros((batch, 0, none.shape[1]))
        if prompts.points is not None and prompts.labels is not None:
            tokens = self._clicks(prompts.points, prompts.labels)
        if prompts.masks is not None:
            return tokens, self.mask_downscaling(prompts.masks)
        return tokens, none[..., None, None, None].expand(batch, -1, self.side, self.side, self.side)

    def positions(self) -> Tensor:
        """Code of every place of an embedding: (1, width, s/p, s/p, s/p).

        As released, the first two axes change places here and not in clicks: place (i, j, k) has the code of a click at
        (j, i, k). The weights were learned with this.
        """
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        centres = (torch.arange(self.side, device=matrix.device, dtype=matrix.dtype) + 0.5) / self.side
        first, second, third = torch.meshgrid(centres, centres, centres, indexing="ij")
        code: Tensor = self.pe_layer(torch.stack([second, first, third], dim=-1))
        return code.movedim(-1, 0)[None]

    def _clicks(self, points: Tensor, labels: Tensor) -> Tensor:
        """Tokens of clicks, and behind them one of no click, which SAM adds wherever there is no box."""
        code = self.pe_layer((points + 0.5) / self.image_size)
        label = labels[..., None]
        outside, inside = self.point_embeddings.parameters()
        nowhere = self.not_a_point_embed.weight
        tokens = torch.where(label == -1, nowhere, code + torch.where(label == 1, inside, outside))
        return torch.cat([tokens, nowhere.expand(len(points), 1, -1)], dim=1)
