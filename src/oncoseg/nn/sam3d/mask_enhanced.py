"""M-SAM: SAM-Med3D whose embedding and earlier mask change each other before they are decoded, stage after stage.

Shi et al., Mask-Enhanced Segment Anything Model for Tumor Lesion Semantic Segmentation, MICCAI 2024 (arXiv 2403.05912).
Names of tensors are those of the authors' files: `bidatt` is their mask-enhanced adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from torch import Tensor, nn

from oncoseg.errors import ConfigError
from oncoseg.nn.sam3d.attention import Positions, VolumeAttention
from oncoseg.nn.sam3d.layers import Perceptron, VolumeNorm
from oncoseg.nn.sam3d.lora import add_low_rank
from oncoseg.nn.sam3d.network import Sam3d
from oncoseg.nn.sam_vit import SIZES, VitSize

#: Which embedding the next refinement stage starts from: the encoder's, as the released code does, or the enhanced one,
#: as the paper says (its figure 1).
Feed = Literal["code", "paper"]
#: What learns: `nothing`; `light`, all but the encoder's own weights; or `everything`.
Trained = Literal["nothing", "light", "everything"]


class MaskEnhancedSam(Sam3d):
    """M-SAM with random weights; as published it has 118,244,080 parameters, 25,319,152 of which learn.

    Without the adapter it is SAM-Med3D with low-rank changes, of which 8,174,128 parameters learn. Built so that what
    the paper trains learns, see `set_trained`.

    Against the authors' code with equal random weights, ViT-B at 128^3: logits of three stages differ by at most 8e-6
    (they reach 3.5), either way of feeding.

    Args:
        size: of the image encoder.
        image_size, patch_size: s and p in voxels; s is a multiple of p.
        width: of embeddings and prompts, a multiple of 48.
        positions: formula of the relative positions, also the adapter's.
        rank: of the low-rank changes; 0 for none. The released script says 4; 16 meets the paper's counts.
        adapter: whether the mask-enhanced adapter is there; without it mask prompts are added.
        feed: which embedding goes from stage to stage.

    Raises:
        ConfigError: when these do not fit together.
    """

    def __init__(
        self,
        size: VitSize = SIZES["b"],
        *,
        image_size: int = 128,
        patch_size: int = 16,
        width: int = 384,
        positions: Positions = "official",
        rank: int = 16,
        adapter: bool = True,
        feed: Feed = "code",
    ) -> None:
        super().__init__(size, image_size=image_size, patch_size=patch_size, width=width, positions=positions)
        if feed not in get_args(Feed):
            raise ConfigError(f"feed {feed!r} is none of {', '.join(get_args(Feed))}.")
        self.feed = feed
        if rank:
            add_low_rank(self.image_encoder, rank)
        self.bidatt = (
            MaskEnhancedAdapter(width, side=image_size // patch_size, positions=positions) if adapter else None
        )
        set_trained(self, "light")

    def source(self, embedding: Tensor, mask: Tensor) -> Tensor:
        """The enhanced embedding, which takes the place of the sum."""
        if self.bidatt is None:
            return super().source(embedding, mask)
        enhanced: Tensor = self.bidatt(embedding, mask)
        return enhanced

    def carried(self, embedding: Tensor, source: Tensor) -> Tensor:
        """The embedding of the next stage, as `feed` says."""
        return embedding if self.bidatt is None or self.feed == "code" else source


class MaskEnhancedAdapter(nn.Module):
    """An embedding that knows an earlier mask (figure 2 of the paper).

    Shape: twice (batch, width, n, n, n) to the same, n being `side`.

    Args:
        width: channels of both.
        side: n.
        heads: of its attentions; None for one for every 64 channels.
        positions: formula of the relative positions.
    """

    def __init__(
        self, width: int = 384, *, side: int = 8, heads: int | None = None, positions: Positions = "official"
    ) -> None:
        super().__init__()
        heads = heads or max(1, width // 64)
        self.bidirectional_attentions = nn.ModuleList(
            [MutualFeatureBlock(width, side=side, heads=heads, positions=positions)]
        )
        self.multi_head_self_attention = AttentionUnit(width, side=side, heads=heads, positions=positions)
        self.add_norm = VolumeNorm(width)
        self.add_norm2 = VolumeNorm(width)
        self.add_norm3 = VolumeNorm(width)
        # Never used, but the files hold it and the published counts count it.
        self.add_norm4 = VolumeNorm(width)
        self.mlp = Perceptron(width, 4 * width)

    def forward(self, embedding: Tensor, mask: Tensor) -> Tensor:
        """The enhanced embedding of an embedding and the encoded mask."""
        image, prompt = self.add_norm3(embedding), self.add_norm2(mask)
        image_changed, prompt_changed = image, prompt
        for block in self.bidirectional_attentions:
            image_changed, prompt_changed = block(image_changed, prompt_changed)
        together = image_changed + image + prompt_changed + prompt
        fused = self.add_norm(self.multi_head_self_attention(together) + together)
        enhanced: Tensor = fused + _everywhere(self.mlp, fused)
        return enhanced


class MutualFeatureBlock(nn.Module):
    """Two branches, of the image and of the mask, each of which looks at both (figure 2 of the paper).

    Shape: twice (batch, width, n, n, n) to two of the same.
    """

    def __init__(self, width: int, *, side: int, heads: int, positions: Positions) -> None:
        super().__init__()
        self.image_conv1 = nn.Conv3d(width, width, 3, padding=1)
        self.image_conv2 = nn.Conv3d(width, width, 1)
        self.prompt_conv1 = nn.Conv3d(width, width, 3, padding=1)
        self.prompt_conv2 = nn.Conv3d(width, width, 1)
        self.image_norm, self.prompt_norm = VolumeNorm(width), VolumeNorm(width)
        self.image_addnorm1, self.prompt_addnorm1 = VolumeNorm(width), VolumeNorm(width)
        self.image_addnorm2, self.prompt_addnorm2 = VolumeNorm(width), VolumeNorm(width)
        self.image_addnorm3, self.prompt_addnorm3 = VolumeNorm(width), VolumeNorm(width)
        self.image_multiheadattn = AttentionUnit(width, side=side, heads=heads, positions=positions)
        self.prompt_multiheadattn = AttentionUnit(width, side=side, heads=heads, positions=positions)
        self.mlp1, self.mlp2 = Perceptron(width, 4 * width), Perceptron(width, 4 * width)
        self.act = nn.GELU()

    def forward(self, image: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Both, changed."""
        local_image = self.image_conv2(self.act(self.image_norm(self.image_conv1(image))))
        local_image = self.image_addnorm1(local_image + image)
        local_prompt = self.prompt_conv2(self.act(self.prompt_norm(self.prompt_conv1(prompt))))
        local_prompt = self.prompt_addnorm1(local_prompt + prompt)
        seen_image = self.image_multiheadattn(local_image + image + prompt)
        seen_image = self.image_addnorm2(seen_image + local_image)
        seen_prompt = self.prompt_multiheadattn(local_prompt + image + prompt)
        seen_prompt = self.prompt_addnorm2(seen_prompt + local_prompt)
        return (
            self.image_addnorm3(_everywhere(self.mlp1, seen_image) + seen_image),
            self.prompt_addnorm3(_everywhere(self.mlp2, seen_prompt) + seen_prompt),
        )


class AttentionUnit(VolumeAttention):
    """Attention between a layer norm and a skip, then a layer norm and a perceptron without a skip.

    Shape: (batch, width, n, n, n) to the same.
    """

    def __init__(self, width: int, *, side: int, heads: int, positions: Positions) -> None:
        super().__init__(width, heads, side=side, positions=positions)
        self.norm1, self.norm2 = VolumeNorm(width), VolumeNorm(width)
        self.mlp = Perceptron(width, 4 * width)

    def forward(self, features: Tensor) -> Tensor:
        """Features after the unit."""
        attended = super().forward(self.norm1(features).movedim(1, -1)).movedim(-1, 1)
        return _everywhere(self.mlp, self.norm2(attended + features))


def set_trained(network: Sam3d, what: Trained) -> None:
    """Say which parameters of a network learn, by their `requires_grad`.

    Args:
        network: SAM-Med3D or M-SAM.
        what: `light` is what M-SAM trains: prompt encoder, mask decoder, adapter and low-rank changes.
    """
    for name, parameter in network.named_parameters():
        frozen = name.startswith("image_encoder.") and ".qkv.linear_" not in name
        parameter.requires_grad_(what == "everything" or (what == "light" and not frozen))


def official_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a file that M-SAM's trainer wrote, under the names of `MaskEnhancedSam`."""
    return {key.removeprefix("lora_sam.sam."): tensor for key, tensor in state.items()}


def with_base(network: MaskEnhancedSam, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What M-SAM starts from: SAM-Med3D's tensors, and the network's own where SAM-Med3D has none.

    Args:
        network: to be loaded, strictly.
        state: a SAM-Med3D.

    Returns:
        All tensors of the network, if SAM-Med3D's are complete; others are kept, so that a strict load names them.
    """
    own = network.state_dict()
    added = {key: own[key] for key in own if key.startswith("bidatt.") or ".qkv.linear_" in key}
    wrapped = {key: key.replace(".attn.qkv.", ".attn.qkv.qkv.") for key in state}
    return added | {wrapped[key] if wrapped[key] in own else key: tensor for key, tensor in state.items()}


def _everywhere(perceptron: nn.Module, features: Tensor) -> Tensor:
    """A perceptron at every place of (batch, width, n, n, n)."""
    changed: Tensor = perceptron(features.movedim(1, -1))
    return changed.movedim(-1, 1)
