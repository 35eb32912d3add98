"""RAU-Net (Sci Rep 15:15075, 2025), built again from its name: residual blocks and attention gates in a U-Net.

Neither the text nor code could be read. Known is the title, "RAU-Net for precise lung cancer GTV segmentation in
radiation therapy planning", and that other studies take their comparison numbers from it. Everything else is chosen
here, the gates after Oktay et al. 2018.
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
from oncoseg.nn.attention_gates import AttentionGate, ResidualBlock
from oncoseg.nn.blocks import Up, he_initialise
from oncoseg.nn.shapes import require_input

INFOS = (
    ModelInfo(
        name="rau_net",
        variant="",
        title="RAU-Net",
        summary="U-Net of residual blocks with attention gates on its skip connections; built from the title alone.",
        parameters=32_956_777,
        trainable_parameters=32_956_777,
        dimension="2d",
        prompts=(),
        doi=None,
        licence="Apache-2.0",
        fidelity="reconstructed",
        trainable=True,
    ),
)


@dataclass(frozen=True)
class RAUNetOptions(SliceOptions):
    """Network of a RAU-Net; `patch` must divide by 2 for every level but the first.

    Attributes:
        widths: channels of each level, finest first.
        head: one sigmoid channel, or a softmax.
        losses: binary cross-entropy and Dice.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    head: Literal["softmax", "sigmoid"] = "sigmoid"
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0, "dice": 1.0})

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
            "widths": (8, 16, 32, 64),
            "spacing": 4.0,
            "patch": 64,
            "window": (-1000.0, 400.0),
            "augment": "none",
        },
        training={"steps": 100, "batch": 8, "learning_rate": 5e-3, "validate_every": 50},
    ),
    "paper": Recipe(
        source="Sci Rep 15:15075 (2025), of which the title alone could be read",
        options={
            "head": "sigmoid",
            "losses": {"cross_entropy": 1.0, "dice": 1.0},
            "patch": 512,
            "window": (-1000.0, 1000.0),
            "augment": "flips",
        },
        training=_TRAINING,
        assumed=("head", "losses", "patch", "window", "augment", *_TRAINING),
        notes="Nothing of this is the paper's; it is what a network of this kind is usually trained with.",
    ),
    "gtv-samgan": Recipe(
        source="Yi et al. 2026, Quant Imaging Med Surg 16(1):59",
        options={
            "spacing": None,
            "fit": "crop",
            "patch": 512,
            "slices": "labelled",
            "tumour_share": 1.0,
            "window": (-1000.0, 1000.0),
            "augment": "none",
        },
        training=_TRAINING,
        assumed=("fit", "window", "augment", "head", "losses", *_TRAINING),
        notes="That paper takes rows of its table from the RAU-Net paper and does not list RAU-Net itself; the "
        "settings are those it states for its own model.",
    ),
}


class RAUNet(nn.Module):
    """Encoder and decoder of residual blocks; each skip is gated by the map below it.

    Args:
        options: widths, channels and outputs.
        outputs: channels of the head; None takes the options'.
    """

    def __init__(self, options: RAUNetOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        widths = options.widths
        self.channels = options.channels
        self.multiple = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(ResidualBlock(a, b) for a, b in zip([self.channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(Up(below) for below in widths[:0:-1])
        self.gates = nn.ModuleList(
            AttentionGate(width, [below], inner=width // 2, norm=True)
            for width, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.merge = nn.ModuleList(ResidualBlock(2 * width, width) for width in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], options.outputs if outputs is None else outputs, 1)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch, channels, rows, columns) to logits (batch, outputs, rows, columns).

        Raises:
            InputError: for other channels, or a size that `multiple` does not divide.
        """
        require_input(x, "RAU-Net", channels=self.channels, multiple=self.multiple)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for up, gate, merge, skip in zip(self.up, self.gates, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([gate(skip, [x]), up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a RAU-Net.

    Args:
        variant: there is one; leave it away.
        weights: a checkpoint written by `oncoseg train`, or a file of tensors with this network's names. None gives
            random weights from torch's generator.
        **options: fields of `RAUNetOptions`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        SliceModel, INFOS, RAUNetOptions, RAUNet, variants=VARIANTS, variant=variant, weights=weights, options=options
    )
