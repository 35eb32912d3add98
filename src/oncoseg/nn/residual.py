"""Residual blocks of two or three dimensions, with instance norm and leaky ReLU as in nnU-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01


class Projecting(nn.Module):
    """Two convolutions that may change channels and size, a 1x1 convolution beside them."""

    def __init__(self, source: int, target: int, kernel: Sequence[int], *, stride: Sequence[int]) -> None:
        super().__init__()
        make, padding = convolution(len(kernel)), tuple(size // 2 for size in kernel)
        self.conv1 = make(source, target, tuple(kernel), tuple(stride), padding)
        self.norm1 = norm(len(kernel), target)
        self.conv2 = make(target, target, tuple(kernel), 1, padding)
        self.norm2 = norm(len(kernel), target)
        self.conv3 = make(source, target, 1)
        self.beside: tuple[EllipsisType | slice, ...] = (..., *(slice(None, None, step) for step in stride))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, source, *space) -> (batch, target, *space / stride)."""
        inner = F.leaky_relu(self.norm1(self.conv1(x)), SLOPE)
        # The stride of a 1x1 convolution is taken out of it: with few channels, channels last, oneDNN 3.12 (torch 2.13
        # on CPU) writes outside of its memory in the backward pass of such a convolution.
        return F.leaky_relu(self.norm2(self.conv2(inner)) + self.conv3(x[self.beside]), SLOPE)


class Keeping(nn.Module):
    """Two convolutions that keep channels and size, nothing beside them."""

    def __init__(self, channels: int, kernel: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = ConvolutionNorm(channels, kernel)
        self.conv2 = ConvolutionNorm(channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *space) -> the same shape."""
        return F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), SLOPE)) + x, SLOPE)


class ConvolutionNorm(nn.Module):
    """Convolution and instance norm."""

    def __init__(self, channels: int, kernel: Sequence[int]) -> None:
        super().__init__()
        padding = tuple(size // 2 for size in kernel)
        self.conv = convolution(len(kernel))(channels, channels, tuple(kernel), 1, padding)
        self.norm = norm(len(kernel), channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *space) -> the same shape."""
        normed: Tensor = self.norm(self.conv(x))
        return normed


def convolution(space: int) -> Callable[..., nn.Module]:
    """The convolution of 2 or 3 dimensions."""
    return {2: nn.Conv2d, 3: nn.Conv3d}[space]


def norm(space: int, channels: int) -> nn.Module:
    """Instance norm of 2 or 3 dimensions, with weight and bias, that also takes a single voxel."""
    return {2: _Norm2d, 3: _Norm3d}[space](channels, affine=True)


def he_initialise(network: nn.Module) -> None:
    """Normal weights for leaky ReLU (He et al. 2015) and zero biases in every convolution of 2 or 3 dimensions."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, a=SLOPE)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class _OneVoxel:
    """Torch refuses to normalise a single voxel; its distance from its own mean is 0 and the bias is left."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *space) -> the same shape."""
        if x[0, 0].numel() == 1:
            bias: Tensor = self.bias  # type: ignore[attr-defined]
            return bias.view(1, -1, *[1] * (x.ndim - 2)).expand(x.shape)
        normed: Tensor = super().forward(x)  # type: ignore[misc]
        return normed


class _Norm2d(_OneVoxel, nn.InstanceNorm2d):
    pass


class _Norm3d(_OneVoxel, nn.InstanceNorm3d):
    pass
