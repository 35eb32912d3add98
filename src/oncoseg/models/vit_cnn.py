"""ViT + CNN (Tyagi, Kushnure and Talbar 2023), built again from what other papers say of it.

Text and code could not be read. Known is that a vision transformer is joined to a convolutional network; levels,
attention, transformer, decoder, loss and training are chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions, require
from oncoseg.dense.slices import SliceModel
from oncoseg.nn.attention_gates import BlockAttention
from oncoseg.nn.blocks import DoubleConvolution, he_initialise
from oncoseg.nn.shapes import require_input
from oncoseg.nn.vit import Encoder

INFOS = (
    ModelInfo(
        name="vit_cnn",
        variant="",
        title="ViT + CNN (Tyagi et al.)",
        summary="Convolutional encoder and decoder with a vision transformer between; built from second-hand facts.",
        parameters=30_105_417,
        trainable_parameters=30_105_417,
        dimension="2d",
        prompts=(),
        doi="10.1016/j.compmedimag.2023.102258",
        licence="Apache-2.0",
        fidelity="reconstructed",
        trainable=True,
    ),
)


@dataclass(frozen=True)
class ViTCNNOptions(SliceOptions):
    """Network of a ViT + CNN; the learnt positions fix the size of a slice to `patch`.

    Attributes:
        widths: channels of each level of the convolutional encoder, finest first.
        hidden: width of a token.
        layers: of the transformer.
        heads: of its attention; must divide `hidden`.
        mlp: inner width of its perceptrons, as a multiple of `hidden`.
        reduction: of the channel attention.
        fit: `resize` or `crop`.
        patch: rows and columns; must divide by 2 for every level.
        head: one sigmoid channel, or a softmax.
        losses: binary cross-entropy and Dice.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    hidden: int = 384
    layers: int = 8
    heads: int = 6
    mlp: int = 4
    reduction: int = 16
    fit: Literal["pad", "crop", "resize"] = "resize"
    patch: int = 256
    head: Literal["softmax", "sigmoid"] = "sigmoid"
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0, "dice": 1.0})

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (*self.widths, self.hidden, self.layers, self.heads, self.mlp, self.reduction)
        require(
            self,
            {
                "widths, hidden, layers, heads, mlp and reduction must be at least 1": len(self.widths) > 0
                and min(sizes) >= 1,
                "hidden must be a multiple of heads": self.hidden % max(1, self.heads) == 0,
                "the network takes one size of slice: fit must be resize or crop": self.fit != "pad",
                "patch must be a multiple of 2 for every one of widths": self.patch % 2 ** len(self.widths) == 0,
            },
        )


VARIANTS: dict[str, dict[str, Any]] = {}

_TRAINING = {
    "optimiser": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "schedule": "constant",
    "batch": 4,
    "epochs": 100,
    "samples_per_case": 16,
}
RECIPES = {
    "smoke": Recipe(
        source="none: as small as the network can be, to see on a CPU that everything runs",
        options={
            "widths": (16, 32),
            "hidden": 48,
            "layers": 2,
            "heads": 4,
            "patch": 64,
            "window": (-1000.0, 400.0),
            "augment": "none",
            "tumour_share": 0.8,
        },
        training={"steps": 100, "batch": 8, "learning_rate": 1e-2, "validate_every": 50},
    ),
    "paper": Recipe(
        source="Tyagi et al. 2023, Comput Med Imaging Graph 108:102258, of which no text could be read",
        options={
            "fit": "resize",
            "patch": 256,
            "window": (-1000.0, 1000.0),
            "head": "sigmoid",
            "losses": {"cross_entropy": 1.0, "dice": 1.0},
            "augment": "flips",
        },
        training=_TRAINING,
        assumed=("fit", "patch", "window", "head", "losses", "augment", *_TRAINING),
        notes="Nothing of this is known to be the paper's. The 74.68 % Dice it reports on NSCLC-Radiomics (quoted by "
        "Yi et al. 2026, on another split) is a literature value and no target for this network.",
    ),
    "gtv-samgan": Recipe(
        source="Yi et al. 2026, Quant Imaging Med Surg 16(1):59",
        options={
            "fit": "resize",
            "patch": 512,
            "slices": "labelled",
            "tumour_share": 1.0,
            "window": (-1000.0, 1000.0),
            "augment": "none",
        },
        training=_TRAINING,
        assumed=("fit", "window", "augment", "head", "losses", *_TRAINING),
        notes="That paper quotes the network's figure and did not train it; the settings are those it states for its "
        "own model.",
    ),
}


class ViTCNN(nn.Module):
    """Double convolutions with channel and position attention, a transformer on the coarsest map, a decoder.

    Args:
        options: widths, transformer, patch, channels and outputs.
        outputs: channels of the head; None takes the options'.
    """

    def __init__(self, options: ViTCNNOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        widths, hidden = options.widths, options.hidden
        self.channels, self.size = options.channels, (options.patch, options.patch)
        self.multiple = 2 ** len(widths)
        self.grid = options.patch // self.multiple
        self.down = nn.ModuleList(
            nn.Sequential(DoubleConvolution(a, b, norm="batch"), BlockAttention(b, reduction=options.reduction))
            for a, b in zip([self.channels, *widths], widths, strict=False)
        )
        self.tokens = nn.Conv2d(widths[-1], hidden, 1)
        self.positions = nn.Parameter(torch.empty(1, self.grid**2, hidden))
        self.transformer = Encoder(options.layers, hidden, heads=options.heads, mlp=options.mlp * hidden)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, width, 2, stride=2)
            for below, width in zip([hidden, *widths[::-1]], widths[::-1], strict=False)
        )
        self.merge = nn.ModuleList(DoubleConvolution(2 * width, width, norm="batch") for width in widths[::-1])
        self.head = nn.Conv2d(widths[0], options.outputs if outputs is None else outputs, 1)
        he_initialise(self)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch, channels, patch, patch) to logits (batch, outputs, patch, patch).

        Raises:
            InputError: for another size or number of channels, with those it takes.
        """
        require_input(x, "ViT + CNN", channels=self.channels, size=self.size)
        skips: list[Tensor] = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        tokens = self.transformer(self.tokens(x).flatten(2).transpose(1, 2) + self.positions)
        x = tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        for up, merge, skip in zip(self.up, self.merge, skips[::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a ViT + CNN.

    Args:
        variant: there is one; leave it away.
        weights: a checkpoint written by `oncoseg train`, or a file of tensors with this network's names. None gives
            random weights from torch's generator.
        **options: fields of `ViTCNNOptions`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        SliceModel, INFOS, ViTCNNOptions, ViTCNN, variants=VARIANTS, variant=variant, weights=weights, options=options
    )
