"""Parts of convolutional networks for slices: what U-Nets are made of."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Norm = Literal["none", "batch", "instance"]
UpMode = Literal["upconv", "upsample+conv2", "bilinear"]


class DoubleConvolution(nn.Sequential):
    """Two times 3x3 convolution (same padding), optional normalisation, ReLU; keeps rows and columns."""

    def __init__(self, channels_in: int, channels_out: int, *, norm: Norm = "none") -> None:
        layers: list[nn.Module] = []
        for source in (channels_in, channels_out):
            layers.append(nn.Conv2d(source, channels_out, 3, padding=1))
            if norm != "none":
                layers.append(_normalisation(channels_out, norm))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Up(nn.Module):
    """Doubles rows and columns, halves the channels.

    Args:
        channels: that come in.
        mode: `upconv` 2x2 transposed convolution (Ronneberger et al. 2015); `upsample+conv2` nearest
            up-sampling, 2x2 convolution and ReLU (Primakov et al. 2022); `bilinear` up-sampling and 1x1 convolution.
    """

    def __init__(self, channels: int, *, mode: UpMode = "upconv") -> None:
        super().__init__()
        half = channels // 2
        match mode:
            case "upconv":
                self.up: nn.Module = nn.ConvTranspose2d(channels, half, 2, stride=2)
            case "upsample+conv2":
                # Keras' "same" for an even kernel pads after the last row and column.
                padding = nn.ZeroPad2d((0, 1, 0, 1))
                self.up = nn.Sequential(
                    nn.Upsample(scale_factor=2), padding, nn.Conv2d(channels, half, 2), nn.ReLU(inplace=True)
                )
            case "bilinear":
                self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(channels, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, channels / 2, 2 rows, 2 columns)."""
        result: Tensor = self.up(x)
        return result


def he_initialise(network: nn.Module) -> None:
    """Normal weights with variance 2 / fan-in (He et al. 2015), zero biases, in every convolution."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _normalisation(channels: int, norm: Norm) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.InstanceNorm2d(channels, affine=True)
