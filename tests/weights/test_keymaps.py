import pytest

from oncoseg.errors import InputError
from oncoseg.weights.keymaps import SAM_PROMPT_AND_MASK, is_official_sam, rename

OFFICIAL_TO_OURS = {
    "prompt_encoder.point_embeddings.2.weight": "prompt_encoder.point_embed.2.weight",
    "prompt_encoder.mask_downscaling.4.bias": "prompt_encoder.mask_embed.layer_norm2.bias",
    "prompt_encoder.mask_downscaling.6.weight": "prompt_encoder.mask_embed.conv3.weight",
    "prompt_encoder.no_mask_embed.weight": "prompt_encoder.no_mask_embed.weight",
    "mask_decoder.output_upscaling.1.weight": "mask_decoder.upscale_layer_norm.weight",
    "mask_decoder.output_hypernetworks_mlps.3.layers.0.bias": "mask_decoder.output_hypernetworks_mlps.3.proj_in.bias",
    "mask_decoder.output_hypernetworks_mlps.3.layers.1.bias": "mask_decoder.output_hypernetworks_mlps.3.layers.0.bias",
    "mask_decoder.iou_prediction_head.layers.2.weight": "mask_decoder.iou_prediction_head.proj_out.weight",
    "mask_decoder.transformer.layers.1.norm4.bias": "mask_decoder.transformer.layers.1.layer_norm4.bias",
    "mask_decoder.transformer.norm_final_attn.bias": "mask_decoder.transformer.layer_norm_final_attn.bias",
    "mask_decoder.transformer.layers.0.self_attn.out_proj.weight": (
        "mask_decoder.transformer.layers.0.self_attn.out_proj.weight"
    ),
    "image_encoder.layers.1.blocks.0.mlp.norm.weight": "image_encoder.layers.1.blocks.0.mlp.norm.weight",
}


def test_official_names_become_those_of_transformers():
    renamed = rename({key: key for key in OFFICIAL_TO_OURS}, SAM_PROMPT_AND_MASK)
    assert {old: new for new, old in renamed.items()} == OFFICIAL_TO_OURS


def test_the_order_of_the_rules_does_not_matter():
    state = {key: key for key in OFFICIAL_TO_OURS}
    assert rename(state, SAM_PROMPT_AND_MASK) == rename(state, SAM_PROMPT_AND_MASK[::-1])


def test_two_schemes_in_one_file_are_refused():
    both = {"prompt_encoder.point_embeddings.0.weight": 1, "prompt_encoder.point_embed.0.weight": 2}
    with pytest.raises(InputError, match="two naming schemes"):
        rename(both, SAM_PROMPT_AND_MASK)


def test_official_files_are_known_by_their_frequencies():
    assert is_official_sam({"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": 0})
    assert not is_official_sam({"prompt_encoder.shared_embedding.positional_embedding": 0})
