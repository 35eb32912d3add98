"""Names of official checkpoints turned into the names of the networks built here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from oncoseg.errors import InputError

T = TypeVar("T")
#: A pattern for one whole key, and what the key becomes.
Rule = tuple[str, str]

#: Layers of an MLP of three.
MLP = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}
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
        for old, new in MLP.items()
    ),
    *(
        (
            rf"mask_decoder\.output_hypernetworks_mlps\.(\d)\.layers\.{old}\.(.+)",
            rf"mask_decoder.output_hypernetworks_mlps.\1.{new}.\2",
        )
        for old, new in MLP.items()
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

_NECK = {"0": "conv1", "1": "layer_norm1", "2": "conv2", "3": "layer_norm2"}

#: Official SAM's ViT -> transformers' `SamVisionEncoder` as the `image_encoder` of `nn.sam.Sam`. Adapters of
#: SAM-Med2D (`image_encoder.layers.n.Adapter...`) keep the names they have inside their block.
SAM_VISION: tuple[Rule, ...] = (
    (r"image_encoder\.patch_embed\.proj\.(weight|bias)", r"image_encoder.patch_embed.projection.\1"),
    (r"image_encoder\.blocks\.(\d+)\.norm([12])\.(weight|bias)", r"image_encoder.layers.\1.layer_norm\2.\3"),
    (r"image_encoder\.blocks\.(\d+)\.((?!norm[12]\.).+)", r"image_encoder.layers.\1.\2"),
    *((rf"image_encoder\.neck\.{old}\.(weight|bias)", rf"image_encoder.neck.{new}.\1") for old, new in _NECK.items()),
)

#: transformers' `SamModel` -> `nn.sam.Sam`.
_TRANSFORMERS: tuple[Rule, ...] = ((r"vision_encoder\.(.+)", r"image_encoder.\1"),)
#: Constants of the input that some files carry, and transformers' second copy of the frequencies.
_NOT_OF_THE_NETWORK = ("pixel_mean", "pixel_std", "shared_image_embedding.positional_embedding")
#: An image encoder with an official key like this one is SAM's ViT, not a TinyViT.
_VIT_KEY = "image_encoder.patch_embed.proj.weight"


def sam_state(state: Mapping[str, T]) -> dict[str, T]:
    """Tensors of a SAM under the names of `nn.sam.Sam`.

    Args:
        state: by official names (SAM, MedSAM, SAM-Med2D with or without adapters, MobileSAM, LiteMedSAM), by those
            of transformers' `SamModel`, or by those of `nn.sam.Sam` already. A ViT becomes transformers' vision
            encoder as `image_encoder`, a TinyViT keeps its names.

    Returns:
        The same tensors, without `pixel_mean` and `pixel_std`.

    Raises:
        InputError: when the file mixes two naming schemes.
    """
    kept = {key: tensor for key, tensor in state.items() if key not in _NOT_OF_THE_NETWORK}
    if not is_official_sam(kept):
        return rename(kept, _TRANSFORMERS)
    return rename(kept, SAM_PROMPT_AND_MASK + (SAM_VISION if _VIT_KEY in kept else ()))


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
