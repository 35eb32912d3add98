"""U-Net on axial slices: Ronneberger et al. 2015, and the lung tumour network of Primakov et al. 2022."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions, require
from oncoseg.dense.slices import SliceModel
from oncoseg.nn.blocks import DoubleConvolution, Norm, Up, UpMode, he_initialise
from oncoseg.nn.shapes import require_input

#: Four poolings halve rows and columns; a slice must divide.
MULTIPLE = 16

INFOS = (
    ModelInfo(
        name="unet",
        variant="ronneberger",
        title="U-Net",
        summary="The 2D U-Net, slice by slice, padded so that slices keep their size.",
        parameters=31_030_658,
        trainable_parameters=31_030_658,
        dimension="2d",
        prompts=(),
        doi="10.48550/arXiv.1505.04597",
        licence="Apache-2.0",
        fidelity="paper",
        trainable=True,
        recipe={"optimiser": "sgd", "momentum": 0.99, "batch": 1, "loss": "cross-entropy with border weights"},
    ),
    ModelInfo(
        name="unet",
        variant="primakov",
        title="U-Net (Primakov et al.)",
        summary="The 2D U-Net of the DuneAI lung tumour study; its lung isolation step is left out.",
        parameters=31_031_685,
        trainable_parameters=31_031_685,
        dimension="2d",
        prompts=(),
        doi="10.1038/s41467-022-30841-3",
        licence="Apache-2.0",
        fidelity="reconstructed",
        trainable=True,
        recipe={"slice": 512, "spacing": 1.0, "window": (-1000, 150), "levels": 46, "threshold": 0.99},
    ),
)


@dataclass(frozen=True)
class UNetOptions(SliceOptions):
    """Network of a U-Net, on top of preprocessing and sampling.

    Attributes:
        base: filters of the first level; every level below has twice as many, five levels.
        norm: after each 3x3 convolution of encoder and decoder.
        up: how the decoder doubles rows and columns.
        dropout: probability after the fourth and the fifth level.
    """

    base: int = 64
    norm: Norm = "none"
    up: UpMode = "upconv"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "base must be at least 1": self.base >= 1,
                "dropout must be at least 0 and below 1": 0 <= self.dropout < 1,
            },
        )


#: What the variants change in the defaults of `UNetOptions`.
VARIANTS: dict[str, dict[str, Any]] = {
    "ronneberger": {},
    "primakov": {
        "up": "upsample+conv2",
        "head": "sigmoid",
        "interpolation": "nearest",
        "window": (-1000.0, 150.0),
        "levels": 46,
        "fit": "crop",
    },
}


_SMOKE = "none: as small as a U-Net can be, to see on a CPU that everything runs"
_SMALL = {
    "base": 8,
    "norm": "batch",
    "dropout": 0.0,
    "spacing": 4.0,
    "patch": 64,
    "window": (-1000.0, 400.0),
    "levels": 0,
    "augment": "none",
}
_BENCHMARK = "Mulero Ayllon et al. 2025, arXiv 2505.01239, section III"
RECIPES = {
    "smoke": Recipe(
        source=_SMOKE,
        options=_SMALL,
        training={"steps": 150, "batch": 8, "learning_rate": 5e-3, "validate_every": 50},
        variants=("ronneberger",),
    ),
    "smoke:primakov": Recipe(
        source=_SMOKE,
        options={**_SMALL, "tumour_share": 0.8},
        # Two filters with ReLU before the last one: a higher rate switches both off for good.
        training={"steps": 200, "batch": 8, "learning_rate": 1.5e-3, "validate_every": 50},
        variants=("primakov",),
    ),
    "paper": Recipe(
        source="Ronneberger et al. 2015, section 3",
        options={"losses": {"cross_entropy": 1.0}, "patch": 512, "augment": "elastic"},
        training={
            "optimiser": "sgd",
            "momentum": 0.99,
            "nesterov": False,
            "batch": 1,
            "learning_rate": 1e-2,
            "weight_decay": 0.0,
            "schedule": "constant",
            "epochs": 100,
            "samples_per_case": 100,
        },
        assumed=("patch", "learning_rate", "weight_decay", "schedule", "epochs", "samples_per_case"),
        variants=("ronneberger",),
        notes="The paper's border weights part touching cells; a tumour has no neighbour, so cross-entropy is plain. "
        "Its valid convolutions (572 to 388 pixels) are padded here.",
    ),
    "lung-ct-benchmark": Recipe(
        source=_BENCHMARK,
        options={
            "labels": "lungs+tumour",
            "head": "softmax",
            "spacing": 1.0,
            "through": 3.0,
            "window": (-1000.0, 1000.0),
            "levels": 0,
            "fit": "crop",
            "patch": 512,
            "slices": "labelled",
            "tumour_share": 0.0,
            "augment": "none",
        },
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
            "fit",
            "patch",
            "slices",
            "tumour_share",
            "augment",
            "losses",
            "optimiser",
            "weight_decay",
            "schedule",
            "batch",
            "samples_per_case",
        ),
        notes="The benchmark adapts Primakov's network; optimiser, loss, batch, slice size, sampling and augmentation "
        "are not stated and are those of DeepLabV3 here, so that the two compare.",
    ),
    "gtv-samgan": Recipe(
        source="Yi et al. 2026, Quant Imaging Med Surg 16(1):59, comparison table",
        options={"fit": "crop", "patch": 512, "head": "sigmoid", "losses": {"bce": 1.0, "dice": 1.0}},
        training={
            "epochs": 100,
            "optimiser": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "batch": 4,
            "samples_per_case": 16,
        },
        assumed=("fit", "losses", "epochs", "optimiser", "learning_rate", "weight_decay", "batch", "samples_per_case"),
        variants=("ronneberger",),
        notes="Numbers of that table come from an earlier study of the group; its hyper-parameters are unknown.",
    ),
}


class UNet(nn.Module):
    """Five levels of two 3x3 convolutions; pooling down, up-sampling and skip connections back up."""

    multiple = MULTIPLE

    def __init__(self, options: UNetOptions) -> None:
        super().__init__()
        self.channels = options.channels
        widths = [options.base * 2**level for level in range(5)]
        norm = options.norm
        self.down = nn.ModuleList(
            DoubleConvolution(a, b, norm=norm) for a, b in zip([self.channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(Up(width, mode=options.up) for width in widths[:0:-1])
        self.merge = nn.ModuleList(DoubleConvolution(2 * width, width, norm=norm) for width in widths[-2::-1])
        self.dropout = nn.Dropout(options.dropout)
        self.head: nn.Module = nn.Conv2d(options.base, options.outputs, 1)
        if options.head == "sigmoid":
            two = nn.Conv2d(options.base, 2, 3, padding=1)
            self.head = nn.Sequential(two, nn.ReLU(inplace=True), nn.Conv2d(2, 1, 1))
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch, channels, rows, columns), multiples of 16, to logits (batch, outputs, rows, columns)."""
        require_input(x, "U-Net", channels=self.channels, multiple=MULTIPLE)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            x = self.dropout(x) if level >= 3 else x
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a U-Net.

    Args:
        variant: `ronneberger` (default) or `primakov`.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a file of
            tensors with this network's names. None gives random weights from torch's generator.
        **options: fields of `UNetOptions`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        SliceModel, INFOS, UNetOptions, UNet, variants=VARIANTS, variant=variant, weights=weights, options=options
    )
