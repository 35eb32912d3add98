"""Names of official checkpoints turned into the names of the networks built here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from oncoseg.errors import InputError

T = TypeVar("T")
#: A pattern for one whole key, and what the key becomes.
Rule = tuple[str, str]

_MLP = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}
_MASK_EMBED = {"0": "conv1", "1": "layer_norm1", "3": "conv2", "4": "layer_norm2", "6": "conv3"}
_UPSCALING = {"0": "upscale_conv1", "1": "upscale_layer_norm", "3": "upscale_conv2"}

#: Official SAM's prompt encoder and mask decoder -> transformers' `SamPromptEncoder`, `SamMaskDecoder`.
#: Keys that no rule names keep their name.
SAM_PROMPT_AND_MASK: tuple[Rule, ...] = (
    (
        r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix",
        r"prompt_encoder.shared_embedding.positional_embedding",
    ),
    (r"prompt_encoder\.point_embeddings\.(\d)\.weight", r"prompt_encoder.point_embed.\1.weight"),
    *(
        (rf"prompt_encoder\.mask_downscaling\.{old}\.(weight|bias)", rf"prompt_encoder.mask_embed.{new}.\1")
        for old, new in _MASK_EMBED.items()
    ),
    *(
        (rf"mask_decoder\.output_upscaling\.{old}\.(weight|bias)", rf"mask_decoder.{new}.\1")
        for old, new in _UPSCALING.items()
    ),
    *(
        (rf"mask_decoder\.iou_prediction_head\.layers\.{old}\.(.+)", rf"mask_decoder.iou_prediction_head.{new}.\1")
        for old, new in _MLP.items()
    ),
    *(
        (
            rf"mask_decoder\.output_hypernetworks_mlps\.(\d)\.layers\.{old}\.(.+)",
            rf"mask_decoder.output_hypernetworks_mlps.\1.{new}.\2",
        )
        for old, new in _MLP.items()
    ),
    (
        r"mask_decoder\.transformer\.layers\.(\d)\.norm(\d)\.(weight|bias)",
        r"mask_decoder.transformer.layers.\1.layer_norm\2.\3",
    ),
    (
        r"mask_decoder\.transformer\.norm_final_attn\.(weight|bias)",
        r"mask_decoder.transformer.layer_norm_final_attn.\1",
    ),
)


def is_official_sam(state: Mapping[str, object]) -> bool:
    """Whether a state dict carries official SAM names, which differ from transformers' in this key."""
    return "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix" in state


def rename(state: Mapping[str, T], rules: Sequence[Rule]) -> dict[str, T]:
    """A state dict under new names.

    Every rule describes a whole key, so the order of the rules does not matter.

    Raises:
        InputError: when two keys become one.
    """
    renamed: dict[str, T] = {}
    for key, tensor in state.items():
        new = next((match.expand(name) for rule, name in rules if (match := re.fullmatch(rule, key))), key)
        if new in renamed:
            raise InputError(f"Two tensors of the weights file become '{new}'; the file mixes two naming schemes.")
        renamed[new] = tensor
    return renamed
