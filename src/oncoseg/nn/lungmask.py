"""The U-Net of lungmask (Hofmanninger et al., Eur Radiol Exp 4:50, 2020), under the names of its public checkpoints.

Every block of the checkpoints also holds a 1x1 convolution and a normalisation of a residual variant that was never
switched on. They are built, so that files load strictly, and never used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.nn.shapes import require_input

WIDTHS = (64, 128, 256, 512, 1024)


class LungUNet(nn.Module):
    """Axial slices to log-probabilities of the classes.

    Args:
        classes: 3 (0 background, 1 right lung, 2 left lung) or 6 (0 background, 1 left upper, 2 left lower,
            3 right upper, 4 right middle, 5 right lower lobe).
    """

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        before = (1, *WIDTHS[:-1])
        self.down_path = nn.ModuleList(ConvBlock(a, b) for a, b in zip(before, WIDTHS, strict=True))
        self.up_path = nn.ModuleList(UpBlock(width, width // 2) for width in WIDTHS[:0:-1])
        self.last = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, rows, columns) in [0, 1] to (batch, classes, rows, columns); sizes are multiples of 16.

        Raises:
            InputError: for another shape, with the nearest that fits.
        """
        require_input(x, "The lung U-Net", channels=1, multiple=16)
        skips: list[Tensor] = []
        for level, down in enumerate(self.down_path):
            x = down(x if level == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        for up, skip in zip(self.up_path, reversed(skips[:-1]), strict=True):
            x = up(x, skip)
        return torch.log_softmax(self.last(x), dim=1)


class ConvBlock(nn.Module):
    """Twice: 3x3 convolution, ReLU, batch normalisation, in this order."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        _add_unused(self, channels_in, channels_out)
        self.block = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, rows, columns) to (batch, channels_out, rows, columns)."""
        result: Tensor = self.block(x)
        return result


class UpBlock(nn.Module):
    """Bilinear up-sampling, 1x1 convolution, the skip behind it, and a `ConvBlock`."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        _add_unused(self, channels_in, channels_out)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(channels_in, channels_out, 1))
        self.conv_block = ConvBlock(channels_in, channels_out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(batch, channels_in, rows, columns) and a skip of twice the size to (batch, channels_out, *skip's size)."""
        result: Tensor = self.conv_block(torch.cat([self.up(x), skip], dim=1))
        return result


def _add_unused(block: nn.Module, channels_in: int, channels_out: int) -> None:
    block.residual_input_conv = nn.Conv2d(channels_in, channels_out, 1)
    block.residual_batchnorm = nn.BatchNorm2d(channels_out)
