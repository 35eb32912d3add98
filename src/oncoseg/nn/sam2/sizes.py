"""The sizes of SAM 2, and the configuration that transformers needs for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from oncoseg.errors import ConfigError

if TYPE_CHECKING:
    from transformers import Sam2VideoConfig

SizeName = Literal["tiny", "small", "base_plus", "large", "smallest"]
#: Memories have that many channels, whatever the size.
MEMORY_CHANNELS = 64


@dataclass(frozen=True)
class Sam2Size:
    """How large a SAM 2 is (Ravi et al. 2024, arXiv 2408.00714, table 11 and released configurations).

    Attributes:
        channels, heads: of the Hiera trunk's first stage; each further stage doubles both.
        blocks: of the four stages.
        whole: blocks that attend over the whole image, counted through all stages.
        background: side of the coarse position table.
        windows: tokens along a window's side, by stage.
        width: of the pyramid, the prompt encoder, the mask decoder and the memory attention.
        feed_forward: of mask decoder and memory attention.
        memory_layers: of the memory attention.
    """

    channels: int
    heads: int
    blocks: tuple[int, int, int, int]
    whole: tuple[int, ...]
    background: int = 7
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    width: int = 256
    feed_forward: int = 2048
    memory_layers: int = 4


#: `smallest` is nobody's: it lets a CPU see in seconds that everything runs.
SIZES: dict[SizeName, Sam2Size] = {
    "tiny": Sam2Size(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": Sam2Size(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base_plus": Sam2Size(112, 2, (2, 3, 16, 3), (12, 16, 20), background=14),
    "large": Sam2Size(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
    "smallest": Sam2Size(16, 1, (1, 1, 2, 1), (3,), windows=(8, 4, 4, 4), width=64, feed_forward=128, memory_layers=1),
}


def require_image_size(image_size: int) -> None:
    """Raise unless SAM 2 takes images of this side.

    Raises:
        ConfigError: with the nearest sides that fit.
    """
    if image_size < 64 or image_size % 32:
        fits = max(64, round(image_size / 32) * 32)
        raise ConfigError(f"image_size is {image_size}; SAM 2 takes multiples of 32 from 64 on, e.g. {fits}.")


def configuration(size: Sam2Size, image_size: int, *, version: Literal["2.0", "2.1"]) -> Sam2VideoConfig:
    """Transformers' configuration.

    Args:
        size: one of `SIZES`, or another.
        image_size: side of the square input.
        version: SAM 2.1 tells memories of slices without the object, and pointers by how long ago they were.

    Raises:
        ConfigError: when SAM 2 does not take images of this side.
    """
    require_image_size(image_size)
    # transformers takes most of a second to import, and only networks that are built need it.
    from transformers import Sam2VideoConfig

    stages = [size.channels * 2**stage for stage in range(4)]
    features = [[image_size // stride] * 2 for stride in (4, 8, 16)]
    trunk: dict[str, Any] = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": size.channels,
        "num_attention_heads": size.heads,
        "image_size": [image_size, image_size],
        "blocks_per_stage": list(size.blocks),
        "embed_dim_per_stage": stages,
        "num_attention_heads_per_stage": [size.heads * 2**stage for stage in range(4)],
        "window_size_per_stage": list(size.windows),
        "global_attention_blocks": list(size.whole),
        "window_positional_embedding_background_size": [size.background] * 2,
    }
    newer = version == "2.1"
    return Sam2VideoConfig(
        image_size=image_size,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": trunk,
            "backbone_channel_list": stages[::-1],
            "backbone_feature_sizes": features,
            "fpn_hidden_size": size.width,
        },
        prompt_encoder_config={"image_size": image_size, "hidden_size": size.width},
        mask_decoder_config={
            "hidden_size": size.width,
            "mlp_dim": size.feed_forward,
            "iou_head_hidden_dim": size.width,
        },
        memory_attention_hidden_size=size.width,
        memory_attention_feed_forward_hidden_size=size.feed_forward,
        memory_attention_num_layers=size.memory_layers,
        memory_attention_rope_feat_sizes=features[2],
        memory_encoder_hidden_size=size.width,
        memory_fuser_embed_dim=size.width,
        memory_fuser_intermediate_dim=4 * size.width,
        mask_downsampler_embed_dim=size.width,
        memory_encoder_output_channels=MEMORY_CHANNELS,
        enable_temporal_pos_encoding_for_object_pointers=newer,
        enable_occlusion_spatial_embedding=newer,
    )
