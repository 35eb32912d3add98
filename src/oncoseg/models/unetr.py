"""UNETR: a vision transformer over blocks of 16^3 voxels with a convolutional decoder (Hatamizadeh et al. 2022)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import PatchOptions, require
from oncoseg.dense.patches import PatchModel
from oncoseg.msam import patches
from oncoseg.nn import monai_networks
from oncoseg.weights.loading import load_strictly

INFOS = (
    ModelInfo(
        name="unetr",
        variant="",
        title="UNETR",
        summary="A ViT-B over 16^3 voxel tokens of 128^3 patches, decoded by convolutions; MONAI's network.",
        parameters=93_029_602,
        # Without the layer norms that MONAI makes and never uses.
        trainable_parameters=93_011_170,
        dimension="3d",
        prompts=(),
        doi="10.1109/WACV51458.2022.00181",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "adamw", "learning_rate": 1e-4, "batch": 6, "steps": 20_000, "patch": 96},
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {"": {}}

#: What some versions of MONAI make for a cross-attention that UNETR has not; others do not know it.
_UNUSED = re.compile(r"vit\.blocks\.\d+\.(norm_)?cross_attn\..+")


@dataclass(frozen=True)
class UnetrOptions(PatchOptions):
    """Network of a UNETR, on top of preprocessing and sampling; `patch` is the one size it takes, multiples of 16.

    Attributes:
        features: filters at full resolution; 2, 4 and 8 times as many below.
        hidden, mlp, heads: width of a token, inner width of the perceptrons, attention heads of the 12 layers.
        embedding: `conv`; `perceptron` for files of MONAI networks built with it, e.g. the authors' BTCV weights.
        dropout: probability in the transformer.
    """

    features: int = 16
    hidden: int = 768
    mlp: int = 3072
    heads: int = 12
    embedding: Literal["conv", "perceptron"] = "conv"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.features, self.hidden, self.mlp, self.heads)
        require(
            self,
            {
                "features, hidden, mlp and heads must be at least 1": min(sizes) >= 1,
                "dropout must be at least 0 and below 1": 0 <= self.dropout < 1,
            },
        )
        require(self, {"hidden must be a multiple of heads": self.hidden % self.heads == 0})


RECIPES = {
    "smoke": Recipe(
        source="none: as small as a UNETR can be, to see on a CPU that everything runs",
        options={
            "features": 4,
            "hidden": 24,
            "mlp": 48,
            "heads": 2,
            "spacing": (5.0, 4.0, 4.0),
            "patch": (32, 64, 64),
            "augment": "none",
        },
        training={"steps": 36, "batch": 1, "learning_rate": 1e-2, "validate_every": 12},
    ),
    "paper": Recipe(
        source="Hatamizadeh et al. 2022 (arXiv 2103.10504), section 4, its abdominal CT (BTCV)",
        options={
            "spacing": (2.0, 1.5, 1.5),
            "patch": (96, 96, 96),
            "window": (-175.0, 250.0),
            "losses": {"dice_squared": 1.0, "cross_entropy": 1.0},
            "tumour_share": 0.5,
            "overlap": 0.5,
            "augment": "flips",
        },
        training={
            "optimiser": "adamw",
            "learning_rate": 1e-4,
            "weight_decay": 1e-5,
            "schedule": "constant",
            "batch": 6,
            "steps": 20_000,
        },
        assumed=("augment", "schedule"),
        notes="The paper also turns by 90 degrees and changes brightness; no learning rate schedule is stated. Its CT "
        "window is for the abdomen and blackens lung tissue: keep the default window for lung tumours.",
    ),
    "m-sam": patches(
        "Its table lists 104 M parameters, which fits four input channels (102.5 M); with one there are 93.0 M."
    ),
}


def unetr(options: UnetrOptions, *, outputs: int | None = None) -> nn.Module:
    """The network of the options.

    Args:
        options: sizes of all parts.
        outputs: classes with background; None for those of the options.

    Returns:
        MONAI's module: (batch, channels, *patch) to logits (batch, outputs, *patch).
    """
    return monai_networks.unetr(
        channels=options.channels,
        outputs=options.outputs if outputs is None else outputs,
        size=options.patch,
        features=options.features,
        hidden=options.hidden,
        mlp=options.mlp,
        heads=options.heads,
        embedding=options.embedding,
        dropout=options.dropout,
    )


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> PatchModel:
    """Make a UNETR.

    Args:
        variant: there is one; None.
        weights: a checkpoint written by `oncoseg train`, which brings its options; or a MONAI state dict. None
            gives random weights from torch's generator.
        **options: fields of `UnetrOptions`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        PatchModel,
        INFOS,
        UnetrOptions,
        unetr,
        variants=VARIANTS,
        variant=variant,
        weights=weights,
        options=options,
        load=_load_monai,
    )


def _load_monai(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    used = {name: tensor for name, tensor in state.items() if not _UNUSED.fullmatch(name)}
    unused = {name: tensor for name, tensor in network.state_dict().items() if _UNUSED.fullmatch(name)}
    load_strictly(network, unused | used, what)
