"""Official SAM 2 checkpoints (2.0, 2.1, MedSAM2, Medical SAM 2) under the names of transformers' `Sam2VideoModel`.

Ravi et al., SAM 2, 2024 (arXiv 2408.00714); names of facebookresearch/sam2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from oncoseg.errors import InputError
from oncoseg.weights.keymaps import MLP, SAM_PROMPT_AND_MASK, Rule, rename

#: A key that every official SAM 2 file has and no other.
_MARK = "sam_mask_decoder.obj_score_token.weight"
_FREQUENCIES = "prompt_encoder.shared_embedding.positional_embedding"
_POINTS = tuple(f"prompt_encoder.point_embed.{number}.weight" for number in range(4))
#: What SAM 2.1 added to SAM 2.0.
_ADDED_IN_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")

_VISION: tuple[Rule, ...] = (
    (r"image_encoder\.trunk\.patch_embed\.proj\.(.+)", r"vision_encoder.backbone.patch_embed.projection.\1"),
    (r"image_encoder\.trunk\.(pos_embed(?:_window)?)", r"vision_encoder.backbone.\1"),
    (r"image_encoder\.trunk\.blocks\.(\d+)\.norm(\d)\.(.+)", r"vision_encoder.backbone.blocks.\1.layer_norm\2.\3"),
    (r"image_encoder\.trunk\.blocks\.(\d+)\.((?:attn|proj)\..+)", r"vision_encoder.backbone.blocks.\1.\2"),
    (r"image_encoder\.trunk\.blocks\.(\d+)\.mlp\.layers\.0\.(.+)", r"vision_encoder.backbone.blocks.\1.mlp.proj_in.\2"),
    (
        r"image_encoder\.trunk\.blocks\.(\d+)\.mlp\.layers\.1\.(.+)",
        r"vision_encoder.backbone.blocks.\1.mlp.proj_out.\2",
    ),
    (r"image_encoder\.neck\.convs\.(\d)\.conv\.(.+)", r"vision_encoder.neck.convs.\1.\2"),
)

_MASK_DECODER: tuple[Rule, ...] = (
    (
        r"mask_decoder\.transformer\.(layers\.\d\.\w+|final_attn_token_to_image)\.out_proj\.(.+)",
        r"mask_decoder.transformer.\1.o_proj.\2",
    ),
    (
        r"mask_decoder\.transformer\.layers\.(\d)\.mlp\.layers\.0\.(.+)",
        r"mask_decoder.transformer.layers.\1.mlp.proj_in.\2",
    ),
    (
        r"mask_decoder\.transformer\.layers\.(\d)\.mlp\.layers\.1\.(.+)",
        r"mask_decoder.transformer.layers.\1.mlp.proj_out.\2",
    ),
    *(
        (rf"mask_decoder\.pred_obj_score_head\.layers\.{old}\.(.+)", rf"mask_decoder.pred_obj_score_head.{new}.\1")
        for old, new in MLP.items()
    ),
)

_DOWNSAMPLER = r"memory_encoder\.mask_downsampler\.encoder\."
_FUSER = r"memory_encoder\.fuser\.layers\.(\d)\."
_FUSED = r"memory_encoder.memory_fuser.layers.\1."

_MEMORY: tuple[Rule, ...] = (
    (r"memory_attention\.layers\.(\d)\.(\w+)\.out_proj\.(.+)", r"memory_attention.layers.\1.\2.o_proj.\3"),
    (r"memory_attention\.layers\.(\d)\.norm(\d)\.(.+)", r"memory_attention.layers.\1.layer_norm\2.\3"),
    (r"memory_attention\.norm\.(.+)", r"memory_attention.layer_norm.\1"),
    *(
        (rf"{_DOWNSAMPLER}{3 * layer + place}\.(.+)", rf"memory_encoder.mask_downsampler.layers.{layer}.{part}.\1")
        for layer in range(4)
        for place, part in enumerate(("conv", "layer_norm"))
    ),
    (rf"{_DOWNSAMPLER}12\.(.+)", r"memory_encoder.mask_downsampler.final_conv.\1"),
    (r"memory_encoder\.pix_feat_proj\.(.+)", r"memory_encoder.feature_projection.\1"),
    (r"memory_encoder\.out_proj\.(.+)", r"memory_encoder.projection.\1"),
    (rf"{_FUSER}dwconv\.(.+)", rf"{_FUSED}depthwise_conv.\2"),
    (rf"{_FUSER}pwconv([12])\.(.+)", rf"{_FUSED}pointwise_conv\2.\3"),
    (rf"{_FUSER}norm\.(.+)", rf"{_FUSED}layer_norm.\2"),
    (rf"{_FUSER}gamma", rf"{_FUSED}scale"),
    *((rf"obj_ptr_proj\.layers\.{old}\.(.+)", rf"object_pointer_proj.{new}.\1") for old, new in MLP.items()),
    (r"obj_ptr_tpos_proj\.(.+)", r"temporal_positional_encoding_projection_layer.\1"),
    (r"no_obj_ptr", r"no_object_pointer"),
    (r"no_obj_embed_spatial", r"occlusion_spatial_embedding_parameter"),
    (r"maskmem_tpos_enc", r"memory_temporal_positional_encoding"),
    (r"no_mem_embed", r"no_memory_embedding"),
    (r"no_mem_pos_enc", r"no_memory_positional_encoding"),
)

#: Official SAM 2, its `sam_` in front of prompt encoder and mask decoder removed -> transformers. `sam2_state` also
#: joins the point embeddings and copies the frequencies.
SAM2: tuple[Rule, ...] = _VISION + SAM_PROMPT_AND_MASK + _MASK_DECODER + _MEMORY


def is_official_sam2(state: Mapping[str, object]) -> bool:
    """Whether a state dict carries the names of facebookresearch/sam2."""
    return _MARK in state


def is_sam2_1(state: Mapping[str, object]) -> bool:
    """Whether official tensors are of SAM 2.1; SAM 2.0 has none of its three.

    A network for 2.0 needs `enable_temporal_pos_encoding_for_object_pointers=False` and
    `enable_occlusion_spatial_embedding=False`.

    Raises:
        InputError: when only some of the three are there.
    """
    found = [name for name in _ADDED_IN_2_1 if name in state]
    if found and len(found) < len(_ADDED_IN_2_1):
        raise InputError(
            f"The file has {', '.join(found)} of SAM 2.1, but not {', '.join(set(_ADDED_IN_2_1) - set(found))}. "
            "Copy or download it again."
        )
    return bool(found)


def sam2_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors of a SAM 2 under the names of transformers' `Sam2VideoModel`.

    Args:
        state: by official names; one that has transformers' names already comes back as it is.

    Returns:
        The same tensors, with the four point embeddings (1, 256) as one table (4, 256), and the frequencies of the
        position code twice, as transformers keeps them. Two fewer than in `state`.

    Raises:
        InputError: when the file mixes two naming schemes, or lacks some of the point embeddings.
    """
    if not is_official_sam2(state):
        return dict(state)
    bare = {
        key.removeprefix("sam_") if key.startswith(("sam_prompt_encoder.", "sam_mask_decoder.")) else key: tensor
        for key, tensor in state.items()
    }
    renamed = rename(bare, SAM2)
    missing = [name for name in (*_POINTS, _FREQUENCIES) if name not in renamed]
    if missing:
        raise InputError(f"The SAM 2 file lacks the tensors that become {', '.join(missing)}. Download it again.")
    points = torch.cat([renamed.pop(name) for name in _POINTS])
    renamed["prompt_encoder.point_embed.weight"] = points
    renamed["shared_image_embedding.positional_embedding"] = renamed[_FREQUENCIES].clone()
    return renamed
