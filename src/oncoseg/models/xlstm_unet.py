"""xLSTM-UNet (Chen et al. 2024, arXiv 2407.01530): a residual U-Net with Vision-LSTM layers, in 2D and 3D."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe, choose_variant
from oncoseg.dense.building import built
from oncoseg.dense.options import PatchOptions, SliceOptions, require
from oncoseg.dense.patches import PatchModel
from oncoseg.dense.slices import SliceModel
from oncoseg.nn.residual import Keeping, Projecting, convolution, he_initialise
from oncoseg.nn.shapes import require_input
from oncoseg.nn.vil import ViLBlock
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.trained import read_checkpoint

#: Where the Vision-LSTM layers are: behind the deepest stage, or along the encoder.
Place = Literal["bottleneck", "encoder"]
#: One entry a stage, one number an axis, as in the plans of nnU-Net.
PerStage = tuple[tuple[int, ...], ...]


def _info(variant: str, parameters: int, summary: str) -> ModelInfo:
    return ModelInfo(
        name="xlstm_unet",
        variant=variant,
        title="U-xLSTM " + ("Bot" if variant.startswith("bot") else "Enc"),
        summary=summary,
        parameters=parameters,
        trainable_parameters=parameters,
        dimension="2d" if variant.endswith("2d") else "3d",
        prompts=(),
        doi="10.48550/arXiv.2407.01530",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "sgd", "loss": "Dice + cross-entropy, deep supervision", "schedule": "poly"},
    )


INFOS = (
    _info("bot_2d", 64_715_284, "Residual U-Net on slices with one Vision-LSTM layer behind its deepest stage."),
    _info(
        "enc_2d",
        64_005_908,
        "Residual U-Net on slices with Vision-LSTM layers behind every second stage of the encoder.",
    ),
    _info("bot_3d", 42_086_160, "Residual U-Net on patches with one Vision-LSTM layer behind its deepest stage."),
    _info(
        "enc_3d",
        43_694_368,
        "Residual U-Net on patches with Vision-LSTM layers behind the deeper stages of the encoder.",
    ),
)


def halving_weights(depths: int) -> tuple[float, ...]:
    """1, 1/2, 1/4, ... that sum to 1, as nnU-Net weights its outputs, finest first."""
    total = sum(0.5**depth for depth in range(depths))
    return tuple(0.5**depth / total for depth in range(depths))


@dataclass(frozen=True)
class XLSTMSliceOptions(SliceOptions):
    """Plan of the 2D network: the defaults are what nnU-Net plans for slices of 512 x 512.

    Attributes:
        place: of the Vision-LSTM layers.
        features: channels of each stage.
        kernels: size of the convolutions of each stage.
        strides: of each stage; the first is that of the finest and 1 in nnU-Net's plans.
        depth_weights: of the outputs, finest first; each has a head, so at most as many as there are stages less
            one, and one alone switches deep supervision off.
    """

    place: Place = "bottleneck"
    features: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512, 512)
    kernels: PerStage = ((3, 3),) * 8
    strides: PerStage = ((1, 1), *((2, 2),) * 7)
    depth_weights: tuple[float, ...] = halving_weights(6)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_plan(self, (self.patch, self.patch))
        fixed = "fit must be crop or resize where the network takes one size of slice only (place = encoder)"
        require(self, {fixed: self.place == "bottleneck" or self.fit != "pad"})


@dataclass(frozen=True)
class XLSTMPatchOptions(PatchOptions):
    """Plan of the 3D network: the defaults are what nnU-Net plans for isotropic patches of 128 x 128 x 128.

    Attributes:
        place: of the Vision-LSTM layers.
        features: channels of each stage.
        kernels: size of the convolutions of each stage.
        strides: of each stage; the first is that of the finest and 1 in nnU-Net's plans.
        depth_weights: of the outputs, finest first; each has a head, so at most as many as there are stages less
            one, and one alone switches deep supervision off.
    """

    place: Place = "bottleneck"
    features: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    kernels: PerStage = ((3, 3, 3),) * 6
    strides: PerStage = ((1, 1, 1), *((2, 2, 2),) * 5)
    depth_weights: tuple[float, ...] = halving_weights(4)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_plan(self, self.patch)
        deep = "features must have at least 4 stages where place = encoder: the first three have no Vision-LSTM layer"
        require(self, {deep: self.place == "bottleneck" or len(self.features) > 3})


Options = XLSTMSliceOptions | XLSTMPatchOptions


def _require_plan(options: Options, patch: Sequence[int]) -> None:
    stages, space = len(options.features), len(patch)
    plan = (*options.kernels, *options.strides)
    deepest = [size // math.prod(each) for size, each in zip(patch, zip(*options.strides, strict=False), strict=False)]
    require(
        options,
        {
            "features, kernels and strides must have as many entries, at least 3": stages >= 3
            and len(options.kernels) == len(options.strides) == stages,
            f"kernels and strides must have {space} numbers a stage, each at least 1": all(
                len(entry) == space and min(entry) >= 1 for entry in plan
            ),
            "kernels must be odd": all(size % 2 for entry in options.kernels for size in entry),
            "features must be positive and even": all(n > 0 and n % 2 == 0 for n in options.features),
            "depth_weights must be positive, fewer than features": len(options.depth_weights) < stages
            and min(options.depth_weights) > 0,
            "patch must leave more than one voxel in the deepest stage of strides": math.prod(deepest) > 1,
        },
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "bot_2d": {},
    "enc_2d": {"place": "encoder", "fit": "crop"},
    "bot_3d": {},
    "enc_3d": {"place": "encoder"},
}


_RELEASED = "released code of Chen et al. 2024 (arXiv 2407.01530), nnUNetTrainer"
_RELEASED_NOTES = (
    "Learning rate and batch are given on the command line of the released code and published nowhere; here they are "
    "nnU-Net's. Plan, spacing and grey values come from nnU-Net's fingerprint of the data there, and from the options "
    "here."
)
_RELEASED_TRAINING = {
    "epochs": 4000,
    "epoch_steps": 250,
    "rate_every": "epoch",
    "optimiser": "sgd",
    "momentum": 0.99,
    "learning_rate": 1e-2,
    "weight_decay": 3e-5,
    "schedule": "poly",
    "clip": 12.0,
    "validate_every": 250,
    "select": "last",
}
_RELEASED_ASSUMED = ("spacing", "patch", "window", "normalise", "learning_rate", "batch")

RECIPES = {
    "smoke": Recipe(
        source="none: as small as the network can be, to see on a CPU that everything runs",
        options={
            "features": (8, 16, 24, 32),
            "kernels": ((3, 3),) * 4,
            "strides": ((1, 1), *((2, 2),) * 3),
            "depth_weights": (1.0,),
            "spacing": 4.0,
            "patch": 64,
            "window": (-1000.0, 400.0),
            "augment": "none",
        },
        training={"steps": 100, "batch": 8, "learning_rate": 5e-3, "validate_every": 50},
        variants=("bot_2d", "enc_2d"),
    ),
    "smoke-3d": Recipe(
        source="none: as small as the network can be, to see on a CPU that everything runs",
        options={
            "features": (8, 16, 24, 32),
            "kernels": ((3, 3, 3),) * 4,
            "strides": ((1, 1, 1), *((2, 2, 2),) * 3),
            "depth_weights": (1.0,),
            "spacing": (4.0, 4.0, 4.0),
            "patch": (16, 32, 32),
            "window": (-1000.0, 400.0),
            "augment": "none",
        },
        training={"steps": 60, "batch": 2, "learning_rate": 1e-2, "validate_every": 30},
        variants=("bot_3d", "enc_3d"),
    ),
    "paper": Recipe(
        source=_RELEASED,
        options={
            "losses": {"dice_nnunet_batch": 1.0, "cross_entropy": 1.0},
            "depth_weights": halving_weights(6),
            "tumour_share": 0.33,
            "patch": 512,
            "spacing": 1.0,
            "window": (-1000.0, 1000.0),
            "normalise": "zscore",
            "augment": "nnunet",
            "mirror": False,
        },
        training={**_RELEASED_TRAINING, "batch": 12},
        assumed=_RELEASED_ASSUMED,
        variants=("bot_2d", "enc_2d"),
        notes=_RELEASED_NOTES,
    ),
    "paper-3d": Recipe(
        source=_RELEASED,
        options={
            "losses": {"dice_nnunet": 1.0, "cross_entropy": 1.0},
            "depth_weights": halving_weights(4),
            "tumour_share": 0.33,
            "patch": (128, 128, 128),
            "spacing": (1.5, 1.5, 1.5),
            "window": (-1000.0, 1000.0),
            "normalise": "zscore",
            "augment": "nnunet",
            "mirror": False,
        },
        training={**_RELEASED_TRAINING, "batch": 2},
        assumed=_RELEASED_ASSUMED,
        variants=("bot_3d", "enc_3d"),
        notes=_RELEASED_NOTES,
    ),
    "gtv-samgan": Recipe(
        source="Yi et al. 2026, Quant Imaging Med Surg 16(1):59, comparison table",
        options={
            "spacing": None,
            "fit": "crop",
            "patch": 512,
            "slices": "labelled",
            "tumour_share": 1.0,
            "window": (-1000.0, 1000.0),
            "augment": "none",
            "losses": {"dice_nnunet_batch": 1.0, "cross_entropy": 1.0},
        },
        training={
            "epochs": 100,
            "optimiser": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "schedule": "constant",
            "batch": 4,
            "samples_per_case": 16,
        },
        assumed=(
            "fit",
            "window",
            "augment",
            "losses",
            "epochs",
            "optimiser",
            "learning_rate",
            "weight_decay",
            "schedule",
            "batch",
            "samples_per_case",
        ),
        variants=("bot_2d", "enc_2d"),
        notes="The paper trains its own model so and says nothing of this one, not even which variant. Tumour slices "
        "alone are used. Its 7.37 % Dice on local data looks like a training that failed: a warning, not a target.",
    ),
}


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
        return mixed.reshape(features.shape)


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


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel | PatchModel:
    """Make an xLSTM-UNet.

    Args:
        variant: `bot_2d` (default), `enc_2d`, `bot_3d` or `enc_3d`.
        weights: a checkpoint written by `oncoseg train`, or a file of the released code, for which the plan must be
            given as options. None gives random weights from torch's generator.
        **options: fields of `XLSTMSliceOptions` (2D) or `XLSTMPatchOptions` (3D).

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    about = read_checkpoint(weights).about if weights else None
    info = choose_variant(INFOS, variant or (about.variant if about else None))
    shared: dict[str, Any] = {"variants": VARIANTS, "variant": info.variant, "weights": weights, "options": options}
    if info.dimension == "3d":
        return built(PatchModel, INFOS, XLSTMPatchOptions, XLSTMUNet, **shared, load=load_released)
    return built(SliceModel, INFOS, XLSTMSliceOptions, XLSTMUNet, **shared, load=load_released)
