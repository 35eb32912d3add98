"""ResNet v2 with weight-standardised convolutions and group norm: the stem of hybrid vision transformers.

Kolesnikov et al., Big Transfer, ECCV 2020 (arXiv 1912.11370); as the R50 of Dosovitskiy et al. 2021
(arXiv 2010.11929). Names of the state dict are those of the widely used PyTorch port.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32


class StandardisedConvolution(nn.Conv2d):
    """Convolution without bias whose filters have mean 0 and variance 1 (Qiao et al. 2019)."""

    def __init__(self, channels_in: int, channels_out: int, size: int, *, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, size, stride, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, rows, columns) to (batch, channels_out, rows / stride, columns / stride)."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        filters = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        return F.conv2d(x, filters, None, self.stride, self.padding)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, each with group norm, added to the input; ReLU after the sum.

    Args:
        channels_in: that come in.
        inner: channels of the 3x3 convolution; four times as many go out.
        stride: of the 3x3 convolution.
    """

    def __init__(self, channels_in: int, inner: int, *, stride: int = 1) -> None:
        super().__init__()
        channels_out = 4 * inner
        self.conv1 = StandardisedConvolution(channels_in, inner, 1)
        self.gn1 = _group_norm(inner)
        self.conv2 = StandardisedConvolution(inner, inner, 3, stride=stride)
        self.gn2 = _group_norm(inner)
        self.conv3 = StandardisedConvolution(inner, channels_out, 1)
        self.gn3 = _group_norm(channels_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = StandardisedConvolution(channels_in, channels_out, 1, stride=stride)
            # One group a channel, and PyTorch's own epsilon: so the weights were converted and used.
            self.gn_proj = nn.GroupNorm(channels_out, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, rows, columns) to (batch, 4 inner, rows / stride, columns / stride)."""
        kept = x if self.downsample is None else self.gn_proj(self.downsample(x))
        x = F.relu(self.gn1(self.conv1(x)))
        x = F.relu(self.gn2(self.conv2(x)))
        return F.relu(kept + self.gn3(self.conv3(x)))


class Pyramid(NamedTuple):
    """What a stem gives: its deepest features, and those on the way there, deepest first."""

    features: Tensor
    skips: tuple[Tensor, ...]


class ResNetV2(nn.Module):
    """7x7 convolution, max-pooling and three stages of bottlenecks.

    Args:
        channels: of the image.
        width: filters of the first convolution: 8, 16 or a multiple of 32; R50 has 64.
        units: bottlenecks of the three stages.
    """

    def __init__(self, channels: int, width: int, units: Sequence[int]) -> None:
        super().__init__()
        self.root = nn.Sequential()
        self.root.add_module("conv", StandardisedConvolution(channels, width, 7, stride=2))
        self.root.add_module("gn", _group_norm(width))
        self.root.add_module("relu", nn.ReLU(inplace=True))
        self.body = nn.Sequential()
        for stage, count in enumerate(units):
            inner = width * 2**stage
            first = Bottleneck(width if stage == 0 else 2 * inner, inner, stride=1 if stage == 0 else 2)
            block = nn.Sequential()
            for number, unit in enumerate([first, *(Bottleneck(4 * inner, inner) for _ in range(count - 1))], start=1):
                block.add_module(f"unit{number}", unit)
            self.body.add_module(f"block{stage + 1}", block)

    def forward(self, x: Tensor) -> Pyramid:
        """Images (batch, channels, rows, columns), multiples of 16, to features at 1/16, skips at 1/8, 1/4 and 1/2.

        Channels are 16, 8, 4 and 1 times the width.
        """
        half = self.root(x)
        # Pooling without padding loses one row and column; only the copy for the skip gets them back, as zeros.
        quarter = self.body[0](F.max_pool2d(half, 3, 2))
        eighth = self.body[1](quarter)
        return Pyramid(self.body[2](eighth), (eighth, F.pad(quarter, (0, 1, 0, 1)), half))


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(GROUPS, channels), channels, eps=1e-6)
