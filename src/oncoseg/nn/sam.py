"""SAM's prompt encoder and mask decoder (transformers' classes) joined to any image encoder.

Kirillov et al., Segment Anything, 2023 (arXiv 2304.02643), appendix A.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class BoxPromptedSam(nn.Module):
    """One box in, one mask out: the path of SAM that MedSAM and LiteMedSAM use.

    Attributes:
        image_encoder: (batch, 3, s, s) -> (batch, 256, s/p, s/p).
        image_size, patch_size: s and p in pixels.
    """

    prompt_encoder: Any
    mask_decoder: Any

    def __init__(self, image_encoder: nn.Module, *, image_size: int, patch_size: int) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder, self.mask_decoder = _prompt_encoder_and_mask_decoder(image_size, patch_size)

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Mask logits.

        Args:
            images: (batch, 3, s, s), prepared as the image encoder expects.
            boxes: (batch, 4) corners (column, row, column, row) in pixels of the images; pixel
                centres are whole numbers.

        Returns:
            (batch, 4 s/p, 4 s/p) logits; above 0 is inside.
        """
        embedding = self.image_encoder(images)
        sparse, dense = self.prompt_encoder(
            input_points=None, input_labels=None, input_boxes=boxes[:, None], input_masks=None
        )
        logits, _ = self.mask_decoder(
            image_embeddings=embedding,
            image_positional_embeddings=self._positions().expand(len(images), -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        masks: Tensor = logits[:, 0, 0]
        return masks

    def _positions(self) -> Tensor:
        rows, columns = self.prompt_encoder.image_embedding_size
        matrix = self.prompt_encoder.shared_embedding.positional_embedding
        row = (torch.arange(rows, device=matrix.device, dtype=matrix.dtype) + 0.5) / rows
        column = (torch.arange(columns, device=matrix.device, dtype=matrix.dtype) + 0.5) / columns
        grid = torch.stack(torch.meshgrid(column, row, indexing="xy"), dim=-1)
        positions: Tensor = self.prompt_encoder.shared_embedding(grid[None])
        return positions.permute(0, 3, 1, 2)


def _prompt_encoder_and_mask_decoder(image_size: int, patch_size: int) -> tuple[nn.Module, nn.Module]:
    # transformers takes most of a second to import, and only networks that are built need it.
    from transformers import SamConfig
    from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder

    config = SamConfig(
        prompt_encoder_config={"image_size": image_size, "patch_size": patch_size},
        # The official blocks use torch's default epsilon.
        mask_decoder_config={"layer_norm_eps": 1e-5},
    )
    config.mask_decoder_config._attn_implementation = "sdpa"
    prompt_encoder = SamPromptEncoder(config)
    # Random frequencies that are never trained: official SAM keeps and counts them as a buffer.
    embedding = prompt_encoder.shared_embedding
    frequencies = embedding.positional_embedding.detach()
    del embedding.positional_embedding
    embedding.register_buffer("positional_embedding", frequencies)
    return prompt_encoder, SamMaskDecoder(config.mask_decoder_config)
