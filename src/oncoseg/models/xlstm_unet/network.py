"""The network of xLSTM-UNet: a residual encoder and decoder, and Vision-LSTM layers between stages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.models.xlstm_unet.options import Options
from oncoseg.nn.residual import Keeping, Projecting, convolution, he_initialise
from oncoseg.nn.shapes import require_input
from oncoseg.nn.vil import ViLBlock
from oncoseg.weights.loading import load_strictly


class XLSTMUNet(nn.Module):
    """Residual encoder, Vision-LSTM layers, residual decoder with a head at each supervised level.

    Names of the state dict are those of the released code, without its doubles and unused layers.

    Args:
        options: plan, channels and outputs.
        outputs: channels of the heads; None takes the options'.

    Attributes:
        size: the only one it takes, None for any that `multiple` divides.
        multiple: of rows and columns, or of each axis of a patch.

    Raises:
        ConfigError: when the patch makes tokens of an odd width.
    """

    def __init__(self, options: Options, *, outputs: int | None = None) -> None:
        super().__init__()
        self.channels = options.channels
        self.patch = (options.patch,) * 2 if isinstance(options.patch, int) else options.patch
        products = [math.prod(axis) for axis in zip(*options.strides, strict=True)]
        self.multiple = math.lcm(*products) if len(products) == 2 else tuple(products)
        in_bottleneck = options.place == "bottleneck"
        self.encoder = Encoder(options, tokens_at=() if in_bottleneck else self.patch)
        self.xlstm = Tokens(options.features[-1]) if in_bottleneck else nn.Identity()
        self.decoder = Decoder(options, options.outputs if outputs is None else outputs)
        by_channel = any(isinstance(layer, Tokens) and layer.by_channel for layer in self.encoder.modules())
        self.size = self.patch if by_channel else None
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Images (batch, channels, *space) to logits (batch, outputs, *space).

        Returns:
            The finest logits; in training with deep supervision a list of those of every head, finest first, each
            level smaller by its stride.

        Raises:
            InputError: for other channels, or a size that cannot be halved so often.
        """
        require_input(
            x, "xLSTM-UNet", channels=self.channels, multiple=self.multiple, size=self.size, space=len(self.patch)
        )
        *skips, deepest = self.encoder(x)
        found: list[Tensor] = self.decoder([*skips, self.xlstm(deepest)])
        return found if len(found) > 1 else found[0]


class Encoder(nn.Module):
    """A stem at full size and a stage for each entry of the plan, with what follows each stage."""

    def __init__(self, options: Options, *, tokens_at: Sequence[int]) -> None:
        super().__init__()
        features, kernels, strides = options.features, options.kernels, options.strides
        blocks = [2 if stage < math.ceil(len(features) / 2) else 1 for stage in range(len(features))]
        self.stem = _stage(options.channels, features[0], kernels[0], blocks=blocks[0])
        self.stages = nn.ModuleList(
            _stage(source, target, kernel, stride=stride, blocks=count)
            for source, target, kernel, stride, count in zip(
                (features[0], *features), features, kernels, strides, blocks, strict=False
            )
        )
        between = _between(options, tokens_at) if tokens_at else [nn.Identity() for _ in features]
        self.xlstm_layers = nn.ModuleList(between)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of every stage, finest first."""
        x = self.stem(x)
        found = []
        for stage, after in zip(self.stages, self.xlstm_layers, strict=True):
            x = after(stage(x))
            found.append(x)
        return found


class Decoder(nn.Module):
    """From the deepest stage upwards: enlarge, concatenate, residual blocks; heads at the supervised levels."""

    def __init__(self, options: Options, outputs: int) -> None:
        super().__init__()
        features, space = options.features, len(options.kernels[0])
        levels = len(features) - 1
        self.strides = options.strides[:0:-1]
        # The released 2D network leaves the skip of the finest level out, the 3D one has it.
        self.skips = levels if space == 3 else levels - 1
        targets, kernels = features[-2::-1], options.kernels[-2::-1]
        self.upsample_layers = nn.ModuleList(
            Narrow(source, target, space=space) for source, target in zip(features[:0:-1], targets, strict=True)
        )
        double = math.ceil(levels / 2 + 0.5)
        self.stages = nn.ModuleList(
            _stage(target * (2 if level < self.skips else 1), target, kernel, blocks=2 if level < double else 1)
            for level, (target, kernel) in enumerate(zip(targets, kernels, strict=True))
        )
        heads = levels - len(options.depth_weights)
        self.seg_layers = nn.ModuleList(
            convolution(space)(target, outputs, 1) if level >= heads else nn.Identity()
            for level, target in enumerate(targets)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits of every head, finest first; of the finest alone in evaluation mode."""
        *skips, x = features
        found = []
        for level, stage in enumerate(self.stages):
            stride = [float(step) for step in self.strides[level]]
            # A 1x1 convolution and nearest up-sampling commute; this order computes on the smaller map.
            x = F.interpolate(self.upsample_layers[level](x), scale_factor=stride, mode="nearest")
            if level < self.skips:
                x = torch.cat([x, skips[-1 - level]], dim=1)
            x = stage(x)
            last = level == len(self.stages) - 1
            if not isinstance(self.seg_layers[level], nn.Identity) and (self.training or last):
                found.append(self.seg_layers[level](x))
        return found[::-1]


class Tokens(nn.Module):
    """A Vision-LSTM block over a feature map, read row by row.

    Args:
        width: of a token: the channels, or with `by_channel` the positions of the map.
        by_channel: each channel is a token; else each position.
    """

    def __init__(self, width: int, *, by_channel: bool = False) -> None:
        super().__init__()
        self.by_channel = by_channel
        self.vil = ViLBlock(width)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, *space) -> the same shape, float32."""
        flat = features.flatten(2)
        mixed = self.vil(flat) if self.by_channel else self.vil(flat.transpose(1, 2)).transpose(1, 2)
        restored: Tensor = mixed.reshape(features.shape)
        return restored


class Narrow(nn.Module):
    """The 1x1 convolution beside each up-sampling."""

    def __init__(self, source: int, target: int, *, space: int) -> None:
        super().__init__()
        self.conv = convolution(space)(source, target, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, source, *space) -> (batch, target, *space)."""
        narrow: Tensor = self.conv(x)
        return narrow


def _stage(
    source: int, target: int, kernel: Sequence[int], *, blocks: int, stride: Sequence[int] | None = None
) -> nn.Sequential:
    first = Projecting(source, target, kernel, stride=stride or [1] * len(kernel))
    return nn.Sequential(first, *(Keeping(target, kernel) for _ in range(blocks - 1)))


def _between(options: Options, patch: Sequence[int]) -> list[nn.Module]:
    """What follows each stage of an encoder with Vision-LSTM layers.

    The last stage has such a layer always; in 2D every second one before it, in 3D every one from the fourth on.
    Shallower stages have another residual block: in 2D the second, in 3D the first three.
    """
    stages, flat = len(options.features), len(patch) == 2
    size = list(patch)
    found: list[nn.Module] = []
    for number, (channels, kernel, stride) in enumerate(
        zip(options.features, options.kernels, options.strides, strict=True)
    ):
        size = [length // step for length, step in zip(size, stride, strict=True)]
        if number == 1 if flat else number < 3:
            found.append(Keeping(channels, kernel))
        elif flat and (number == 0 or (stages - 1 - number) % 2):
            found.append(nn.Identity())
        else:
            positions = math.prod(size)
            by_channel = positions <= channels
            found.append(Tokens(positions if by_channel else channels, by_channel=by_channel))
    return found


def load_released(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Fill the network from a file of the released code, or of this one.

    The released code keeps some tensors under two names, and has a layer norm beside each Vision-LSTM block and a
    coarsest head that never take part; these are passed over.

    Raises:
        InputError: when what is left does not fit, e.g. for another plan.
    """
    unused = re.compile(r"^decoder\.encoder\.|\.all_modules\.|^(xlstm|encoder\.xlstm_layers\.\d+)\.norm\.")
    heads = {name for name in state if name.startswith("decoder.seg_layers.")} - network.state_dict().keys()
    load_strictly(network, {k: t for k, t in state.items() if not unused.search(k) and k not in heads}, what)
