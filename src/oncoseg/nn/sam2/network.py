"""SAM 2 (transformers' `Sam2VideoModel`) taken into the steps of tracking: embed, recall, decode, remember.

Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024 (arXiv 2408.00714), section 4 and appendix D.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam2.memory import Recalled
from oncoseg.nn.sam2.sizes import Sam2Size, configuration

#: Logit of every pixel of a frame on which the object is not seen.
NOT_THERE = -1024.0
#: Logits of a mask that was given: 20 p - 10. The memory encoder sees the same of probabilities.
SCALE, SHIFT = 20.0, -10.0


class Features(NamedTuple):
    """Embeddings of frames.

    Attributes:
        coarse: (batch, width, s/16, s/16).
        middle: (batch, width/4, s/8, s/8), as the mask decoder adds it.
        fine: (batch, width/8, s/4, s/4), likewise.
    """

    coarse: Tensor
    middle: Tensor
    fine: Tensor

    def of(self, index: int) -> Features:
        """One frame of the batch."""
        return Features(*(part[index : index + 1] for part in self))

    def to(self, *args: Any) -> Features:
        """On another device or in another precision."""
        return Features(*(part.to(*args) for part in self))

    @property
    def bytes(self) -> int:
        """Memory they take."""
        return sum(part.numel() * part.element_size() for part in self)


class Decoded(NamedTuple):
    """The decoder's answer on frames.

    Attributes:
        logits: (batch, 1, s/4, s/4), the chosen mask, `NOT_THERE` everywhere where `presence` is not above 0.
        quality: (batch,), the IoU expected of it.
        presence: (batch, 1), above 0 where the object is seen.
        pointer: (batch, width), what later frames recall of the object itself.
        all_logits, all_quality: (batch, m, s/4, s/4) and (batch, m) of every mask that was made.
    """

    logits: Tensor
    quality: Tensor
    presence: Tensor
    pointer: Tensor
    all_logits: Tensor
    all_quality: Tensor


class Sam2(nn.Module):
    """SAM 2 with the parameter names of transformers' `Sam2VideoModel`.

    Args:
        size: of the network.
        image_size: side s of the square frames, a multiple of 32.
        version: `2.0` or `2.1`.
        gated: frames on which the object is not seen get `NOT_THERE` for logits, as published. From random weights
            nothing is seen and nothing would be learnt where no loss teaches to see.
        stability: a single mask that is not sure of its border gives way to the best of three, as SAM 2's predictor
            has it (never while training).

    Attributes:
        image_size: s.
        memories: most frames that are recalled beside the prompted ones, plus one: 7.
        pointers: most object pointers that are recalled: 16.

    Raises:
        ConfigError: when SAM 2 does not take images of this side.
    """

    vision_encoder: Any
    prompt_encoder: Any
    mask_decoder: Any
    memory_attention: Any
    memory_encoder: Any
    shared_image_embedding: Any
    object_pointer_proj: Any
    mask_downsample: Any
    temporal_positional_encoding_projection_layer: Any
    occlusion_spatial_embedding_parameter: Tensor
    no_memory_embedding: Tensor
    no_object_pointer: Tensor
    memory_temporal_positional_encoding: Tensor

    def __init__(
        self,
        size: Sam2Size,
        *,
        image_size: int,
        version: Literal["2.0", "2.1"],
        gated: bool = True,
        stability: bool = True,
    ) -> None:
        super().__init__()
        config = configuration(size, image_size, version=version)
        config.mask_decoder_config.dynamic_multimask_via_stability = stability
        from transformers import Sam2VideoModel

        whole = Sam2VideoModel(config)
        _begin(whole)
        for name, child in whole.named_children():
            self.add_module(name, child)
        for name, parameter in whole.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.image_size, self.gated, self.version = image_size, gated, version
        self.memories, self.pointers = config.num_maskmem, config.max_object_pointers_in_encoder

    def embed(self, images: Tensor) -> Features:
        """Frames (batch, 3, s, s), normalised as SAM 2 was trained, to embeddings."""
        return self.features(self.pyramid(images))

    def pyramid(self, images: Tensor) -> Features:
        """What the image encoder alone makes of frames: `Features`, all of them as wide as the coarse one."""
        fine, middle, coarse = self.vision_encoder(images).fpn_hidden_states
        return Features(coarse, middle, fine)

    def features(self, pyramid: Features) -> Features:
        """The pyramid as the mask decoder uses it; its two convolutions belong to the decoder."""
        middle, fine = self.mask_decoder.conv_s1(pyramid.middle), self.mask_decoder.conv_s0(pyramid.fine)
        return Features(pyramid.coarse, middle, fine)

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Logits (batch, s/4, s/4) for a box (batch, 4) on each image (batch, 3, s, s), without memory."""
        features = self.embed(images)
        return self.decode(self.without_memory(features), features, SlicePrompts(boxes)).logits[:, 0]

    def without_memory(self, features: Features) -> Tensor:
        """What the decoder sees of frames that recall nothing: (batch, width, s/16, s/16)."""
        return features.coarse + self.no_memory_embedding.reshape(1, -1, 1, 1)

    def recall(self, features: Features, recalled: Recalled) -> Tensor:
        """What the decoder sees of a frame (batch of 1) with its memories: (1, width, s/16, s/16)."""
        coarse = features.coarse
        memory, where = self._frames(recalled)
        if recalled.pointers:
            pointers, when = self._pointers(recalled)
            memory, where = torch.cat([memory, pointers]), torch.cat([where, when])
        positions = self.vision_encoder.neck.position_encoding(coarse.shape, coarse.device, coarse.dtype)
        attended = self.memory_attention(
            current_vision_features=_tokens(coarse),
            current_vision_position_embeddings=_tokens(positions),
            memory=memory.to(coarse.dtype),
            memory_posision_embeddings=where,
            num_object_pointer_tokens=len(memory) - len(recalled.frames) * coarse.shape[2] * coarse.shape[3],
        )
        # (1, batch, tokens, width)
        seen: Tensor = attended[0].transpose(1, 2).reshape(coarse.shape)
        return seen

    def decode(
        self, seen: Tensor, features: Features, prompts: SlicePrompts | None = None, *, single: bool = False
    ) -> Decoded:
        """Masks of frames.

        Args:
            seen: from `recall` or `without_memory`.
            features: of the same frames.
            prompts: one set for each frame; None while following. A box is two points with labels 2 and 3.
            single: one mask; else three, of which the best is chosen, unless two points say what is meant.
        """
        points, labels, masks = self._given(prompts, seen)
        several = labels.shape[1] <= 1 and not single
        sparse, dense = self.prompt_encoder(points[:, None], labels[:, None], None, masks)
        logits, quality, tokens, presence = self.mask_decoder(
            image_embeddings=seen,
            image_positional_embeddings=self._positions().expand(len(seen), -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense.expand(len(seen), -1, -1, -1),
            multimask_output=several,
            high_resolution_features=[features.fine, features.middle],
        )
        logits, quality, tokens, presence = logits[:, 0], quality[:, 0], tokens[:, 0], presence[:, 0]
        there = presence > 0
        if self.gated:
            logits = torch.where(there[..., None, None], logits, NOT_THERE)
        best = quality.argmax(dim=1)
        frames = torch.arange(len(seen), device=seen.device)
        token = tokens[frames, best if several else torch.zeros_like(best)]
        seen_object = (there if self.gated else torch.ones_like(there)).to(token.dtype)
        pointer = seen_object * self.object_pointer_proj(token) + (1 - seen_object) * self.no_object_pointer
        return Decoded(logits[frames, best][:, None], quality[frames, best], presence, pointer, logits, quality)

    def take(self, features: Features, mask: Tensor) -> Decoded:
        """A mask (batch, 1, s, s) in [0, 1] that is given and taken over as it is; empty where the object is not."""
        there = (mask > 0).flatten(1).any(dim=1, keepdim=True)
        logits = F.interpolate(
            mask * SCALE + SHIFT, size=features.fine.shape[2:], mode="bilinear", antialias=True, align_corners=False
        )
        rough = SlicePrompts(masks=self.mask_downsample(mask))
        found = self.decode(features.coarse, features, rough, single=True).pointer
        pointer = torch.where(there, found, self.no_object_pointer)
        quality = mask.new_ones(len(mask))
        presence = SCALE * there.to(mask.dtype) + SHIFT
        return Decoded(logits, quality, presence, pointer, logits, quality[:, None])

    def remember(self, seen: Tensor, logits: Tensor, presence: Tensor, *, prompted: bool) -> Tensor:
        """The memory (batch, 64, s/16, s/16) of frames with their masks.

        Args:
            seen: (batch, width, s/16, s/16), the frame as it is embedded.
            logits: (batch, 1, s, s) of the mask.
            presence: (batch, 1).
            prompted: the mask answers a prompt, and is remembered as black and white (but in training).
        """
        mask = (logits > 0).to(seen.dtype) if prompted and not self.training else logits.to(seen.dtype).sigmoid()
        memory, _ = self.memory_encoder(seen, mask * SCALE + SHIFT)
        if self.version == "2.1":
            missing = 1 - (presence > 0).to(memory.dtype)
            memory = memory + missing[..., None, None] * self.occlusion_spatial_embedding_parameter[..., None, None]
        remembered: Tensor = memory
        return remembered

    def whole(self, logits: Tensor) -> Tensor:
        """Logits (batch, m, s/4, s/4) at the size of the frames, float32."""
        return F.interpolate(logits.float(), size=(self.image_size,) * 2, mode="bilinear", align_corners=False)

    def _given(self, prompts: SlicePrompts | None, like: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        boxes, points, labels, masks = prompts or SlicePrompts()
        batch = len(like)
        parts, marks = [], []
        if boxes is not None:
            parts.append(boxes.reshape(batch, 2, 2))
            marks.append(torch.tensor([[2, 3]], device=like.device).expand(batch, 2))
        if points is not None and labels is not None:
            parts.append(points)
            marks.append(labels)
        if not parts:  # a point that does not count
            parts.append(like.new_zeros(batch, 1, 2))
            marks.append(torch.full((batch, 1), -1, device=like.device))
        return torch.cat(parts, dim=1).to(like.dtype), torch.cat(marks, dim=1), masks

    def _positions(self) -> Tensor:
        rows, columns = self.prompt_encoder.image_embedding_size
        matrix = self.shared_image_embedding.positional_embedding
        row = (torch.arange(rows, device=matrix.device, dtype=matrix.dtype) + 0.5) / rows
        column = (torch.arange(columns, device=matrix.device, dtype=matrix.dtype) + 0.5) / columns
        grid = torch.stack(torch.meshgrid(column, row, indexing="xy"), dim=-1)
        positions: Tensor = self.shared_image_embedding(grid)
        return positions.permute(2, 0, 1)[None]

    def _frames(self, recalled: Recalled) -> tuple[Tensor, Tensor]:
        """Memories as tokens (n, 1, 64) and their places in frame and time."""
        memories, places = [], []
        for memory, ago in recalled.frames:
            features = memory.features
            positions = self.memory_encoder.position_encoding(
                features.shape, features.device, self.no_object_pointer.dtype
            )
            place = _tokens(positions)
            if ago is not None:
                # Prompted frames, of which it does not count how long ago they were, have the last place.
                place = place + self.memory_temporal_positional_encoding[ago - 1]
            memories.append(_tokens(features))
            places.append(place)
        return torch.cat(memories), torch.cat(places)

    def _pointers(self, recalled: Recalled) -> tuple[Tensor, Tensor]:
        """Pointers as tokens, four for each 256 channels, and how long ago they were."""
        stacked = torch.stack([memory.pointer for memory, _ in recalled.pointers])
        ago = [float(frames) for _, frames in recalled.pointers]
        channels = recalled.frames[0][0].features.shape[1]
        when = stacked.new_zeros(len(stacked), len(stacked[0]), channels)
        if self.version == "2.1":
            share = torch.tensor(ago, device=stacked.device) / max(1, recalled.longest - 1)
            projected = self.temporal_positional_encoding_projection_layer(
                _waves(share, stacked.shape[2]).to(stacked.dtype)
            )
            when = projected[:, None].expand_as(when)
        parts = stacked.shape[2] // channels
        tokens = stacked.reshape(len(stacked), -1, parts, channels).transpose(1, 2).flatten(0, 1)
        return tokens, when.repeat_interleave(parts, dim=0)


def _begin(whole: nn.Module) -> None:
    """Random weights as the official code begins with: torch's own but in the transformer blocks of the trunk.

    Transformers draws all of them from a normal distribution of 0.02, with which the decoder learns slowly.
    """
    for name, module in whole.named_modules():
        trunk = name.startswith("vision_encoder.backbone.blocks")
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or (isinstance(module, nn.Linear) and not trunk):
            module.reset_parameters()


def _tokens(features: Tensor) -> Tensor:
    """(batch, channels, rows, columns) as (rows x columns, batch, channels)."""
    return features.flatten(2).permute(2, 0, 1)


def _waves(places: Tensor, channels: int) -> Tensor:
    """Sines and cosines (n, channels) of places (n,), as in the first transformer."""
    half = channels // 2
    number = torch.arange(half, dtype=torch.float32, device=places.device)
    angles = places[:, None] / 10_000 ** (2 * (number // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
