"""Names and shapes of official checkpoints, written down from the authors' code; tests fill them with random numbers.

Read in facebookresearch/segment-anything (`modeling/`), facebookresearch/sam2 (`sam2/modeling/`, `sam2/configs/`) and
OpenGVLab/SAM-Med2D (`segment_anything/modeling/image_encoder.py`), and compared once with the networks they build.
"""

import torch

SAM_SIZES = {  # width, depth, heads, global blocks
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}
SAM2_SIZES = {  # width, heads of stage 1, blocks per stage, side of the position background
    "tiny": (96, 1, (1, 2, 7, 2), 7),
    "small": (96, 1, (1, 2, 11, 2), 7),
    "base_plus": (112, 2, (2, 3, 16, 3), 14),
    "large": (144, 2, (2, 6, 36, 4), 7),
}


def filled(shapes, seed=0):
    """Random tensors of a layout."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in shapes.items()}


def empty(shapes):
    """Tensors without content, for layouts too big to fill."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _linear(name, size_in, size_out):
    return {f"{name}.weight": (size_out, size_in), f"{name}.bias": (size_out,)}


def _norm(name, size):
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _conv(name, size_in, size_out, kernel, bias=True):
    weight = {f"{name}.weight": (size_out, size_in, kernel, kernel)}
    return {**weight, f"{name}.bias": (size_out,)} if bias else weight


def _mlp3(name, size, size_out):
    return {
        **_linear(f"{name}.layers.0", size, size),
        **_linear(f"{name}.layers.1", size, size),
        **_linear(f"{name}.layers.2", size, size_out),
    }


def _attention(name, size, inner, memory=None):
    return {
        **_linear(f"{name}.q_proj", size, inner),
        **_linear(f"{name}.k_proj", memory or size, inner),
        **_linear(f"{name}.v_proj", memory or size, inner),
        **_linear(f"{name}.out_proj", inner, size),
    }


def sam_vit(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11), *, image_size=1024, window=14, adapters=False):
    """SAM's image encoder; with the adapters of SAM-Med2D."""
    grid, head = image_size // 16, width // heads
    names = {"image_encoder.pos_embed": (1, grid, grid, width)}
    names |= _conv("image_encoder.patch_embed.proj", 3, width, 16)
    for n in range(depth):
        block, length = f"image_encoder.blocks.{n}", 2 * (grid if n in global_blocks else window) - 1
        names |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        names |= {f"{block}.attn.rel_pos_h": (length, head), f"{block}.attn.rel_pos_w": (length, head)}
        names |= _linear(f"{block}.attn.qkv", width, 3 * width) | _linear(f"{block}.attn.proj", width, width)
        names |= _linear(f"{block}.mlp.lin1", width, 4 * width) | _linear(f"{block}.mlp.lin2", 4 * width, width)
        if adapters:
            names |= _norm(f"{block}.Adapter.norm", width)
            names |= {f"{block}.Adapter.channel.0.weight": (width // 4, width)}
            names |= {f"{block}.Adapter.channel.2.weight": (width, width // 4)}
            names |= {f"{block}.Adapter.spatial.0.weight": (width, width, 3, 3)}
            names |= {f"{block}.Adapter.spatial.2.weight": (width, width, 4, 4)}
    names |= _conv("image_encoder.neck.0", width, 256, 1, bias=False) | _norm("image_encoder.neck.1", 256)
    return names | _conv("image_encoder.neck.2", 256, 256, 3, bias=False) | _norm("image_encoder.neck.3", 256)


def sam_prompt_encoder(name="prompt_encoder"):
    """SAM's prompt encoder."""
    down = f"{name}.mask_downscaling"
    return {
        f"{name}.pe_layer.positional_encoding_gaussian_matrix": (2, 128),
        **{f"{name}.point_embeddings.{i}.weight": (1, 256) for i in range(4)},
        f"{name}.not_a_point_embed.weight": (1, 256),
        f"{name}.no_mask_embed.weight": (1, 256),
        **_conv(f"{down}.0", 1, 4, 2),
        **_norm(f"{down}.1", 4),
        **_conv(f"{down}.3", 4, 16, 2),
        **_norm(f"{down}.4", 16),
        **_conv(f"{down}.6", 16, 256, 1),
    }


def sam_mask_decoder(name="mask_decoder", mlp="lin{}", first=1):
    """SAM's mask decoder; SAM 2 calls the linear layers of its perceptrons otherwise."""
    transformer = f"{name}.transformer"
    names = {f"{name}.iou_token.weight": (1, 256), f"{name}.mask_tokens.weight": (4, 256)}
    for n in range(2):
        layer = f"{transformer}.layers.{n}"
        names |= _attention(f"{layer}.self_attn", 256, 256)
        names |= _attention(f"{layer}.cross_attn_token_to_image", 256, 128)
        names |= _attention(f"{layer}.cross_attn_image_to_token", 256, 128)
        for k in range(1, 5):
            names |= _norm(f"{layer}.norm{k}", 256)
        names |= _linear(f"{layer}.mlp.{mlp.format(first)}", 256, 2048)
        names |= _linear(f"{layer}.mlp.{mlp.format(first + 1)}", 2048, 256)
    names |= _attention(f"{transformer}.final_attn_token_to_image", 256, 128)
    names |= _norm(f"{transformer}.norm_final_attn", 256)
    names |= {f"{name}.output_upscaling.0.weight": (256, 64, 2, 2), f"{name}.output_upscaling.0.bias": (64,)}
    names |= _norm(f"{name}.output_upscaling.1", 64)
    names |= {f"{name}.output_upscaling.3.weight": (64, 32, 2, 2), f"{name}.output_upscaling.3.bias": (32,)}
    for k in range(4):
        names |= _mlp3(f"{name}.output_hypernetworks_mlps.{k}", 256, 32)
    return names | _mlp3(f"{name}.iou_prediction_head", 256, 4)


def sam(size="vit_b", **options):
    """SAM, MedSAM (`vit_b`) and, with `image_size=256, adapters=True`, SAM-Med2D."""
    return sam_vit(*SAM_SIZES[size], **options) | sam_prompt_encoder() | sam_mask_decoder()


def sam2(size="tiny", version="2.1"):
    """SAM 2, with the names that 2.1 added or without."""
    width, _, stages, background = SAM2_SIZES[size]
    names = {
        "maskmem_tpos_enc": (7, 1, 1, 64),
        "no_mem_embed": (1, 1, 256),
        "no_mem_pos_enc": (1, 1, 256),
        "no_obj_ptr": (1, 256),
        "mask_downsample.weight": (1, 1, 4, 4),
        "mask_downsample.bias": (1,),
    }
    if version == "2.1":
        names |= {"no_obj_embed_spatial": (1, 64)} | _linear("obj_ptr_tpos_proj", 256, 64)
    names |= _hiera(width, stages, background)
    names |= sam_prompt_encoder("sam_prompt_encoder")
    names |= sam_mask_decoder("sam_mask_decoder", mlp="layers.{}", first=0)
    names |= {"sam_mask_decoder.obj_score_token.weight": (1, 256)}
    names |= _conv("sam_mask_decoder.conv_s0", 256, 32, 1) | _conv("sam_mask_decoder.conv_s1", 256, 64, 1)
    names |= _mlp3("sam_mask_decoder.pred_obj_score_head", 256, 1)
    return names | _mlp3("obj_ptr_proj", 256, 256) | _memory()


def _hiera(width, stages, background):
    trunk = "image_encoder.trunk"
    names = {f"{trunk}.pos_embed": (1, width, background, background), f"{trunk}.pos_embed_window": (1, width, 8, 8)}
    names |= _conv(f"{trunk}.patch_embed.proj", 3, width, 7)
    number = 0
    for stage, blocks in enumerate(stages):
        for place in range(blocks):
            block, size = f"{trunk}.blocks.{number}", width * 2**stage
            before = size // 2 if stage and not place else size
            names |= _norm(f"{block}.norm1", before) | _norm(f"{block}.norm2", size)
            names |= _linear(f"{block}.attn.qkv", before, 3 * size) | _linear(f"{block}.attn.proj", size, size)
            names |= _linear(f"{block}.mlp.layers.0", size, 4 * size) | _linear(f"{block}.mlp.layers.1", 4 * size, size)
            if before != size:
                names |= _linear(f"{block}.proj", before, size)
            number += 1
    for level in range(4):
        names |= _conv(f"image_encoder.neck.convs.{level}.conv", width * 2 ** (3 - level), 256, 1)
    return names


def _memory():
    names = {}
    for n in range(4):
        layer = f"memory_attention.layers.{n}"
        names |= _attention(f"{layer}.self_attn", 256, 256) | _attention(f"{layer}.cross_attn_image", 256, 256, 64)
        names |= _linear(f"{layer}.linear1", 256, 2048) | _linear(f"{layer}.linear2", 2048, 256)
        for k in range(1, 4):
            names |= _norm(f"{layer}.norm{k}", 256)
    names |= _norm("memory_attention.norm", 256)
    for k, (size_in, size_out) in enumerate(((1, 4), (4, 16), (16, 64), (64, 256))):
        names |= _conv(f"memory_encoder.mask_downsampler.encoder.{3 * k}", size_in, size_out, 3)
        names |= _norm(f"memory_encoder.mask_downsampler.encoder.{3 * k + 1}", size_out)
    names |= _conv("memory_encoder.mask_downsampler.encoder.12", 256, 256, 1)
    names |= _conv("memory_encoder.pix_feat_proj", 256, 256, 1)
    for n in range(2):
        layer = f"memory_encoder.fuser.layers.{n}"
        names |= {f"{layer}.gamma": (256,)} | _conv(f"{layer}.dwconv", 1, 256, 7) | _norm(f"{layer}.norm", 256)
        names |= _linear(f"{layer}.pwconv1", 256, 1024) | _linear(f"{layer}.pwconv2", 1024, 256)
    return names | _conv("memory_encoder.out_proj", 256, 64, 1)
