"""TinyViT as the image encoder of MobileSAM and LiteMedSAM, under their official state-dict names.

Wu et al., TinyViT, ECCV 2022 (arXiv 2207.10666); Zhang et al., MobileSAM, 2023 (arXiv 2306.14289).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

#: How pixels become the 64-channel map of stage 0: MobileSAM halves twice (1024 px -> 256),
#: LiteMedSAM keeps every pixel (256 px -> 256); both give a 64 x 64 embedding.
Patches = Literal["mobile_sam", "lite_medsam"]

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
EMBEDDING = 256


class TinyViT(nn.Module):
    """TinyViT-5M with SAM's neck.

    Shape: (batch, 3, s, s) in [0, 1] -> (batch, 256, s/16, s/16) for `mobile_sam`, s/4 for `lite_medsam`.
    """

    def __init__(self, patches: Patches) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(patches)
        self.layers = nn.ModuleList(Stage(number) for number in range(len(WIDTHS)))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], EMBEDDING, 1, bias=False),
            ChannelNorm(EMBEDDING),
            nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False),
            ChannelNorm(EMBEDDING),
        )

    def forward(self, image: Tensor) -> Tensor:
        """The embedding of a batch of images."""
        features = self.patch_embed(image)
        for layer in self.layers:
            features = layer(features)
        embedding: Tensor = self.neck(features)
        return embedding


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm."""

    def __init__(self, channels_in: int, channels_out: int, size: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module(
            "c", nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, groups=groups, bias=False)
        )
        self.add_module("bn", nn.BatchNorm2d(channels_out))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (batch, channel, row, column)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        """Normalised features of the same shape."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PatchEmbedding(nn.Module):
    """Two convolutions from pixels to the width of stage 0."""

    def __init__(self, patches: Patches) -> None:
        super().__init__()
        size, stride = {"mobile_sam": (3, 2), "lite_medsam": (1, 1)}[patches]
        width = WIDTHS[0]
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, size, stride=stride), nn.GELU(), ConvNorm(width // 2, width, size, stride=stride)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Features of stage 0."""
        features: Tensor = self.seq(image)
        return features


class Stage(nn.Module):
    """Blocks of one width, then the step to the next width; the last stage has no step."""

    def __init__(self, number: int) -> None:
        super().__init__()
        width = WIDTHS[number]
        blocks = (
            MobileBlock(width) if number == 0 else WindowBlock(width, HEADS[number], WINDOWS[number])
            for _ in range(DEPTHS[number])
        )
        self.blocks = nn.ModuleList(blocks)
        last = number + 1 == len(WIDTHS)
        self.downsample = None if last else Merging(width, WIDTHS[number + 1])

    def forward(self, features: Tensor) -> Tensor:
        """(batch, width, h, w) -> the next stage's width and size."""
        for block in self.blocks:
            features = block(features)
        return features if self.downsample is None else self.downsample(features)


class MobileBlock(nn.Module):
    """Inverted bottleneck: widen four times, depthwise 3 x 3, narrow; activation after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, 4 * width)
        self.conv2 = ConvNorm(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = ConvNorm(4 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        wide = functional.gelu(self.conv2(functional.gelu(self.conv1(features))))
        return functional.gelu(features + self.conv3(wide))


class Merging(nn.Module):
    """The step to the next width; halves the map, except in front of SAM's last stage."""

    def __init__(self, width: int, next_width: int) -> None:
        super().__init__()
        stride = 1 if next_width == WIDTHS[-1] else 2
        self.conv1 = ConvNorm(width, next_width)
        self.conv2 = ConvNorm(next_width, next_width, 3, stride=stride, groups=next_width)
        self.conv3 = ConvNorm(next_width, next_width)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, width, h, w) -> (batch, next_width, h/stride, w/stride)."""
        merged: Tensor = self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(features)))))
        return merged


class WindowBlock(nn.Module):
    """Attention inside windows, depthwise 3 x 3 convolution, multilayer perceptron."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Perceptron(width)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        pixels = features.permute(0, 2, 3, 1)
        pixels = pixels + self._attended(pixels)
        pixels = self.local_conv(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        pixels = pixels + self.mlp(pixels)
        mixed: Tensor = pixels.permute(0, 3, 1, 2)
        return mixed

    def _attended(self, pixels: Tensor) -> Tensor:
        # The map is padded with zeros to whole windows and the padding takes part in the attention,
        # as in the official code; the weights were trained that way.
        batch, rows, columns, width = pixels.shape
        side = self.window
        # Rounded up with positive numbers alone: exported to ONNX, a division rounds towards zero.
        down, across = (rows + side - 1) // side, (columns + side - 1) // side
        padded = functional.pad(pixels, (0, 0, 0, across * side - columns, 0, down * side - rows))
        windows = padded.view(batch, down, side, across, side, width).transpose(2, 3)
        attended: Tensor = self.attn(windows.reshape(-1, side * side, width))
        attended = attended.view(batch, down, across, side, side, width).transpose(2, 3)
        return attended.reshape(batch, down * side, across * side, width)[:, :rows, :columns]


class WindowAttention(nn.Module):
    """Multi-head attention between the pixels of a window, with one learnt bias per head and distance."""

    bias_index: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("bias_index", distance_index(window), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(windows, pixels, width) -> the same shape."""
        windows, pixels, width = tokens.shape
        # Each head's query, key and value lie side by side in the official weights.
        heads = self.qkv(self.norm(tokens)).view(windows, pixels, self.heads, -1).transpose(1, 2)
        query, key, value = heads.chunk(3, dim=-1)
        bias = self.attention_biases[:, self.bias_index]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        attended: Tensor = self.proj(mixed.transpose(1, 2).reshape(windows, pixels, width))
        return attended


class Perceptron(nn.Module):
    """Layer norm, then two linear layers, four times wider between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape, channels last."""
        changed: Tensor = self.fc2(functional.gelu(self.fc1(self.norm(features))))
        return changed


def distance_index(window: int) -> Tensor:
    """Which bias two pixels of a window share, as (pixels, pixels) numbers |dy| * window + |dx|.

    The official table is filled in the order in which pairs of pixels first show a distance, which is this order.
    """
    position = torch.arange(window)
    apart = (position[:, None] - position[None, :]).abs()
    index = apart[:, None, :, None] * window + apart[None, :, None, :]
    return index.reshape(window * window, window * window)
