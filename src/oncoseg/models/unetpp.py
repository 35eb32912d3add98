"""UNet++: a U-Net whose skips are networks of their own, with or without deep supervision (Zhou et al. 2018, 2020)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions, require
from oncoseg.dense.slices import SliceModel
from oncoseg.nn.blocks import he_initialise
from oncoseg.nn.shapes import require_input

INFOS = (
    ModelInfo(
        name="unetpp",
        variant="plain",
        title="UNet++",
        summary="A U-Net with nested, dense skip pathways, slice by slice; one output.",
        parameters=9_041_601,
        trainable_parameters=9_041_601,
        dimension="2d",
        prompts=(),
        doi="10.1007/978-3-030-00889-5_1",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "adam", "learning_rate": 3e-4, "loss": "0.5 binary cross-entropy + Dice"},
    ),
    ModelInfo(
        name="unetpp",
        variant="deep",
        title="UNet++ (deep supervision)",
        summary="UNet++ with four outputs of growing depth, averaged, or pruned to one of them for speed.",
        parameters=9_041_700,
        trainable_parameters=9_041_700,
        dimension="2d",
        prompts=(),
        doi="10.1007/978-3-030-00889-5_1",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "adam", "learning_rate": 3e-4, "loss": "0.5 binary cross-entropy + Dice, mean of four"},
    ),
)

#: Levels below the first one, and outputs with deep supervision.
DEPTH = 4
#: Four poolings halve rows and columns.
MULTIPLE = 2**DEPTH


@dataclass(frozen=True)
class UNetPPOptions(SliceOptions):
    """Network of a UNet++, on top of preprocessing and sampling.

    Attributes:
        base: filters of the first level; every level below has twice as many, five levels.
        norm: after each 3x3 convolution; the paper has none, most ports batch normalisation.
        up: from a level to the one above: 2x2 transposed convolution to its width, or bilinear without weights.
        dropout: probability behind each 3x3 convolution; 0.5 in the authors' code, not in their paper.
        deep: an output at each of X(0,1) to X(0,4), all of them supervised; else at X(0,4) alone.
        inference: what predicts: the `mean` probability of the four outputs ("accurate"), or one of them
            ("fast"), without the nodes it does not need: `l1` to `l4`. Can be chosen anew for any checkpoint.
    """

    FREE: ClassVar[frozenset[str]] = SliceOptions.FREE | {"inference"}

    head: Literal["softmax", "sigmoid"] = "sigmoid"
    losses: dict[str, float] = field(default_factory=lambda: {"cross_entropy": 0.5, "dice": 1.0})
    base: int = 32
    norm: Literal["none", "batch"] = "none"
    up: Literal["upconv", "bilinear"] = "upconv"
    dropout: float = 0.0
    deep: bool = False
    inference: Literal["mean", "l1", "l2", "l3", "l4"] = "l4"

    def __post_init__(self) -> None:
        if self.deep and self.depth_weights == (1.0,):
            object.__setattr__(self, "depth_weights", (1 / DEPTH,) * DEPTH)
        super().__post_init__()
        require(
            self,
            {
                "base must be at least 1": self.base >= 1,
                "dropout must be at least 0 and below 1": 0 <= self.dropout < 1,
                "depth_weights must be one, with deep supervision four": len(self.depth_weights)
                == (DEPTH if self.deep else 1),
                "without deep supervision there is one output: deep = true, or inference = l4": self.deep
                or self.inference == "l4",
            },
        )


#: What the variants change in the defaults of `UNetPPOptions`.
VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "deep": {"deep": True, "inference": "mean"}}

_LOSSES = {"bce": 0.5, "dice": 1.0}

RECIPES = {
    "smoke": Recipe(
        source="none: as small as a UNet++ can be, to see on a CPU that everything runs",
        options={
            "base": 4,
            "norm": "batch",
            "losses": {"cross_entropy": 1.0, "dice_squared": 1.0},
            "spacing": 4.0,
            "patch": 64,
            "tumour_share": 0.8,
            "augment": "none",
        },
        training={"steps": 150, "batch": 8, "learning_rate": 1e-2, "validate_every": 50},
    ),
    "paper": Recipe(
        source="Zhou et al. 2018, section 3 (implementation details)",
        options={
            "head": "sigmoid",
            "losses": _LOSSES,
            "spacing": 1.0,
            "fit": "crop",
            "patch": 512,
            "tumour_share": 0.5,
            "augment": "none",
        },
        training={
            "epochs": 300,
            "patience": 10,
            "optimiser": "adam",
            "learning_rate": 3e-4,
            "weight_decay": 0.0,
            "schedule": "constant",
            "batch": 8,
            "samples_per_case": 100,
        },
        assumed=(
            "spacing",
            "fit",
            "patch",
            "tumour_share",
            "augment",
            "epochs",
            "patience",
            "weight_decay",
            "schedule",
            "batch",
            "samples_per_case",
        ),
        notes="The paper stops early on the validation data, with a patience it does not give. Its code adds dropout "
        "of 0.5 and an L2 penalty of 1e-4 (options dropout and weight_decay).",
    ),
    "gtv-samgan": Recipe(
        source="Yi et al. 2026, Quant Imaging Med Surg 16(1):59, comparison table",
        options={
            "head": "sigmoid",
            "losses": _LOSSES,
            "spacing": None,
            "fit": "crop",
            "patch": 512,
            "slices": "labelled",
            "tumour_share": 1.0,
            "window": (-1000.0, 1000.0),
            "augment": "none",
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
            "head",
            "losses",
            "fit",
            "window",
            "augment",
            "epochs",
            "optimiser",
            "learning_rate",
            "weight_decay",
            "schedule",
            "batch",
            "samples_per_case",
        ),
        notes="Slices with tumour only, whole 512 x 512 frames. The table's UNet++ rows come from an earlier study of "
        "the group whose hyper-parameters are unknown; these are the ones Yi et al. trained their own network with.",
    ),
}


class UNetPP(nn.Module):
    """Nodes X(i,j) of five levels i: encoder at j = 0, then each sees its level's earlier nodes and the one below.

    Args:
        options: of the network.
        outputs: channels of the logits; those of the options when None.
    """

    multiple = MULTIPLE

    def __init__(self, options: UNetPPOptions, outputs: int | None = None) -> None:
        super().__init__()
        self.channels = options.channels
        self.deep = options.deep
        self.inference = options.inference
        outputs = options.outputs if outputs is None else outputs
        widths = [options.base * 2**level for level in range(DEPTH + 1)]
        for level, width in enumerate(widths):
            source = widths[level - 1] if level else options.channels
            self.add_module(f"conv{level}_0", Node(source, width, norm=options.norm, dropout=options.dropout))
            for column in range(1, DEPTH - level + 1):
                below = widths[level + 1]
                up: nn.Module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                risen = below
                if options.up == "upconv":
                    up, risen = nn.ConvTranspose2d(below, width, 2, stride=2), width
                self.add_module(f"up{level + 1}_{column - 1}", up)
                node = Node(column * width + risen, width, norm=options.norm, dropout=options.dropout)
                self.add_module(f"conv{level}_{column}", node)
        for name in self._heads():
            self.add_module(name, nn.Conv2d(options.base, outputs, 1))
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Slices (batch, channels, rows, columns), multiples of 16, to logits (batch, outputs, rows, columns).

        Training with deep supervision gives the logits at X(0,4), X(0,3), X(0,2) and X(0,1), all at the input's size.
        """
        require_input(x, "UNet++", channels=self.channels, multiple=MULTIPLE)
        heads = [self.get_submodule(name) for name in self._heads()]
        if not self.deep:
            only: Tensor = heads[0](self._top(x, DEPTH)[-1])
            return only
        if self.training or self.inference == "mean":
            logits = [head(node) for head, node in zip(heads, reversed(self._top(x, DEPTH)), strict=True)]
            return logits if self.training else _mean(logits)
        depth = int(self.inference.removeprefix("l"))
        chosen: Tensor = heads[DEPTH - depth](self._top(x, depth)[-1])
        return chosen

    def _heads(self) -> list[str]:
        """Names of the outputs, deepest first."""
        return [f"final{depth}" for depth in range(DEPTH, 0, -1)] if self.deep else ["final"]

    def _top(self, x: Tensor, depth: int) -> list[Tensor]:
        """X(0,1) to X(0,depth), computed with the nodes above the diagonal that they need."""
        rows: list[list[Tensor]] = []
        for level in range(depth + 1):
            x = self.get_submodule(f"conv{level}_0")(F.max_pool2d(rows[-1][0], 2) if level else x)
            rows.append([x])
            for upper in range(level - 1, -1, -1):
                column = level - upper
                risen = self.get_submodule(f"up{upper + 1}_{column - 1}")(rows[upper + 1][column - 1])
                node = self.get_submodule(f"conv{upper}_{column}")
                rows[upper].append(node(torch.cat([*rows[upper], risen], dim=1)))
        return rows[0][1:]


class Node(nn.Module):
    """Two 3x3 convolutions, each with ReLU and what the options add; named as the popular PyTorch port names them."""

    def __init__(self, channels_in: int, channels_out: int, *, norm: Literal["none", "batch"], dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels_out) if norm == "batch" else nn.Identity()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels_out) if norm == "batch" else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, rows, columns) to (batch, channels_out, rows, columns)."""
        x = self.dropout(F.relu(self.bn1(self.conv1(x)), inplace=True))
        result: Tensor = self.dropout(F.relu(self.bn2(self.conv2(x)), inplace=True))
        return result


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a UNet++.

    Args:
        variant: `plain` (default) or `deep`.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a file of
            tensors with this network's names. None gives random weights from torch's generator.
        **options: fields of `UNetPPOptions`; `inference` may differ from the checkpoint's.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        SliceModel,
        INFOS,
        UNetPPOptions,
        UNetPP,
        variants=VARIANTS,
        variant=variant,
        weights=weights,
        options=options,
    )


def _mean(logits: list[Tensor]) -> Tensor:
    """Logits whose probability is the mean of the probabilities of several; for one channel a sigmoid's."""
    stacked = torch.stack([x.float() for x in logits])
    if stacked.shape[2] == 1:
        # The mean's odds: the fours cancel.
        yes, no = (torch.logsumexp(F.logsigmoid(sign * stacked), dim=0) for sign in (1, -1))
        return yes - no
    # A softmax does not mind the common factor of the mean.
    return torch.logsumexp(torch.log_softmax(stacked, dim=2), dim=0)
