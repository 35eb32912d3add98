"""Swin UNETR: a Swin transformer over a volume with a convolutional decoder (Hatamizadeh et al. 2022)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import PatchOptions, require
from oncoseg.dense.patches import PatchModel
from oncoseg.errors import ConfigError, InputError
from oncoseg.msam import patches
from oncoseg.nn import monai_networks
from oncoseg.weights.keymaps import Rule, rename
from oncoseg.weights.loading import read_tensors

_LOG = logging.getLogger(__name__)

_COMMON: dict[str, Any] = {
    "name": "swin_unetr",
    "dimension": "3d",
    "prompts": (),
    "doi": "10.1007/978-3-031-08999-2_22",
    "licence": "Apache-2.0",
    "trainable": True,
    "recipe": {"optimiser": "adamw", "learning_rate": 8e-4, "batch": 8, "epochs": 800, "patch": 128},
}
INFOS = (
    ModelInfo(
        variant="48",
        title="Swin UNETR",
        summary="A Swin transformer of 48 features over 128^3 patches, decoded by convolutions; MONAI's network.",
        parameters=62_186_708,
        trainable_parameters=62_186_708,
        fidelity="verified",
        **_COMMON,
    ),
    ModelInfo(
        variant="msam",
        title="Swin UNETR (72 features)",
        summary="72 features: the size nearest to the 138 M parameters that the M-SAM comparison lists.",
        parameters=139_648_844,
        trainable_parameters=139_648_844,
        fidelity="reconstructed",
        **_COMMON,
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {"48": {}, "msam": {"features": 72}}

_SWIN = "swinViT."
#: Names in files of the self-supervised pretraining -> MONAI's; every other key keeps its name.
_PRETRAINED: tuple[Rule, ...] = (
    (r"(?:module\.)?(?:swinViT\.)?(layers\d\.0\.blocks\.\d+\.mlp\.)fc([12]\..+)", r"swinViT.\1linear\2"),
    (r"(?:module\.)?(?:swinViT\.)?(layers\d.*|patch_embed\..+)", r"swinViT.\1"),
    (r"(?:module\.)?encoder\.(layers\d\.0\.)0\.(.+)", r"swinViT.\1\2"),
    (r"(?:module\.)?encoder\.(patch_embed\..+)", r"swinViT.\1"),
)


@dataclass(frozen=True)
class SwinUnetrOptions(PatchOptions):
    """Network of a Swin UNETR, on top of preprocessing and sampling; sizes must be multiples of 32.

    Attributes:
        features: width of the first stage, a multiple of 12; doubled by each of the four stages.
        depths, heads: blocks and attention heads of the stages.
        window_tokens: along each side of an attention window.
        drop_path: highest probability of leaving a branch out while training.
        v2: a residual convolution before each stage (SwinUNETR-V2).
        merging: of eight tokens to one between stages: `all` of them, or `first`, as MONAI before 1.5 had it by a
            slip. The weights published for Swin UNETR were trained with `first`.
        recompute: forget what lies inside the blocks and compute it again for the gradient: less memory, more time.
    """

    features: int = 48
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    window_tokens: int = 7
    drop_path: float = 0.0
    v2: bool = False
    merging: Literal["all", "first"] = "all"
    recompute: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        widths = [self.features * 2**stage for stage in range(4)]
        require(
            self,
            {
                "features must be a positive multiple of 12": self.features > 0 and self.features % 12 == 0,
                "depths, heads and window_tokens must be at least 1": min(*self.depths, *self.heads, self.window_tokens)
                >= 1,
            },
        )
        require(
            self,
            {
                "heads must divide features, doubled stage by stage": not any(
                    width % heads for width, heads in zip(widths, self.heads, strict=True)
                ),
                "drop_path must be at least 0 and below 1": 0 <= self.drop_path < 1,
                # The deepest maps would be single voxels, which instance normalisation cannot train on.
                "patch must be larger than 32 x 32 x 32": prod(self.patch) > 32**3,
            },
        )


RECIPES = {
    "smoke": Recipe(
        source="none: as small as a Swin UNETR can be, to see on a CPU that everything runs",
        options={
            "features": 12,
            "depths": (1, 1, 1, 1),
            "heads": (1, 2, 4, 8),
            "window_tokens": 4,
            "spacing": (5.0, 4.0, 4.0),
            "patch": (32, 32, 64),
            "tumour_share": 0.8,
            "augment": "none",
        },
        training={"steps": 40, "batch": 1, "learning_rate": 5e-3, "validate_every": 20},
    ),
    "paper": Recipe(
        source="Hatamizadeh et al. 2022 (arXiv 2201.01266), section 3, brain tumours (BraTS21)",
        options={
            "spacing": (1.0, 1.0, 1.0),
            "patch": (128, 128, 128),
            "normalise": "zscore_nonzero",
            "head": "sigmoid",
            "losses": {"dice_squared": 1.0},
            "overlap": 0.7,
            "augment": "flips",
        },
        training={
            "optimiser": "adamw",
            "learning_rate": 8e-4,
            "weight_decay": 1e-5,
            "schedule": "cosine",
            "warm_up": 50,
            "rate_every": "epoch",
            "batch": 1,
            "accumulate": 8,
            "epochs": 800,
        },
        assumed=("window", "augment", "weight_decay", "tumour_share"),
        variants=("48",),
        notes="Eight GPUs with one patch each are eight accumulated patches here. The paper tells three overlapping "
        "tumour regions apart and sees four MR sequences; here one tumour is found in one image. Its changes of "
        "brightness are left out of `flips`. For MR give the window of the intensities.",
    ),
    "m-sam": patches("Its table lists 138 M parameters, to which 72 features (variant `msam`) come nearest."),
}


def swin_unetr(options: SwinUnetrOptions, *, outputs: int | None = None) -> nn.Module:
    """The network of the options.

    Args:
        options: sizes of all parts.
        outputs: classes with background; None for those of the options.

    Returns:
        MONAI's module: (batch, channels, slices, rows, columns), multiples of 32, to logits of that size.
    """
    return monai_networks.swin_unetr(
        channels=options.channels,
        outputs=options.outputs if outputs is None else outputs,
        features=options.features,
        depths=options.depths,
        heads=options.heads,
        window=options.window_tokens,
        drop_path=options.drop_path,
        v2=options.v2,
        merging=options.merging,
        recompute=options.recompute,
    )


def build(
    variant: str | None = None, *, weights: Path | None = None, pretrained: str | Path | None = None, **options: Any
) -> PatchModel:
    """Make a Swin UNETR.

    Args:
        variant: `48` (default) or `msam`.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a MONAI state dict.
            None gives random weights from torch's generator.
        pretrained: a file whose Swin transformer a training begins from: MONAI's self-supervised weights, with old
            names or new, or a whole Swin UNETR of any number of classes; the decoder stays random. Files older than
            MONAI 1.5 want `merging = first`.
        **options: fields of `SwinUnetrOptions`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, one that differs from the checkpoint's, or `pretrained`
            beside `weights`.
        InputError: when a file cannot be read or does not fit.
    """
    if weights and pretrained:
        raise ConfigError("Give either weights or pretrained: weights already hold every tensor of the network.")

    def network(chosen: SwinUnetrOptions) -> nn.Module:
        made = swin_unetr(chosen)
        if pretrained:
            load_pretrained(made, read_tensors(Path(pretrained)).state, str(pretrained))
        return made

    return built(
        PatchModel,
        INFOS,
        SwinUnetrOptions,
        network,
        variants=VARIANTS,
        variant=variant,
        weights=weights,
        options=options,
    )


def load_pretrained(network: nn.Module, state: Mapping[str, Tensor], what: str) -> list[str]:
    """Fill the Swin transformer of a network as far as a file goes; what it lacks is logged and stays as it was.

    Args:
        network: a Swin UNETR.
        state: tensor per name, of the pretraining or of a whole Swin UNETR; what is not of the transformer is ignored.
        what: names the file in messages.

    Returns:
        The transformer's tensors that the file lacks.

    Raises:
        InputError: when the file has none of them, or one of another shape; the network is untouched.
    """
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(_SWIN)}
    found = {name: tensor for name, tensor in rename(state, _PRETRAINED).items() if name in wanted}
    if not found:
        raise InputError(
            f"{what} holds no Swin transformer: none of its tensors is named like 'layers1.0.blocks.0...'."
        )
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"{what} is of another size: {name} is {tuple(tensor.shape)}, here {tuple(wanted[name].shape)}. "
                "Set features, depths, heads and channels to those of the file."
            )
    missing = sorted(wanted.keys() - found.keys())
    network.load_state_dict(found, strict=False)
    _LOG.info("%s fills %d of %d tensors of the Swin transformer", what, len(found), len(wanted))
    if missing:
        _LOG.warning("%s lacks %d of them, which stay random: %s", what, len(missing), ", ".join(missing))
    return missing
