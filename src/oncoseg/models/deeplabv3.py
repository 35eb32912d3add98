"""DeepLabV3 with a ResNet-101, slice by slice: Chen et al. 2017, as the lung CT benchmark trains it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions, require
from oncoseg.dense.slices import SliceModel
from oncoseg.errors import ConfigError, InputError
from oncoseg.nn.resnet import Bottleneck, OutputStride, ResNet
from oncoseg.nn.shapes import require_input
from oncoseg.weights.loading import load_strictly, read_tensors

_LOG = logging.getLogger(__name__)

INFOS = (
    ModelInfo(
        name="deeplabv3",
        variant="",
        title="DeepLabV3",
        summary="Dilated ResNet-101 with pyramid pooling of several rates, slice by slice; its outlines are coarse.",
        parameters=58_626_628,
        trainable_parameters=58_626_628,
        dimension="2d",
        prompts=(),
        doi="10.48550/arXiv.1706.05587",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"epochs": 300, "learning_rate": 1e-4, "spacing": (3, 1, 1), "window": (-1000, 1000)},
        counted_with={"labels": "lungs+tumour"},
    ),
)

#: Dilations of the pyramid's 3x3 branches (section 3.3: doubled when the features are twice as fine).
RATES: dict[OutputStride, tuple[int, int, int]] = {8: (12, 24, 36), 16: (6, 12, 18)}
#: Weight of the auxiliary head's loss in the library's reference training.
AUXILIARY_WEIGHT = 0.5


@dataclass(frozen=True)
class DeepLabV3Options(SliceOptions):
    """Network of a DeepLabV3, on top of preprocessing and sampling.

    Attributes:
        channels: three equal ones, so that pre-trained stems fit.
        layers: blocks of the four stages of the ResNet.
        base: width of its first stage; pyramid and heads have four times as many filters.
        output_stride: how much coarser than the slice the last features are; 8 takes four times the work of 16.
        dropout: probability behind the pyramid.
        aux: train a second head on the third stage as well; prediction does without it. `depth_weights` are then
            1 and 0.5, unless they are given.
        backbone: file of a user's ImageNet ResNet in the library's layout (`conv1.weight`, ...; `fc.*` is left out),
            which the ResNet starts from. A checkpoint only remembers it.
    """

    channels: int = 3
    layers: tuple[int, int, int, int] = (3, 4, 23, 3)
    base: int = 64
    output_stride: OutputStride = 8
    dropout: float = 0.5
    aux: bool = False
    backbone: Path | None = None

    def __post_init__(self) -> None:
        if self.aux and self.depth_weights == (1.0,):
            object.__setattr__(self, "depth_weights", (1.0, AUXILIARY_WEIGHT))
        super().__post_init__()
        require(
            self,
            {
                "base and layers must be at least 1": min(self.base, *self.layers) >= 1,
                "dropout must be at least 0 and below 1": 0 <= self.dropout < 1,
                "depth_weights must be one, with aux two": len(self.depth_weights) == 1 + self.aux,
                "a backbone of ImageNet needs channels = 3": self.backbone is None or self.channels == 3,
            },
        )


_BENCHMARK_OPTIONS: dict[str, Any] = {
    "labels": "lungs+tumour",
    "head": "softmax",
    "losses": {"dice_squared": 1.0, "cross_entropy": 1.0},
    "spacing": 1.0,
    "through": 3.0,
    "window": (-1000.0, 1000.0),
    "fit": "crop",
    "patch": 512,
    "slices": "labelled",
    "tumour_share": 0.0,
    "augment": "none",
}

RECIPES = {
    "smoke": Recipe(
        source="none: as small as a DeepLabV3 can be, to see on a CPU that everything runs",
        options={
            "base": 8,
            "layers": (1, 1, 1, 1),
            "dropout": 0.0,
            "channels": 1,
            # Whole slices in training too: the mean of a patch is not what the pyramid meets in prediction.
            "fit": "resize",
            "patch": 128,
            "tumour_share": 0.8,
            "augment": "none",
        },
        training={"steps": 150, "batch": 8, "learning_rate": 6e-3, "validate_every": 50},
    ),
    "paper": Recipe(
        source="Chen et al. 2017, section 4.1 (PASCAL VOC 2012)",
        options={
            "output_stride": 16,
            "losses": {"cross_entropy": 1.0},
            "spacing": None,
            "fit": "pad",
            "patch": 513,
            "window": (-1000.0, 1000.0),
            "tumour_share": 0.5,
            "augment": "left-right",
        },
        training={
            "steps": 30_000,
            "batch": 16,
            "optimiser": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "learning_rate": 7e-3,
            "weight_decay": 1e-4,
            "schedule": "poly",
        },
        assumed=("spacing", "fit", "window", "tumour_share", "optimiser", "momentum", "nesterov", "weight_decay"),
        notes="For photographs, from an ImageNet backbone (option backbone). Left out: scaling by 0.5 to 2, the "
        "second phase at output stride 8 with frozen normalisation and rate 0.001, and multi-grid dilation, "
        "which the library does without as well.",
    ),
    "lung-ct-benchmark": Recipe(
        source="Mulero Ayllon et al. 2025, arXiv 2505.01239, section III",
        options=_BENCHMARK_OPTIONS,
        training={
            "epochs": 300,
            "learning_rate": 1e-4,
            "optimiser": "adamw",
            "weight_decay": 0.01,
            "schedule": "constant",
            "batch": 8,
            "samples_per_case": 100,
        },
        assumed=(
            "head",
            "losses",
            "fit",
            "patch",
            "slices",
            "tumour_share",
            "augment",
            "optimiser",
            "weight_decay",
            "schedule",
            "batch",
            "samples_per_case",
        ),
        notes="From scratch. Optimiser, loss, batch, slice size, sampling and augmentation are not stated; the "
        "published tumour Dice (0.05 and 0.01) is what plain cross-entropy over all slices tends to give.",
    ),
}


class DeepLabV3(nn.Module):
    """Dilated ResNet, atrous spatial pyramid pooling, 3x3 head, bilinear to the input's size.

    Args:
        options: of the network.
        outputs: channels of the logits; those of the options when None.
    """

    multiple = 1

    def __init__(self, options: DeepLabV3Options, outputs: int | None = None) -> None:
        super().__init__()
        self.channels = options.channels
        outputs = options.outputs if outputs is None else outputs
        width = 4 * options.base
        third, fourth = (options.base * 2**stage * Bottleneck.expansion for stage in (2, 3))
        self.backbone = ResNet(
            options.channels, layers=options.layers, base=options.base, output_stride=options.output_stride
        )
        pyramid = Pyramid(fourth, width, rates=RATES[options.output_stride], dropout=options.dropout)
        self.classifier = nn.Sequential(pyramid, *_convolution(width, width, 3), nn.Conv2d(width, outputs, 1))
        self.aux_classifier: nn.Sequential | None = None
        if options.aux:
            inner = third // 4
            self.aux_classifier = nn.Sequential(
                *_convolution(third, inner, 3), nn.Dropout(0.1), nn.Conv2d(inner, outputs, 1)
            )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Slices (batch, channels, rows, columns) of any size to logits (batch, outputs, rows, columns).

        Training with the auxiliary head gives a list: the logits and that head's, both at the input's size.

        Raises:
            InputError: for another number of channels; in training also for a batch of one slice, over which the
                pyramid's image pooling has nothing to normalise.
        """
        require_input(x, "DeepLabV3", channels=self.channels)
        if self.training and len(x) == 1:
            raise InputError("DeepLabV3 trains on batches of at least 2 slices; the batch has 1. Set batch = 2.")
        features = self.backbone(x)
        logits = _resized(self.classifier(features.fourth), x)
        if self.training and self.aux_classifier is not None:
            return [logits, _resized(self.aux_classifier(features.third), x)]
        return logits


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling (section 3.3): 1x1, three dilated 3x3, and the mean of the slice.

    Args:
        channels_in: that come in.
        width: of every branch, and of what comes out.
        rates: dilations of the 3x3 branches.
        dropout: probability behind it.
    """

    def __init__(self, channels_in: int, width: int, *, rates: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        branches = [nn.Sequential(*_convolution(channels_in, width, 1))]
        branches += [nn.Sequential(*_convolution(channels_in, width, 3, dilation=rate)) for rate in rates]
        branches.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *_convolution(channels_in, width, 1)))
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(*_convolution(len(branches) * width, width, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, rows, columns) to (batch, width, rows, columns)."""
        # The pooled branch is 1x1: spreading it is what bilinear resizing of one pixel does.
        found = [branch(x).expand(-1, -1, *x.shape[2:]) for branch in self.convs]
        result: Tensor = self.project(torch.cat(found, dim=1))
        return result


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a DeepLabV3.

    Args:
        variant: there is none.
        weights: a checkpoint written by `oncoseg train`; or a segmentation file in the library's layout, see
            `load_library_file`. None gives random weights, but for what the option `backbone` brings.
        **options: fields of `DeepLabV3Options`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's; for a backbone
            beside a segmentation file, which brings its own.
        InputError: when the weights cannot be read or do not fit.
    """

    def load(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
        if options.get("backbone") is not None:
            raise ConfigError(f"{what} brings a backbone of its own. Leave the option backbone or the weights away.")
        load_library_file(network, state, what)

    made = built(
        SliceModel,
        INFOS,
        DeepLabV3Options,
        DeepLabV3,
        variants={},
        variant=variant,
        weights=weights,
        options=options,
        load=load,
    )
    backbone = cast(DeepLabV3Options, made.settings).backbone
    if backbone is not None and weights is None:
        _load_backbone(made.network, backbone)
    return made


def load_library_file(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Fill a DeepLabV3 from a segmentation file of the common library; everything else must fit exactly.

    An auxiliary head that the network does not have is left out; one that the file does not have, and last layers
    made for another number of classes, keep their random weights. Each is logged as a warning.

    Args:
        network: a `DeepLabV3`, filled in place.
        state: tensor per name.
        what: names the file in messages.

    Raises:
        InputError: when anything else is missing, unexpected or of another shape.
    """
    own = network.state_dict()
    taken, notes = dict(state), []
    heads = {"classifier.4": "last layer", "aux_classifier.4": "last layer of the auxiliary head"}
    if not any(_of_auxiliary(name) for name in own) and any(map(_of_auxiliary, taken)):
        taken = {name: tensor for name, tensor in taken.items() if not _of_auxiliary(name)}
        notes.append("its auxiliary head is left out (take it with aux = true)")
    elif any(map(_of_auxiliary, own)) and not any(map(_of_auxiliary, taken)):
        taken |= {name: tensor for name, tensor in own.items() if _of_auxiliary(name)}
        notes.append("it has no auxiliary head: that starts from random weights")
    for head, words in heads.items():
        found, wanted = (held.get(f"{head}.weight") for held in (taken, own))
        if found is not None and wanted is not None and len(found) != len(wanted):
            taken |= {name: own[name] for name in (f"{head}.weight", f"{head}.bias")}
            notes.append(
                f"its {words} tells {len(found)} classes apart, this model {len(wanted)}: that layer starts from "
                "random weights and must be trained"
            )
    load_strictly(network, taken, what)
    for note in notes:
        _LOG.warning("%s: %s.", what, note)


def _load_backbone(network: nn.Module, path: Path) -> None:
    state = {name: tensor for name, tensor in read_tensors(path).state.items() if not name.startswith("fc.")}
    load_strictly(network.get_submodule("backbone"), state, str(path))


def _of_auxiliary(name: str) -> bool:
    return name.startswith("aux_classifier.")


def _convolution(channels_in: int, channels_out: int, size: int, *, dilation: int = 1) -> list[nn.Module]:
    """Convolution that keeps rows and columns, batch normalisation and ReLU."""
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(channels_in, channels_out, size, padding=padding, dilation=dilation, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]


def _resized(logits: Tensor, x: Tensor) -> Tensor:
    return F.interpolate(logits, size=x.shape[2:], mode="bilinear")
