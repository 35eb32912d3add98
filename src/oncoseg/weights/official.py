"""Names and shapes of official checkpoints, as the authors' code builds them: what a whole file must hold.

Read in facebookresearch/segment-anything (`modeling/`), facebookresearch/sam2 (`sam2/modeling/`, `sam2/configs/`),
OpenGVLab/SAM-Med2D (`segment_anything/modeling/image_encoder.py`), uni-medical/SAM-Med3D
(`segment_anything/modeling/`, the files `..._3D.py`) and ChaoningZhang/MobileSAM
(`mobile_sam/modeling/tiny_vit_sam.py`). Buffers that hold numbers count as tensors, as in the files.
"""

from __future__ import annotations

from typing import NamedTuple

#: Shape of a tensor by its name.
Shapes = dict[str, tuple[int, ...]]


class VitSize(NamedTuple):
    """SAM's image encoder."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]


class HieraSize(NamedTuple):
    """SAM 2's image encoder: width of the first stage, blocks per stage, side of the position background."""

    width: int
    blocks: tuple[int, ...]
    background: int


SAM_SIZES = {
    "b": VitSize(768, 12, 12, (2, 5, 8, 11)),
    "l": VitSize(1024, 24, 16, (5, 11, 17, 23)),
    "h": VitSize(1280, 32, 16, (7, 15, 23, 31)),
}
SAM2_SIZES = {
    "tiny": HieraSize(96, (1, 2, 7, 2), 7),
    "small": HieraSize(96, (1, 2, 11, 2), 7),
    "base_plus": HieraSize(112, (2, 3, 16, 3), 14),
    "large": HieraSize(144, (2, 6, 36, 4), 7),
}


def _linear(name: str, size_in: int, size_out: int) -> Shapes:
    return {f"{name}.weight": (size_out, size_in), f"{name}.bias": (size_out,)}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _conv(name: str, size_in: int, size_out: int, kernel: int, *, bias: bool = True) -> Shapes:
    weight: Shapes = {f"{name}.weight": (size_out, size_in, kernel, kernel)}
    return {**weight, f"{name}.bias": (size_out,)} if bias else weight


def _mlp3(name: str, size: int, size_out: int) -> Shapes:
    return {
        **_linear(f"{name}.layers.0", size, size),
        **_linear(f"{name}.layers.1", size, size),
        **_linear(f"{name}.layers.2", size, size_out),
    }


def _attention(name: str, size: int, inner: int, memory: int | None = None) -> Shapes:
    return {
        **_linear(f"{name}.q_proj", size, inner),
        **_linear(f"{name}.k_proj", memory or size, inner),
        **_linear(f"{name}.v_proj", memory or size, inner),
        **_linear(f"{name}.out_proj", inner, size),
    }


def sam_vit(size: VitSize, *, image_size: int = 1024, window: int = 14, adapters: bool = False) -> Shapes:
    """SAM's image encoder for square images of `image_size` pixels; with the adapters of SAM-Med2D."""
    width, depth, heads, global_blocks = size
    grid, head = image_size // 16, width // heads
    names: Shapes = {"image_encoder.pos_embed": (1, grid, grid, width)}
    names |= _conv("image_encoder.patch_embed.proj", 3, width, 16)
    for n in range(depth):
        block, length = f"image_encoder.blocks.{n}", 2 * (grid if n in global_blocks else window) - 1
        names |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        names |= {f"{block}.attn.rel_pos_h": (length, head), f"{block}.attn.rel_pos_w": (length, head)}
        names |= _linear(f"{block}.attn.qkv", width, 3 * width) | _linear(f"{block}.attn.proj", width, width)
        names |= _linear(f"{block}.mlp.lin1", width, 4 * width) | _linear(f"{block}.mlp.lin2", 4 * width, width)
        if adapters:
            names |= _adapter(f"{block}.Adapter", width)
    return names | _neck(width)


def _adapter(name: str, width: int) -> Shapes:
    """Bias-free layers, and a norm."""
    return {
        **_norm(f"{name}.norm", width),
        f"{name}.channel.0.weight": (width // 4, width),
        f"{name}.channel.2.weight": (width, width // 4),
        f"{name}.spatial.0.weight": (width, width, 3, 3),
        f"{name}.spatial.2.weight": (width, width, 4, 4),
    }


def _neck(width: int) -> Shapes:
    names = _conv("image_encoder.neck.0", width, 256, 1, bias=False) | _norm("image_encoder.neck.1", 256)
    return names | _conv("image_encoder.neck.2", 256, 256, 3, bias=False) | _norm("image_encoder.neck.3", 256)


def tiny_vit(kernel: int) -> Shapes:
    """TinyViT-5M with SAM's neck; `kernel` of the patch embedding is 3 for MobileSAM, 1 for LiteMedSAM."""
    widths, depths, windows, heads = (64, 128, 160, 320), (2, 2, 6, 2), (7, 7, 14, 7), (2, 4, 5, 10)
    names = _conv_norm("image_encoder.patch_embed.seq.0", 3, 32, kernel)
    names |= _conv_norm("image_encoder.patch_embed.seq.2", 32, 64, kernel)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        layer = f"image_encoder.layers.{stage}"
        for n in range(depth):
            block = f"{layer}.blocks.{n}"
            if stage:
                names |= _window_block(block, width, heads[stage], windows[stage])
            else:
                names |= _conv_norm(f"{block}.conv1", width, 4 * width, 1)
                names |= _conv_norm(f"{block}.conv2", 1, 4 * width, 3) | _conv_norm(
                    f"{block}.conv3", 4 * width, width, 1
                )
        if stage < 3:
            following = widths[stage + 1]
            names |= _conv_norm(f"{layer}.downsample.conv1", width, following, 1)
            names |= _conv_norm(f"{layer}.downsample.conv2", 1, following, 3)
            names |= _conv_norm(f"{layer}.downsample.conv3", following, following, 1)
    return names | _neck(320)


def _conv_norm(name: str, size_in: int, size_out: int, kernel: int) -> Shapes:
    running: Shapes = {f"{name}.bn.running_mean": (size_out,), f"{name}.bn.running_var": (size_out,)}
    counted: Shapes = {f"{name}.bn.num_batches_tracked": ()}
    return _conv(f"{name}.c", size_in, size_out, kernel, bias=False) | _norm(f"{name}.bn", size_out) | running | counted


def _window_block(name: str, width: int, heads: int, window: int) -> Shapes:
    names: Shapes = {f"{name}.attn.attention_biases": (heads, window * window)}
    names |= _norm(f"{name}.attn.norm", width) | _linear(f"{name}.attn.qkv", width, 3 * width)
    names |= _linear(f"{name}.attn.proj", width, width) | _conv_norm(f"{name}.local_conv", 1, width, 3)
    names |= _norm(f"{name}.mlp.norm", width) | _linear(f"{name}.mlp.fc1", width, 4 * width)
    return names | _linear(f"{name}.mlp.fc2", 4 * width, width)


def sam_prompt_encoder(name: str = "prompt_encoder") -> Shapes:
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


def sam_mask_decoder(name: str = "mask_decoder", *, perceptron: tuple[str, str] = ("lin1", "lin2")) -> Shapes:
    """SAM's mask decoder; SAM 2 calls the layers of its `perceptron` otherwise."""
    names: Shapes = {f"{name}.iou_token.weight": (1, 256), f"{name}.mask_tokens.weight": (4, 256)}
    names |= _two_way(f"{name}.transformer", 256, perceptron)
    names |= {f"{name}.output_upscaling.0.weight": (256, 64, 2, 2), f"{name}.output_upscaling.0.bias": (64,)}
    names |= _norm(f"{name}.output_upscaling.1", 64)
    names |= {f"{name}.output_upscaling.3.weight": (64, 32, 2, 2), f"{name}.output_upscaling.3.bias": (32,)}
    for k in range(4):
        names |= _mlp3(f"{name}.output_hypernetworks_mlps.{k}", 256, 32)
    return names | _mlp3(f"{name}.iou_prediction_head", 256, 4)


def _two_way(name: str, width: int, perceptron: tuple[str, str] = ("lin1", "lin2")) -> Shapes:
    names: Shapes = {}
    for n in range(2):
        layer = f"{name}.layers.{n}"
        names |= _attention(f"{layer}.self_attn", width, width)
        names |= _attention(f"{layer}.cross_attn_token_to_image", width, width // 2)
        names |= _attention(f"{layer}.cross_attn_image_to_token", width, width // 2)
        for k in range(1, 5):
            names |= _norm(f"{layer}.norm{k}", width)
        names |= _linear(f"{layer}.mlp.{perceptron[0]}", width, 2048)
        names |= _linear(f"{layer}.mlp.{perceptron[1]}", 2048, width)
    names |= _attention(f"{name}.final_attn_token_to_image", width, width // 2)
    return names | _norm(f"{name}.norm_final_attn", width)


def sam(size: VitSize, *, image_size: int = 1024, adapters: bool = False) -> Shapes:
    """SAM and MedSAM; with `image_size=256, adapters=True` SAM-Med2D."""
    return sam_vit(size, image_size=image_size, adapters=adapters) | sam_prompt_encoder() | sam_mask_decoder()


def tiny_sam(kernel: int) -> Shapes:
    """MobileSAM (kernel 3) and LiteMedSAM (kernel 1)."""
    return tiny_vit(kernel) | sam_prompt_encoder() | sam_mask_decoder()


def sam_med3d() -> Shapes:
    """SAM-Med3D, ViT-B for cubes of 128 voxels: SAM's names with shapes of three axes, and two kinds of clicks."""
    names: Shapes = {"image_encoder.pos_embed": (1, 8, 8, 8, 768)}
    names |= _conv3("image_encoder.patch_embed.proj", 1, 768, 16)
    for n in range(12):
        block, length = f"image_encoder.blocks.{n}", 15 if n in SAM_SIZES["b"].global_blocks else 27
        names |= _norm(f"{block}.norm1", 768) | _norm(f"{block}.norm2", 768)
        names |= {f"{block}.attn.rel_pos_{axis}": (length, 64) for axis in "dhw"}
        names |= _linear(f"{block}.attn.qkv", 768, 3 * 768) | _linear(f"{block}.attn.proj", 768, 768)
        names |= _linear(f"{block}.mlp.lin1", 768, 4 * 768) | _linear(f"{block}.mlp.lin2", 4 * 768, 768)
    names |= {"image_encoder.neck.0.weight": (384, 768, 1, 1, 1), "image_encoder.neck.2.weight": (384, 384, 3, 3, 3)}
    names |= _norm("image_encoder.neck.1", 384) | _norm("image_encoder.neck.3", 384)
    prompts, masks = "prompt_encoder", "mask_decoder"
    names |= {f"{prompts}.pe_layer.positional_encoding_gaussian_matrix": (3, 128)}
    for name in ("point_embeddings.0", "point_embeddings.1", "not_a_point_embed", "no_mask_embed"):
        names |= {f"{prompts}.{name}.weight": (1, 384)}
    down = f"{prompts}.mask_downscaling"
    names |= _conv3(f"{down}.0", 1, 4, 2) | _norm(f"{down}.1", 4) | _conv3(f"{down}.3", 4, 16, 2)
    names |= _norm(f"{down}.4", 16) | _conv3(f"{down}.6", 16, 384, 1)
    names |= _two_way(f"{masks}.transformer", 384)
    names |= {f"{masks}.iou_token.weight": (1, 384), f"{masks}.mask_tokens.weight": (4, 384)}
    up = f"{masks}.output_upscaling"
    names |= {f"{up}.0.weight": (384, 96, 2, 2, 2), f"{up}.0.bias": (96,)} | _norm(f"{up}.1", 96)
    names |= {f"{up}.3.weight": (96, 48, 2, 2, 2), f"{up}.3.bias": (48,)}
    for k in range(4):
        names |= _mlp3(f"{masks}.output_hypernetworks_mlps.{k}", 384, 48)
    head = f"{masks}.iou_prediction_head.layers"
    return names | _linear(f"{head}.0", 384, 256) | _linear(f"{head}.1", 256, 256) | _linear(f"{head}.2", 256, 4)


def _conv3(name: str, size_in: int, size_out: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (size_out, size_in, kernel, kernel, kernel), f"{name}.bias": (size_out,)}


def sam2(size: HieraSize, version: str = "2.1") -> Shapes:
    """SAM 2; `version` "2.1" has three tensors more than "2.0"."""
    width, stages, background = size
    names: Shapes = {
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
    names |= sam_mask_decoder("sam_mask_decoder", perceptron=("layers.0", "layers.1"))
    names |= {"sam_mask_decoder.obj_score_token.weight": (1, 256)}
    names |= _conv("sam_mask_decoder.conv_s0", 256, 32, 1) | _conv("sam_mask_decoder.conv_s1", 256, 64, 1)
    names |= _mlp3("sam_mask_decoder.pred_obj_score_head", 256, 1)
    return names | _mlp3("obj_ptr_proj", 256, 256) | _memory()


def _hiera(width: int, stages: tuple[int, ...], background: int) -> Shapes:
    trunk = "image_encoder.trunk"
    names: Shapes = {
        f"{trunk}.pos_embed": (1, width, background, background),
        f"{trunk}.pos_embed_window": (1, width, 8, 8),
    }
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


def _memory() -> Shapes:
    names: Shapes = {}
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
