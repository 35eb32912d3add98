"""SEA-Net (Xiong et al. 2024), built again from its abstract: squeeze and excitation, and gates fed by the bottleneck.

The abstract gives: a U-Net of residual blocks with squeeze and excitation ("SE-Res"), attention modules that weigh
positions while the maps grow again, deep features led into the shallow maps so that the two kinds of module "form a
spiral closed path", and the loss. Widths, depth, the inside of both modules and the training are chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions, require
from oncoseg.dense.slices import SliceModel
from oncoseg.nn.attention_gates import AttentionGate, ResidualBlock, SqueezeExcitation
from oncoseg.nn.blocks import Up, he_initialise
from oncoseg.nn.shapes import require_input

INFOS = (
    ModelInfo(
        name="sea_net",
        variant="",
        title="SEA-Net",
        summary="U-Net of squeeze-and-excitation blocks with skips gated by deep features; built from the abstract.",
        parameters=33_406_718,
        trainable_parameters=33_406_718,
        dimension="2d",
        prompts=(),
        doi="10.1186/s12880-024-01194-8",
        licence="Apache-2.0",
        fidelity="reconstructed",
        trainable=True,
        recipe={"loss": "cross-entropy + Tversky"},
    ),
)


@dataclass(frozen=True)
class SEANetOptions(SliceOptions):
    """Network of a SEA-Net; `patch` must divide by 2 for every level but the first.

    Attributes:
        widths: channels of each level, finest first.
        reduction: of the squeeze.
        losses: of the paper; its weights are not stated.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    reduction: int = 16
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0, "tversky": 1.0})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "widths must be at least two, positive and even": len(self.widths) > 1
                and all(width > 0 and width % 2 == 0 for width in self.widths),
                "widths must double from level to level": all(
                    b == 2 * a for a, b in zip(self.widths, self.widths[1:], strict=False)
                ),
                "reduction must be at least 1": self.reduction >= 1,
            },
        )


VARIANTS: dict[str, dict[str, Any]] = {}

_UNSTATED = ("optimiser", "learning_rate", "weight_decay", "schedule", "batch", "epochs", "samples_per_case")
RECIPES = {
    "smoke": Recipe(
        source="none: as small as the network can be, to see on a CPU that everything runs",
        options={
            "widths": (8, 16, 32, 64),
            "spacing": 4.0,
            "patch": 64,
            "window": (-1000.0, 400.0),
            "augment": "none",
        },
        training={"steps": 100, "batch": 8, "learning_rate": 5e-3, "validate_every": 50},
    ),
    "paper": Recipe(
        source="Xiong et al. 2024, BMC Med Imaging 24:17, abstract",
        options={
            "losses": {"cross_entropy": 1.0, "tversky": 1.0},
            "patch": 512,
            "window": (-1000.0, 1000.0),
            "augment": "flips",
        },
        training={
            "optimiser": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "schedule": "constant",
            "batch": 4,
            "epochs": 100,
            "samples_per_case": 16,
        },
        assumed=("patch", "window", "augment", *_UNSTATED),
        notes="Of the loss its two terms are known, neither their weights (1 and 1 here) nor those of the Tversky loss "
        "(0.3 for false positives, 0.7 for false negatives here). The paper tests on brain MRI and blood smears.",
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
        },
        training={
            "optimiser": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "schedule": "constant",
            "batch": 4,
            "epochs": 100,
            "samples_per_case": 16,
        },
        assumed=("fit", "window", "augment", "losses", *_UNSTATED),
        notes="The paper states Adam, 1e-4, batch 4 and 100 epochs for its own model alone; how its SEA-Net was built "
        "and trained is not said.",
    ),
}


class SEANet(nn.Module):
    """Encoder and decoder of SE-Res blocks; each skip is gated by the map below and by the bottleneck.

    Args:
        options: widths, channels and outputs.
        outputs: channels of the head; None takes the options'.
    """

    def __init__(self, options: SEANetOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        widths, deepest = options.widths, options.widths[-1]
        self.channels = options.channels
        self.multiple = 2 ** (len(widths) - 1)

        def block(source: int, target: int) -> ResidualBlock:
            return ResidualBlock(source, target, attention=SqueezeExcitation(target, reduction=options.reduction))

        self.down = nn.ModuleList(block(a, b) for a, b in zip([self.channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(Up(below) for below in widths[:0:-1])
        # The map below the deepest skip is the bottleneck itself, which is not given twice.
        self.gates = nn.ModuleList(
            AttentionGate(width, [below] if below == deepest else [below, deepest], inner=width // 2, norm=False)
            for width, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.merge = nn.ModuleList(block(2 * width, width) for width in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], options.outputs if outputs is None else outputs, 1)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch, channels, rows, columns) to logits (batch, outputs, rows, columns).

        Raises:
            InputError: for other channels, or a size that `multiple` does not divide.
        """
        require_input(x, "SEA-Net", channels=self.channels, multiple=self.multiple)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        bottleneck = x
        for up, gate, merge, skip in zip(self.up, self.gates, self.merge, skips[-2::-1], strict=True):
            gated = gate(skip, [x] if x is bottleneck else [x, bottleneck])
            x = merge(torch.cat([gated, up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a SEA-Net.

    Args:
        variant: there is one; leave it away.
        weights: a checkpoint written by `oncoseg train`, or a file of tensors with this network's names. None gives
            random weights from torch's generator.
        **options: fields of `SEANetOptions`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        SliceModel, INFOS, SEANetOptions, SEANet, variants=VARIANTS, variant=variant, weights=weights, options=options
    )
