"""Attention of 2D U-Nets: over channels, over positions, and gates on skip connections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Weighs channels by what they hold on average (Hu et al. 2018, arXiv 1709.01507).

    Args:
        channels: of the features.
        reduction: of the layer between, which has at least one channel.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> the same shape."""
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(features, 1)))))
        return features * weights


class BlockAttention(nn.Module):
    """Weighs channels, then positions (CBAM; Woo et al. 2018, arXiv 1807.06521, sections 3.1 and 3.2).

    Args:
        channels: of the features.
        reduction: of the layer between, which has at least one channel.
        kernel: of the convolution over positions.
    """

    def __init__(self, channels: int, *, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False), nn.ReLU(), nn.Conv2d(inner, channels, 1, bias=False)
        )
        self.positions = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> the same shape."""
        average, highest = (pool(features, 1) for pool in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d))
        features = features * torch.sigmoid(self.shared(average) + self.shared(highest))
        seen = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return features * torch.sigmoid(self.positions(seen))


class AttentionGate(nn.Module):
    """Weighs the positions of a skip connection by coarser features (Oktay et al. 2018, arXiv 1804.03999, eq. 1, 2).

    sigmoid(psi(ReLU(theta(skip) + sum of up(phi(coarser))))) x skip, with 1x1 convolutions theta, phi and psi and
    bilinear up-sampling.

    Args:
        skip: channels of the skip connection.
        coarser: channels of each of the coarser features.
        inner: channels in which they are added.
        norm: batch norm behind each convolution.
    """

    def __init__(self, skip: int, coarser: Sequence[int], *, inner: int, norm: bool) -> None:
        super().__init__()
        self.theta = _pointwise(skip, inner, norm=norm)
        self.phi = nn.ModuleList(_pointwise(channels, inner, norm=norm) for channels in coarser)
        self.psi = _pointwise(inner, 1, norm=norm)

    def forward(self, skip: Tensor, coarser: Sequence[Tensor]) -> Tensor:
        """The skip connection weighed, (batch, skip, rows, columns)."""
        size = skip.shape[2:]
        total = self.theta(skip)
        for phi, features in zip(self.phi, coarser, strict=True):
            total = total + F.interpolate(phi(features), size, mode="bilinear", align_corners=False)
        return skip * torch.sigmoid(self.psi(F.relu(total)))


class ResidualBlock(nn.Module):
    """conv3-BN-ReLU-conv3-BN, attention where given, plus a 1x1 convolution of what came in, ReLU.

    Args:
        source: channels that come in.
        target: channels that go out.
        attention: on the branch of the convolutions, as the SE-ResNet of Hu et al. 2018 has it.
    """

    def __init__(self, source: int, target: int, *, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(source, target, 3, padding=1, bias=False),
            nn.BatchNorm2d(target),
            nn.ReLU(inplace=True),
            nn.Conv2d(target, target, 3, padding=1, bias=False),
            nn.BatchNorm2d(target),
        )
        self.attention = attention or nn.Identity()
        self.shortcut = nn.Conv2d(source, target, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, source, rows, columns) -> (batch, target, rows, columns)."""
        return F.relu(self.attention(self.branch(x)) + self.shortcut(x))


def _pointwise(source: int, target: int, *, norm: bool) -> nn.Module:
    convolution = nn.Conv2d(source, target, 1, bias=not norm)
    return nn.Sequential(convolution, nn.BatchNorm2d(target)) if norm else convolution
