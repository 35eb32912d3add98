"""SAM-Med3D: clicks and an earlier mask in a volume to a mask of it.

Wang et al., SAM-Med3D: Towards General-purpose Segmentation Models for Volumetric Medical Images, 2023 (arXiv
2310.15161). Names of tensors are those of the authors' files, which load as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.nn.sam3d.attention import Positions
from oncoseg.nn.sam3d.decoder import MaskDecoder
from oncoseg.nn.sam3d.encoder import VolumeEncoder
from oncoseg.nn.sam3d.prompts import PromptEncoder, VolumePrompts
from oncoseg.nn.sam_vit import SIZES, VitSize
from oncoseg.nn.shapes import require_input


class Answer(NamedTuple):
    """Masks of a batch, and what the next round of clicks starts from.

    Attributes:
        logits: (batch, m, 4 s/p, 4 s/p, 4 s/p), above 0 is inside; m is 1, or 3 where several are asked for.
        quality: (batch, m), the IoU that the network expects of each.
        embedding: (batch, width, s/p, s/p, s/p), to be decoded in the next round; SAM-Med3D's never changes.
    """

    logits: Tensor
    quality: Tensor
    embedding: Tensor


class Sam3d(nn.Module):
    """SAM-Med3D with random weights. ViT-B at 128^3, as released, has 100,509,232 parameters in 324 tensors.

    Against the authors' code with equal random weights, ViT-B at 128^3: embeddings differ by at most 1.6e-5 (they reach
    4.7), logits by 5.2e-6 (4.7), and encoding is 16 times as fast on one thread, for windows' padding is not computed.

    Its three axes have no names: the released weights know volumes in canonical orientation, axes (right, anterior,
    superior), as nibabel and torchio read them.

    Args:
        size: of the image encoder.
        image_size, patch_size: s and p in voxels; s is a multiple of p.
        width: of embeddings and prompts, a multiple of 48.
        positions: formula of the relative positions; `official` for released weights.

    Raises:
        ConfigError: when these do not fit together.
    """

    def __init__(
        self,
        size: VitSize = SIZES["b"],
        *,
        image_size: int = 128,
        patch_size: int = 16,
        width: int = 384,
        positions: Positions = "official",
    ) -> None:
        super().__init__()
        self.image_size, self.patch_size = image_size, patch_size
        self.image_encoder = VolumeEncoder(
            size, image_size=image_size, patch_size=patch_size, width=width, positions=positions
        )
        self.prompt_encoder = PromptEncoder(width, image_size=image_size, side=image_size // patch_size)
        self.mask_decoder = MaskDecoder(width)

    def embed(self, volumes: Tensor) -> Tensor:
        """Volumes (batch, 1, s, s, s), prepared as the weights expect, to embeddings (batch, width, s/p, s/p, s/p).

        Raises:
            InputError: for another shape.
        """
        require_input(volumes, "SAM-Med3D", channels=1, size=(self.image_size,) * 3)
        embedding: Tensor = self.image_encoder(volumes)
        return embedding

    def decode(self, embedding: Tensor, prompts: VolumePrompts, *, multimask: bool = False) -> Answer:
        """Masks of embedded volumes.

        Args:
            embedding: (batch, width, s/p, s/p, s/p), of `embed` or of the answer before.
            prompts: one set for each volume.
            multimask: give the three masks for ambiguous prompts, in place of the one.
        """
        tokens, mask = self.prompt_encoder(prompts, len(embedding))
        source = self.source(embedding, mask)
        logits, quality = self.mask_decoder(source, self.prompt_encoder.positions(), tokens)
        chosen = slice(1, None) if multimask else slice(0, 1)
        return Answer(logits[:, chosen], quality[:, chosen], self.carried(embedding, source))

    def source(self, embedding: Tensor, mask: Tensor) -> Tensor:
        """What is decoded: embedding and encoded mask prompt together, here their sum."""
        return embedding + mask

    def carried(self, embedding: Tensor, source: Tensor) -> Tensor:
        """What the next round decodes, here the embedding as it was."""
        return embedding

    def whole(self, logits: Tensor) -> Tensor:
        """Logits (batch, m, ...) of any size at that of the volume, (batch, m, s, s, s), trilinear."""
        return F.interpolate(logits, size=(self.image_size,) * 3, mode="trilinear", align_corners=False)

    def forward(self, volumes: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Logits (batch, s, s, s) of one mask for clicks (batch, n, 3) with labels (batch, n)."""
        answer = self.decode(self.embed(volumes), VolumePrompts(points, labels))
        return self.whole(answer.logits)[:, 0]
