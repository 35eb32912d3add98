"""SAM's prompt encoder and mask decoder (transformers' classes) joined to any image encoder.

Kirillov et al., Segment Anything, 2023 (arXiv 2304.02643), appendix A.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class SlicePrompts(NamedTuple):
    """What a batch of slices is prompted with; every image of it has the same kinds and number of prompts.

    Attributes:
        boxes: (batch, 4) corners (column, row, column, row) in pixels of the network's input; pixel centres are
            whole numbers.
        points: (batch, n, 2) clicks (column, row), in the same pixels.
        labels: (batch, n) int, 1 inside, 0 outside the object, -1 for a click that does not count.
        masks: (batch, 1, 4 s/p, 4 s/p) logits of an earlier or rough mask.
    """

    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None


class Answer(NamedTuple):
    """Masks of a batch.

    Attributes:
        logits: (batch, m, 4 s/p, 4 s/p), above 0 is inside; m is 1, or 3 where several are asked for.
        quality: (batch, m), the IoU that the network expects of each.
    """

    logits: Tensor
    quality: Tensor

    def best(self) -> Tensor:
        """Logits (batch, 4 s/p, 4 s/p) of the mask that the network expects most of."""
        chosen = self.quality.argmax(dim=1)
        return self.logits[torch.arange(len(chosen), device=chosen.device), chosen]


class Sam(nn.Module):
    """An image encoder with SAM's prompt encoder and mask decoder.

    Attributes:
        image_encoder: (batch, 3, s, s) -> (batch, 256, s/p, s/p).
        image_size, patch_size: s and p in pixels.
    """

    prompt_encoder: Any
    mask_decoder: Any

    def __init__(self, image_encoder: nn.Module, *, image_size: int, patch_size: int) -> None:
        super().__init__()
        self.image_size, self.patch_size = image_size, patch_size
        self.image_encoder = image_encoder
        self.prompt_encoder, self.mask_decoder = _prompt_encoder_and_mask_decoder(image_size, patch_size)

    def embed(self, images: Tensor) -> Tensor:
        """Images (batch, 3, s, s), prepared as the image encoder expects, to embeddings (batch, 256, s/p, s/p)."""
        embedding: Tensor = self.image_encoder(images)
        return embedding

    def decode(self, embedding: Tensor, prompts: SlicePrompts, *, multimask: bool = False) -> Answer:
        """Masks of embedded images.

        Args:
            embedding: (batch, 256, s/p, s/p).
            prompts: one set for each image.
            multimask: give SAM's three masks for ambiguous prompts, in place of its one.
        """
        sparse, dense = self.encode_prompts(prompts, len(embedding))
        logits, quality = self.mask_decoder(
            image_embeddings=embedding,
            image_positional_embeddings=self.positions().expand(len(embedding), -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return Answer(logits[:, 0], quality[:, 0])

    def encode_prompts(self, prompts: SlicePrompts, batch: int) -> tuple[Tensor, Tensor]:
        """Sparse (batch, 1, tokens, 256) and dense (batch, 256, s/p, s/p) prompt embeddings."""
        boxes, points, labels, masks = prompts
        sparse, dense = self.prompt_encoder(
            input_points=None if points is None else points[:, None],
            input_labels=None if labels is None else labels[:, None],
            input_boxes=None if boxes is None else boxes[:, None],
            input_masks=masks,
        )
        if sparse is None:  # a mask alone
            sparse = dense.new_zeros((batch, 1, 0, dense.shape[1]))
        return sparse, dense.expand(batch, -1, -1, -1)

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Logits (batch, 4 s/p, 4 s/p) of one mask for one box (batch, 4) on each image."""
        return self.decode(self.embed(images), SlicePrompts(boxes)).logits[:, 0]

    def positions(self) -> Tensor:
        """SAM's position code of every place of an embedding: (1, 256, s/p, s/p)."""
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
