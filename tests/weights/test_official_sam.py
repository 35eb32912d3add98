"""Official files fill the networks built here: names, shapes and numbers of tensors."""

import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.nn.sam import Sam
from oncoseg.nn.tiny_vit import TinyViT
from oncoseg.weights import official as layouts
from oncoseg.weights.keymaps import sam_state
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.positions import interpolated_positions
from oncoseg.weights.sam2 import is_official_sam2, is_sam2_1, sam2_state

BASE = layouts.SAM_SIZES["b"]
TINY = layouts.SAM2_SIZES["tiny"]


def filled(shapes, seed=0):
    """Random tensors of a layout."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in shapes.items()}


def empty(shapes):
    """Tensors without content, for layouts too big to fill."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def vit_sam(*, width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11), image_size=1024, window=14):
    from transformers import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamVisionEncoder

    config = SamVisionConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        mlp_dim=4 * width,
        global_attn_indexes=list(global_blocks),
        image_size=image_size,
        window_size=window,
    )
    return Sam(SamVisionEncoder(config), image_size=image_size, patch_size=16)


def shapes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("size", ["b", "l", "h"])
def test_official_sam_has_the_names_and_shapes_of_the_network(size):
    official = layouts.sam(layouts.SAM_SIZES[size])
    width, depth, heads, global_blocks = layouts.SAM_SIZES[size]
    with torch.device("meta"):
        network = vit_sam(width=width, depth=depth, heads=heads, global_blocks=global_blocks)
    renamed = sam_state(empty(official))
    assert shapes(renamed) == shapes(network.state_dict())
    assert len(renamed) == len(official)


def test_sam_vit_b_is_of_the_size_its_authors_state():
    official = empty(layouts.sam(BASE))
    assert len(official) == 314  # weights.md, section 7
    frequencies = 256
    assert sum(t.numel() for t in official.values()) - frequencies == 93_735_472  # sam-base.md


def test_transformers_own_files_fill_the_same_network():
    from transformers import SamConfig, SamModel

    with torch.device("meta"):
        theirs = SamModel(SamConfig()).state_dict()
    assert len(theirs) == 315
    assert shapes(sam_state(theirs)) == shapes(sam_state(empty(layouts.sam(BASE))))


def test_names_of_the_network_stay_as_they_are():
    network = Sam(TinyViT("lite_medsam"), image_size=256, patch_size=4)
    assert sam_state(network.state_dict()).keys() == network.state_dict().keys()


@pytest.mark.parametrize("patches", ["mobile_sam", "lite_medsam"])
def test_files_with_a_small_encoder_keep_its_names(patches):
    size, patch, kernel = {"mobile_sam": (1024, 16, 3), "lite_medsam": (256, 4, 1)}[patches]
    network = Sam(TinyViT(patches), image_size=size, patch_size=patch)
    official = filled(layouts.tiny_sam(kernel))
    assert len(official) == 435  # weights.md, section 1
    load_strictly(network, sam_state(official))
    loaded = network.state_dict()
    token = "mask_decoder.iou_token.weight"
    assert torch.equal(loaded[token], official[token])


def test_constants_of_the_input_are_left_out():
    official = empty(layouts.sam(BASE)) | {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    assert len(sam_state(official)) == 314


def test_adapters_of_sam_med2d_keep_their_names_inside_their_block():
    official = layouts.sam(BASE, image_size=256, adapters=True)
    assert len(official) == 386  # weights.md, section 7.3
    renamed = sam_state(empty(official))
    adapters = {name for name in renamed if "Adapter" in name}
    assert len(adapters) == 72
    assert "image_encoder.layers.11.Adapter.norm.weight" in adapters
    assert "image_encoder.layers.0.Adapter.spatial.2.weight" in adapters
    with torch.device("meta"):
        plain = vit_sam(image_size=256)
    assert renamed.keys() - adapters == plain.state_dict().keys()


SMALL = {"width": 32, "depth": 3, "heads": 2, "global_blocks": (1,), "window": 4}


def small_file(image_size):
    return sam_state(
        filled(
            layouts.sam_vit(layouts.VitSize(32, 3, 2, (1,)), window=4, image_size=image_size)
            | layouts.sam_prompt_encoder()
            | layouts.sam_mask_decoder()
        )
    )


def test_a_file_fills_a_small_network_exactly():
    network = vit_sam(**SMALL, image_size=128)
    state = small_file(128)
    load_strictly(network, state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_only_position_tables_are_interpolated():
    network = vit_sam(**SMALL, image_size=256)
    state = small_file(128)
    with pytest.raises(InputError, match="3 of another shape"):
        load_strictly(network, state)
    fitted = interpolated_positions(state, network)
    load_strictly(network, fitted)
    changed = {name for name in state if fitted[name] is not state[name]}
    assert changed == {
        "image_encoder.pos_embed",
        "image_encoder.layers.1.attn.rel_pos_h",
        "image_encoder.layers.1.attn.rel_pos_w",
    }


def test_interpolation_keeps_a_constant_and_a_ramp():
    network = vit_sam(**SMALL, image_size=256)
    state = small_file(128)
    state["image_encoder.pos_embed"] = torch.arange(8.0)[None, :, None, None].expand(1, 8, 8, 32)
    state["image_encoder.layers.1.attn.rel_pos_h"] = torch.full((15, 16), 3.0)
    fitted = interpolated_positions(state, network)
    rows = fitted["image_encoder.pos_embed"][0, :, 0, 0]
    # Corners not aligned: new row i lies at (i + 0.5) / 2 - 0.5 of the old rows, cut off at both ends.
    assert torch.allclose(rows, ((torch.arange(16) + 0.5) / 2 - 0.5).clamp(0, 7))
    assert torch.equal(fitted["image_encoder.layers.1.attn.rel_pos_h"], torch.full((31, 16), 3.0))


def test_a_table_of_another_width_is_listed_not_interpolated():
    network = vit_sam(**SMALL, image_size=256)
    state = small_file(128)
    state["image_encoder.pos_embed"] = torch.zeros(1, 8, 8, 31)
    with pytest.raises(InputError, match=r"image_encoder.pos_embed \(1, 8, 8, 31\) instead of \(1, 16, 16, 32\)"):
        load_strictly(network, interpolated_positions(state, network))


def sam2_network(size, version):
    from transformers import Sam2VideoConfig, Sam2VideoModel

    width, stages, background = layouts.SAM2_SIZES[size]
    heads = {"tiny": 1, "small": 1, "base_plus": 2, "large": 2}[size]
    widths = [width * 2**k for k in range(4)]
    global_blocks = {"tiny": [5, 7, 9], "small": [7, 10, 13], "base_plus": [12, 16, 20], "large": [23, 33, 43]}[size]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": width,
        "num_attention_heads": heads,
        "blocks_per_stage": list(stages),
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [heads * 2**k for k in range(4)],
        "global_attention_blocks": global_blocks,
        "window_positional_embedding_background_size": [background] * 2,
    }
    config = Sam2VideoConfig(vision_config={"backbone_config": backbone, "backbone_channel_list": widths[::-1]})
    config.enable_temporal_pos_encoding_for_object_pointers = version == "2.1"
    config.enable_occlusion_spatial_embedding = version == "2.1"
    with torch.device("meta"):
        return Sam2VideoModel(config)


# Numbers of tensors: weights.md, section 7.
@pytest.mark.parametrize(
    ("size", "official", "ours"),
    [("tiny", 471, 469), ("small", 519, 517), ("base_plus", 615, 613), ("large", 903, 901)],
)
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_official_sam2_has_the_names_and_shapes_of_transformers(size, official, ours, version):
    names = layouts.sam2(layouts.SAM2_SIZES[size], version)
    assert len(names) == official - (0 if version == "2.1" else 3)
    state = empty(names)
    assert is_official_sam2(state)
    assert is_sam2_1(state) == (version == "2.1")
    renamed = sam2_state(state)
    assert shapes(renamed) == shapes(sam2_network(size, version).state_dict())
    assert len(renamed) == ours - (0 if version == "2.1" else 3)


# Shapes cannot tell these apart; spec/sam-base.md and spec/sam2-base.md, checkpoint keys.
SAM_PAIRS = {
    "image_encoder.patch_embed.proj.weight": "image_encoder.patch_embed.projection.weight",
    "image_encoder.blocks.7.norm1.bias": "image_encoder.layers.7.layer_norm1.bias",
    "image_encoder.blocks.7.norm2.bias": "image_encoder.layers.7.layer_norm2.bias",
    "image_encoder.blocks.7.attn.rel_pos_h": "image_encoder.layers.7.attn.rel_pos_h",
    "image_encoder.blocks.7.mlp.lin1.bias": "image_encoder.layers.7.mlp.lin1.bias",
    "image_encoder.neck.1.weight": "image_encoder.neck.layer_norm1.weight",
    "image_encoder.neck.2.weight": "image_encoder.neck.conv2.weight",
    "image_encoder.neck.3.weight": "image_encoder.neck.layer_norm2.weight",
}
SAM2_PAIRS = {
    "image_encoder.trunk.blocks.1.norm2.weight": "vision_encoder.backbone.blocks.1.layer_norm2.weight",
    "image_encoder.trunk.blocks.1.proj.bias": "vision_encoder.backbone.blocks.1.proj.bias",
    "image_encoder.trunk.blocks.1.attn.proj.bias": "vision_encoder.backbone.blocks.1.attn.proj.bias",
    "image_encoder.neck.convs.2.conv.bias": "vision_encoder.neck.convs.2.bias",
    "sam_mask_decoder.transformer.layers.1.norm3.weight": "mask_decoder.transformer.layers.1.layer_norm3.weight",
    "sam_mask_decoder.transformer.layers.1.self_attn.out_proj.weight": (
        "mask_decoder.transformer.layers.1.self_attn.o_proj.weight"
    ),
    "sam_mask_decoder.pred_obj_score_head.layers.1.weight": "mask_decoder.pred_obj_score_head.layers.0.weight",
    "sam_mask_decoder.conv_s0.weight": "mask_decoder.conv_s0.weight",
    "memory_attention.layers.3.norm2.bias": "memory_attention.layers.3.layer_norm2.bias",
    "memory_attention.layers.3.self_attn.out_proj.bias": "memory_attention.layers.3.self_attn.o_proj.bias",
    "memory_attention.layers.3.self_attn.q_proj.bias": "memory_attention.layers.3.self_attn.q_proj.bias",
    "memory_encoder.mask_downsampler.encoder.7.weight": ("memory_encoder.mask_downsampler.layers.2.layer_norm.weight"),
    "memory_encoder.pix_feat_proj.bias": "memory_encoder.feature_projection.bias",
    "memory_encoder.out_proj.bias": "memory_encoder.projection.bias",
    "memory_encoder.fuser.layers.1.gamma": "memory_encoder.memory_fuser.layers.1.scale",
    "memory_encoder.fuser.layers.1.pwconv2.bias": "memory_encoder.memory_fuser.layers.1.pointwise_conv2.bias",
    "obj_ptr_proj.layers.0.weight": "object_pointer_proj.proj_in.weight",
    "obj_ptr_proj.layers.2.weight": "object_pointer_proj.proj_out.weight",
    "no_mem_embed": "no_memory_embedding",
    "no_mem_pos_enc": "no_memory_positional_encoding",
}


def test_tensors_of_one_shape_are_not_confused():
    for pairs, shapes_, rename in (
        (SAM_PAIRS, layouts.sam(BASE), sam_state),
        (SAM2_PAIRS, layouts.sam2(TINY), sam2_state),
    ):
        state = empty(shapes_)
        renamed = rename(state)
        assert all(renamed[ours] is state[official] for official, ours in pairs.items())


def test_points_are_joined_in_their_order_and_frequencies_copied():
    official = filled(layouts.sam2(TINY))
    renamed = sam2_state(official)
    for number in range(4):
        row = renamed["prompt_encoder.point_embed.weight"][number]
        assert torch.equal(row, official[f"sam_prompt_encoder.point_embeddings.{number}.weight"][0])
    first = renamed["prompt_encoder.shared_embedding.positional_embedding"]
    second = renamed["shared_image_embedding.positional_embedding"]
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()


def test_names_of_transformers_stay_as_they_are():
    renamed = sam2_state(empty(layouts.sam2(TINY)))
    assert sam2_state(renamed).keys() == renamed.keys()


def test_half_a_sam2_1_is_named():
    state = empty(layouts.sam2(TINY))
    del state["no_obj_embed_spatial"]
    with pytest.raises(InputError, match="but not no_obj_embed_spatial"):
        is_sam2_1(state)
    del state["sam_prompt_encoder.point_embeddings.2.weight"]
    with pytest.raises(InputError, match=r"point_embed\.2"):
        sam2_state(state)


def test_the_small_sam2_is_as_large_as_its_authors_state():
    official = empty(layouts.sam2(TINY))
    assert sum(t.numel() for t in official.values()) - 256 == 38_962_498  # sam2-base.md
