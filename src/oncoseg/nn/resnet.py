"""ResNet with bottleneck blocks (He et al. 2016) whose last stages widen their view by dilation instead of striding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

OutputStride = Literal[8, 16]


class Features(NamedTuple):
    """Of the last two stages, (batch, 16 base, ...) and (batch, 32 base, ...), at 1 / output stride of the size."""

    third: Tensor
    fourth: Tensor


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution round a shortcut; the 3x3 one carries stride and dilation.

    Args:
        channels_in: that come in.
        width: of the 3x3 convolution; four times as many come out.
        stride: of the block.
        dilation: of the 3x3 convolution, padded so that sizes depend on the stride alone.
    """

    expansion = 4

    def __init__(self, channels_in: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        channels_out = width * self.expansion
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, rows, columns) to (batch, 4 width, rows / stride, columns / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(y + shortcut)
        return result


class ResNet(nn.Module):
    """A ResNet without its classifier, named as the common library names it.

    Stages that would go beyond the output stride keep their size. Their dilation doubles instead, from the second
    block on: the first one still sees what the stage before gives (1, 2, 2 ...; then 2, 4, 4 ...).

    Args:
        channels: of the input.
        layers: blocks of the four stages; (3, 4, 23, 3) is ResNet-101.
        base: width of the first stage; every further one doubles it.
        output_stride: how much smaller the last features are than the input.
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        layers: Sequence[int] = (3, 4, 23, 3),
        base: int = 64,
        output_stride: OutputStride = 8,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        source, reached, dilation = base, 4, 1
        for number, blocks in enumerate(layers, start=1):
            width, stride, first = base * 2 ** (number - 1), 1, dilation
            if number > 1:
                stride = 2 if reached < output_stride else 1
                reached, dilation = reached * stride, dilation * (1 if stride == 2 else 2)
            stage = [Bottleneck(source, width, stride=stride, dilation=first)]
            source = width * Bottleneck.expansion
            stage += [Bottleneck(source, width, dilation=dilation) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
        _initialise(self)

    def forward(self, x: Tensor) -> Features:
        """(batch, channels, rows, columns) to the features of the last two stages."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.get_submodule("layer2")(self.get_submodule("layer1")(x))
        third: Tensor = self.get_submodule("layer3")(x)
        return Features(third, self.get_submodule("layer4")(third))


def _initialise(network: nn.Module) -> None:
    """Normal weights with variance 2 / fan-out (He et al. 2015); normalisations start as the identity."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
