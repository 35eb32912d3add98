"""SAM3D: SAM's frozen image encoder sees a volume slice by slice, a small 3D decoder reads what it saw.

Bui et al., SAM3D: Segment Anything Model in Volumetric Medical Images, ISBI 2024 (arXiv 2309.03493). It takes no
prompts. Names of the decoder's tensors are those of the authors' files, which hold nothing of SAM's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.model import require_patch
from oncoseg.dense.options import PatchOptions, require
from oncoseg.dense.patches import PatchModel
from oncoseg.errors import ConfigError
from oncoseg.msam import patches
from oncoseg.nn.sam_vit import VitEncoder, VitSize, sized
from oncoseg.nn.shapes import require_input
from oncoseg.weights import catalogue
from oncoseg.weights.keymaps import sam_state
from oncoseg.weights.loading import load_strictly, read_tensors
from oncoseg.weights.positions import interpolated_positions

INFOS = (
    ModelInfo(
        name="sam3d",
        variant="",
        title="SAM3D",
        summary="SAM's frozen ViT-B sees every slice of a patch, a 3D decoder of 1.9 million parameters learns.",
        parameters=88_462_078,
        trainable_parameters=1_879_550,
        dimension="3d",
        prompts=(),
        doi="10.48550/arXiv.2309.03493",
        licence="MIT",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "sgd", "learning_rate": 0.01, "steps": 250_000, "loss": "Dice + cross-entropy"},
    ),
)
#: Pixels along each side of one token of SAM, which the decoder's four doublings undo.
TOKEN = 16
#: Channels of SAM's embeddings, and after each block of the decoder.
CHANNELS = (256, 128, 64, 32, 16)
#: Slices that the image encoder sees at once.
SLICES = 16
_ENCODER = "image_encoder."


@dataclass(frozen=True)
class Sam3dOptions(PatchOptions):
    """Network of a SAM3D, on top of preprocessing and sampling.

    Attributes:
        patch: any number of slices; rows and columns are equal and multiples of 16.
        vit: published size of the image encoder.
        embed_dim, depth, heads: in place of those of `vit`; None keeps them.
        sam: SAM's official file, or its id in the catalogue, for the image encoder, where `weights` does not hold it.
    """

    losses: Mapping[str, float] = field(default_factory=lambda: {"dice_nnunet": 1.0, "cross_entropy": 1.0})
    depth_weights: tuple[float, ...] = (4 / 7, 2 / 7, 1 / 7)
    normalise: Literal["none", "zscore", "zscore_nonzero"] = "zscore"
    patch: tuple[int, int, int] = (34, 192, 192)
    vit: Literal["b", "l", "h"] = "b"
    embed_dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    sam: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "patch must have as many rows as columns": self.patch[1] == self.patch[2],
                "depth_weights must be three, of the outputs at full, half and quarter resolution": len(
                    self.depth_weights
                )
                == len(CHANNELS) - 2,
            },
        )

    @property
    def size(self) -> VitSize:
        """Of the image encoder."""
        return sized(self.vit, embed_dim=self.embed_dim, depth=self.depth, heads=self.heads)


RECIPES = {
    "smoke": Recipe(
        source="none: a small random image encoder, to see on a CPU that everything runs",
        options={
            "embed_dim": 48,
            "depth": 1,
            "heads": 4,
            "losses": {"dice_squared": 1.0, "cross_entropy": 1.0},
            "spacing": (5.0, 4.0, 4.0),
            "patch": (32, 64, 64),
            "augment": "none",
        },
        training={"steps": 100, "batch": 1, "learning_rate": 1e-2, "validate_every": 25},
    ),
    "paper": Recipe(
        source="Bui et al. 2024 (arXiv 2309.03493), section 3, and UARK-AICV/SAM3D, its trainer for MSD Lung",
        options={
            "spacing": (1.24, 0.79, 0.79),
            "augment": "nnunet",
            "tumour_share": 1 / 3,
            "overlap": 0.5,
            "mirror": True,
        },
        training={
            "optimiser": "sgd",
            "learning_rate": 1e-2,
            "momentum": 0.99,
            "weight_decay": 3e-5,
            "schedule": "poly",
            "rate_every": "epoch",
            "clip": 12.0,
            "batch": 2,
            "epochs": 1_000,
            "epoch_steps": 250,
        },
        assumed=("spacing", "window", "normalise", "augment", "batch"),
        notes="Start from SAM's ViT-B file as weights. Spacing, window, z-score and batch are planned from the data by "
        "nnU-Net v1 there; the spacing here is the median of MSD Lung, the others are the options' own. "
        "The augmentation `nnunet` stands for that of version 1.",
    ),
    "m-sam": patches(
        "Its table lists 91.88 M parameters, 1.88 M of them tunable: with SAM's ViT-B as it is for 1024 pixels, whose "
        "position tables are smaller here. Start from SAM's ViT-B file as weights."
    ),
}


class Sam3D(nn.Module):
    """The network.

    Shape: (batch, channels, slices, s, s) -> (batch, outputs, slices, s, s); in training mode a list of three, at
    full, half and quarter resolution within slices.

    Args:
        options: sizes of all parts.
        outputs: classes with background; None for those of the options.
    """

    multiple = (1, TOKEN, TOKEN)

    def __init__(self, options: Sam3dOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        self.channels, self.side = options.channels, options.patch[1]
        self.image_encoder = VitEncoder(options.size, image_size=self.side, patch_size=TOKEN).requires_grad_(False)
        classes = options.outputs if outputs is None else outputs
        self.decoder5 = Block(CHANNELS[0] * options.channels, CHANNELS[1])
        self.decoder4 = Block(CHANNELS[1], CHANNELS[2])
        self.decoder3 = Block(CHANNELS[2], CHANNELS[3])
        self.decoder2 = Block(CHANNELS[3], CHANNELS[4])
        self.out1 = Head(CHANNELS[4], classes)
        self.out3 = Head(CHANNELS[2], classes)
        self.out2 = Head(CHANNELS[3], classes)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Patches to logits.

        Raises:
            InputError: for another number of channels, rows or columns, with those it takes.
        """
        depth = x.shape[2] if x.ndim == 5 else 1
        require_input(x, "SAM3D", channels=self.channels, size=(depth, self.side, self.side))
        quarter = self.decoder4(self.decoder5(self.embed(x)))
        half = self.decoder3(quarter)
        logits: Tensor = self.out1(self.decoder2(half))
        if self.training:
            return [logits, self.out2(half), self.out3(quarter)]
        return logits

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """What SAM sees on each slice of each channel: (batch, 256 channels, slices, s/16, s/16).

        The grey values of a slice are SAM's three colours as they are; SAM's own mean and deviation are not used.
        """
        batch, channels, depth = x.shape[:3]
        slices = x.flatten(0, 2)[:, None]
        seen = torch.cat([self.image_encoder(part.expand(-1, 3, -1, -1)) for part in slices.split(SLICES)])
        stacked: Tensor = seen.unflatten(0, (batch, channels, depth)).transpose(2, 3).flatten(1, 2)
        return stacked


class Block(nn.Module):
    """Two convolutions, a 1x1x1 convolution beside them, then rows and columns doubled.

    Shape: (batch, source, d, h, w) -> (batch, target, d, 2 h, 2 w).
    """

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv3d(source, target, 3, padding=1), nn.InstanceNorm3d(target), nn.LeakyReLU())
        self.conv2 = nn.Sequential(nn.Conv3d(target, target, 3, padding=1), nn.InstanceNorm3d(target))
        self.downsample = nn.Sequential(nn.Conv3d(source, target, 1), nn.InstanceNorm3d(target))
        self.leakyrelu = nn.LeakyReLU()
        self.up = nn.Upsample(scale_factor=(1, 2, 2), mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """Features after the block."""
        doubled: Tensor = self.up(self.leakyrelu(self.conv2(self.conv1(x)) + self.downsample(x)))
        return doubled


class Head(nn.Module):
    """A convolution to half the channels and one to the classes: (batch, source, ...) to (batch, outputs, ...)."""

    def __init__(self, source: int, outputs: int) -> None:
        super().__init__()
        half = source // 2
        self.conv_pred = nn.Sequential(nn.Conv3d(source, half, 3, padding=1), nn.InstanceNorm3d(half), nn.LeakyReLU())
        self.segmentation_head = nn.Conv3d(half, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.segmentation_head(self.conv_pred(x))
        return logits


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> PatchModel:
    """Make a SAM3D.

    Args:
        variant: there is one; None.
        weights: a checkpoint written by `oncoseg train`, which holds SAM's encoder too; SAM's official file of the size
            `vit`, with which training begins; or a file of the authors' training, which holds the decoder alone and
            needs the option `sam`. None gives random weights, but for what the option `sam` brings.
        **options: fields of `Sam3dOptions`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, one that differs from the checkpoint's, or `sam` beside
            weights that hold SAM's encoder.
        InputError: when a file cannot be read or does not fit.
    """

    def network(chosen: Sam3dOptions) -> Sam3D:
        require_patch("sam3d", chosen.patch, Sam3D.multiple)
        made = Sam3D(chosen)
        if chosen.sam is not None and weights is None:
            _load_sam(made, chosen.sam)
        return made

    def load(network: nn.Module, state: Mapping[str, Tensor], what: str) -> list[str]:
        sam = options.get("sam")
        return load_official(network, state, what, sam=None if sam is None else Path(sam))

    return built(
        PatchModel,
        INFOS,
        Sam3dOptions,
        network,
        variants={},
        variant=variant,
        weights=weights,
        options=options,
        load=load,
    )


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str, *, sam: Path | None) -> list[str]:
    """Fill a SAM3D from SAM's file, or from a file of its authors' training and SAM's.

    Returns:
        What the files did not give, in sentences.

    Raises:
        ConfigError: for `sam` beside SAM's own file.
        InputError: with what is missing, unexpected or of another shape.
    """
    encoder, decoder = _parts(network)
    if any(name.startswith((_ENCODER, "vision_encoder.")) for name in state):
        if sam is not None:
            raise ConfigError(f"{what} holds SAM's image encoder. Leave the option sam or the weights away.")
        if decoder.keys() & state.keys():
            load_strictly(network, state, what)
            return []
        _fill_encoder(network, state, what)
        return [f"{what} is a SAM; SAM3D's decoder begins anew."]
    load_strictly(network, {**encoder, **state}, what)
    if sam is None:
        return [f"{what} holds no image encoder and the option sam names none: it is random."]
    _load_sam(network, sam)
    return []


def _load_sam(network: nn.Module, file: Path) -> None:
    _fill_encoder(network, read_tensors(catalogue.named(file)).state, str(file))


def _fill_encoder(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Take the image encoder of a SAM; its position tables are interpolated to the size of the patch."""
    held = {name: tensor for name, tensor in sam_state(state).items() if name.startswith(_ENCODER)}
    _, decoder = _parts(network)
    load_strictly(network, {**decoder, **interpolated_positions(held, network)}, what)


def _parts(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of the image encoder, and those of the decoder and its heads."""
    own = network.state_dict()
    encoder = {name: tensor for name, tensor in own.items() if name.startswith(_ENCODER)}
    return encoder, {name: tensor for name, tensor in own.items() if name not in encoder}
