"""nnU-Net's network by its description, for counting; the one that learns is planned and built by nnunetv2 itself.

Isensee et al., nnU-Net, Nat Methods 18:203 (2021), supplement; its `PlainConvUNet`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: Channels by stage of the two networks whose parameters are published: for 128^3 patches and 512^2 slices.
STAGES_3D = (32, 64, 128, 256, 320, 320)
STAGES_2D = (32, 64, 128, 256, 512, 512, 512, 512)


class PlannedUnet(nn.Module):
    """Two convolutions with instance norm a stage, strided down, transposed up, an output at every resolution.

    Args:
        axes: 2 or 3.
        widths: channels of each stage, finest first; each stage halves the size of the one before.
        channels: of the input.
        outputs: classes with background.
    """

    def __init__(self, axes: int, widths: Sequence[int], *, channels: int = 1, outputs: int = 3) -> None:
        super().__init__()
        up: Any = nn.ConvTranspose3d if axes == 3 else nn.ConvTranspose2d
        head: Any = nn.Conv3d if axes == 3 else nn.Conv2d
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList([_stage(axes, channels, widths[0]), *(_stage(axes, a, b, 2) for a, b in pairs)])
        self.up = nn.ModuleList([up(b, a, 2, 2) for a, b in reversed(pairs)])
        self.merged = nn.ModuleList([_stage(axes, 2 * a, a) for a, _ in reversed(pairs)])
        # All but the last give the coarser outputs of deep supervision, in training only.
        self.heads = nn.ModuleList([head(a, outputs, 1) for a, _ in reversed(pairs)])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) to logits (batch, outputs, ...); sizes are multiples of 2^(stages - 1)."""
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up, merged in zip(self.up, self.merged, strict=True):
            x = merged(torch.cat([up(x), skips.pop()], dim=1))
        logits: Tensor = self.heads[-1](x)
        return logits


def _stage(axes: int, before: int, after: int, stride: int = 1) -> nn.Sequential:
    conv: Any = nn.Conv3d if axes == 3 else nn.Conv2d
    norm: Any = nn.InstanceNorm3d if axes == 3 else nn.InstanceNorm2d
    layers: list[nn.Module] = []
    for channels, step in ((before, stride), (after, 1)):
        layers += [conv(channels, after, 3, step, 1), norm(after, eps=1e-5, affine=True), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)
