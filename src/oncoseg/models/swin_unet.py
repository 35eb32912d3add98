"""Swin-Unet: a Swin transformer down and up again, with skip connections and no convolution (Cao et al. 2021)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions, require
from oncoseg.dense.slices import SliceModel
from oncoseg.errors import ConfigError
from oncoseg.nn.shapes import require_input
from oncoseg.nn.swin2d import PatchEmbedding, PatchMerging, SwinBlock
from oncoseg.weights.loading import load_strictly, read_tensors
from oncoseg.weights.swin_imagenet import mirrored

_LOG = logging.getLogger(__name__)

#: Pixels along each side of what becomes one token.
TOKEN = 4

INFOS = (
    ModelInfo(
        name="swin_unet",
        variant="",
        title="Swin-Unet",
        summary="A Swin-T of two blocks a stage, mirrored into a decoder with skip connections; whole slices at 224.",
        parameters=27_168_228,
        trainable_parameters=27_168_228,
        dimension="2d",
        prompts=(),
        doi="10.48550/arXiv.2105.05537",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "sgd", "learning_rate": 0.01, "batch": 24, "epochs": 150, "slice": 224},
    ),
)


@dataclass(frozen=True)
class SwinUNetOptions(SliceOptions):
    """Slices as the authors prepare them, and the network; `patch` is the one size it takes.

    At every stage (`patch` / 4, / 8, / 16, ...) the side must be a multiple of the attention window, or no larger.

    Attributes:
        embed: width of the first stage; it doubles from stage to stage.
        depths, heads: Swin blocks and attention heads of each stage.
        attention_window: rows and columns of an attention window, in tokens.
        mlp_ratio: inner width of the perceptrons in widths.
        drop_path: probability of leaving out a branch in the deepest block while training, growing from 0.
        imagenet: the official Swin-T file that encoder and decoder start from. A checkpoint only remembers it.
    """

    spacing: float | None = None
    fit: Literal["pad", "crop", "resize"] = "resize"
    patch: int = 224
    interpolation: Literal["linear", "cubic", "nearest"] = "cubic"
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 0.4, "dice_transunet": 0.6})
    augment: str = "transunet"
    embed: int = 96
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    attention_window: int = 7
    mlp_ratio: float = 4.0
    drop_path: float = 0.2
    imagenet: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = min(len(self.depths), len(self.heads))
        require(
            self,
            {
                "the network takes one size of slice: fit must be resize or crop": self.fit != "pad",
                "depths and heads must name the same stages, at least two": len(self.depths) == len(self.heads) >= 2,
                "embed, depths and heads must be at least 1": min(self.embed, *self.depths, *self.heads) >= 1,
                "attention_window must be at least 2": self.attention_window >= 2,
                "heads must divide the widths, embed doubled from stage to stage": not any(
                    self.embed * 2**stage % heads for stage, heads in enumerate(self.heads)
                ),
                "mlp_ratio must be positive": self.mlp_ratio > 0,
                "drop_path must be at least 0 and below 1": 0 <= self.drop_path < 1,
            },
        )
        step = TOKEN * 2 ** (stages - 1)
        sides = [self.patch // TOKEN // 2**stage for stage in range(stages)]
        if self.patch % step or any(side > self.attention_window and side % self.attention_window for side in sides):
            raise ConfigError(
                f"Windows of attention_window = {self.attention_window} do not tile a patch of {self.patch} at every "
                f"stage. Choose a multiple of {step * self.attention_window} for patch, or another window."
            )


#: The authors' training; every slice of a volume counts alike.
_PAPER: dict[str, Any] = {
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "schedule": "poly",
    "batch": 24,
    "epochs": 150,
    "samples_per_case": 120,
    "select": "last",
}
RECIPES = {
    "smoke": Recipe(
        source="none: as small as a Swin-Unet can be, to see on a CPU that everything runs",
        options={
            "patch": 64,
            "embed": 32,
            "depths": (1, 2, 1),
            "heads": (2, 4, 8),
            "attention_window": 4,
            "drop_path": 0.0,
            "tumour_share": 0.75,
            "augment": "none",
        },
        training={
            "steps": 180,
            "batch": 4,
            "learning_rate": 1e-3,
            "warm_up": 20,
            "clip": 1.0,
            "validate_every": 60,
        },
    ),
    "paper": Recipe(
        source="Cao et al. 2021, section 4.2, and the authors' scripts",
        options={"window": (-125.0, 275.0), "tumour_share": 0.0},
        training=_PAPER,
        assumed=("samples_per_case",),
        notes="Begun from ImageNet weights in encoder and decoder: give the official Swin-T file as the option "
        "`imagenet`. The scripts' README calls them with a learning rate of 0.05. The data are TransUNet's: all "
        "slices of 18 abdominal CTs (about 120 a case), window for soft tissue.",
    ),
    "gtv-samgan": Recipe(
        source="Yi et al. 2026, Quant Imaging Med Surg 16(1):59, comparison table",
        options={"slices": "labelled", "tumour_share": 1.0},
        training={
            "epochs": 100,
            "optimiser": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "schedule": "constant",
            "batch": 4,
            "samples_per_case": 16,
            "select": "best",
        },
        assumed=(
            "window",
            "fit",
            "patch",
            "losses",
            "augment",
            "epochs",
            "optimiser",
            "learning_rate",
            "weight_decay",
            "schedule",
            "batch",
            "samples_per_case",
        ),
        notes="That study says nothing of how Swin-Unet was trained, nor whether it began from ImageNet weights; "
        "optimiser, rate, batch and epochs are those of its own GTV-SAMGAN. Tumour slices alone are used.",
    ),
}


class SwinUNet(nn.Module):
    """Swin transformer encoder and decoder under the official names.

    Args:
        options: sizes of all parts.
        outputs: classes with background; None for those of the options.
    """

    multiple = TOKEN

    def __init__(self, options: SwinUNetOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        self.channels, self.size = options.channels, (options.patch, options.patch)
        self.swin_unet = DownAndUp(options, options.outputs if outputs is None else outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch, channels, patch, patch) to logits (batch, outputs, patch, patch).

        Raises:
            InputError: for another size or number of channels, with those it takes.
        """
        require_input(x, "Swin-Unet", channels=self.channels, size=self.size)
        logits: Tensor = self.swin_unet(x.expand(-1, 3, -1, -1) if self.channels == 1 else x)
        return logits

    def load_imagenet(self, path: Path) -> None:
        """Fill encoder and decoder from an official Swin-T file as `mirrored` says; what is left out is logged.

        Raises:
            InputError: as `read_tensors` and `mirrored`; the network is untouched.
            UnsafeFileError: as `read_tensors`.
        """
        own = self.swin_unet.state_dict()
        found = mirrored(read_tensors(path).state, own, str(path))
        self.swin_unet.load_state_dict({**own, **found.state})
        if found.tables:
            _LOG.warning("%s: position tables of another shape stay random: %s", path, ", ".join(found.tables))
        if found.unused:
            _LOG.info("%s: not used: %s", path, ", ".join(found.unused))


class DownAndUp(nn.Module):
    """Stages that halve the side and double the width, and back; a grey slice has come as three equal channels."""

    def __init__(self, options: SwinUNetOptions, outputs: int) -> None:
        super().__init__()
        stages, embed = len(options.depths), options.embed
        widths = [embed * 2**stage for stage in range(stages)]
        upwards = range(stages - 2, -1, -1)
        self.patch_embed = PatchEmbedding(3 if options.channels == 1 else options.channels, embed, TOKEN)
        self.layers = nn.ModuleList(
            Stage(_blocks(options, n), downsample=PatchMerging(widths[n]) if n + 1 < stages else None)
            for n in range(stages)
        )
        self.layers_up = nn.ModuleList([Expanding(widths[-1], 2)])
        self.layers_up.extend(
            Stage(_blocks(options, n), upsample=Expanding(widths[n], 2) if n else None) for n in upwards
        )
        self.concat_back_dim = nn.ModuleList([nn.Identity()])
        self.concat_back_dim.extend(nn.Linear(2 * widths[n], widths[n]) for n in upwards)
        self.norm = nn.LayerNorm(widths[-1])
        self.norm_up = nn.LayerNorm(embed)
        self.up = Expanding(embed, TOKEN)
        self.output = nn.Conv2d(embed, outputs, 1, bias=False)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3 or more channels, rows, columns) to logits (batch, outputs, rows, columns)."""
        features = self.patch_embed(x)
        skips: list[Tensor] = []
        for stage in self.layers:
            skips.append(features)
            features = stage(features)
        features = self.layers_up[0](self.norm(features))
        for stage, join, skip in zip(self.layers_up[1:], self.concat_back_dim[1:], skips[-2::-1], strict=True):
            features = stage(join(torch.cat([features, skip], dim=-1)))
        logits: Tensor = self.output(self.up(self.norm_up(features)).permute(0, 3, 1, 2))
        return logits


class Stage(nn.Module):
    """Swin blocks of one width, then the step down or up to the next, where there is one."""

    def __init__(
        self, blocks: nn.Sequential, *, downsample: nn.Module | None = None, upsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.blocks, self.downsample, self.upsample = blocks, downsample, upsample

    def forward(self, features: Tensor) -> Tensor:
        """(batch, rows, columns, width) to the next stage's."""
        features = self.blocks(features)
        for step in (self.downsample, self.upsample):
            features = features if step is None else step(features)
        return features


class Expanding(nn.Module):
    """Enlarges rows and columns: a linear layer makes the new pixels' features, layer norm follows.

    Args:
        width: that comes in; by 2 it is halved, by 4 it stays.
        factor: 2 or 4.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        left = width // 2 if factor == 2 else width
        self.expand = nn.Linear(width, factor * factor * left, bias=False)
        self.norm = nn.LayerNorm(left)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, rows, columns, width) to (batch, factor rows, factor columns, width / 2 or width)."""
        pixels = self.expand(features).unflatten(-1, (self.factor, self.factor, -1))
        enlarged: Tensor = self.norm(pixels.transpose(2, 3).flatten(3, 4).flatten(1, 2))
        return enlarged


def _blocks(options: SwinUNetOptions, stage: int) -> nn.Sequential:
    """The Swin blocks of a stage; those of encoder and decoder are made alike."""
    rates = np.linspace(0, options.drop_path, sum(options.depths))[sum(options.depths[:stage]) :]
    return nn.Sequential(
        *(
            SwinBlock(
                options.embed * 2**stage,
                options.heads[stage],
                side=options.patch // TOKEN // 2**stage,
                window=options.attention_window,
                shifted=block % 2 == 1,
                mlp_ratio=options.mlp_ratio,
                drop_path=float(rates[block]),
            )
            for block in range(options.depths[stage])
        )
    )


def _initialise(part: nn.Module) -> None:
    """Linear weights as in the official code; layer norms begin there as in PyTorch."""
    if isinstance(part, nn.Linear):
        nn.init.trunc_normal_(part.weight, std=0.02)
        if part.bias is not None:
            nn.init.zeros_(part.bias)


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a Swin-Unet.

    Args:
        variant: there is one.
        weights: a checkpoint written by `oncoseg train`, or a file of tensors with the official names. None gives
            random weights, but for what the option `imagenet` brings.
        **options: fields of `SwinUNetOptions`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, one that differs from the checkpoint's, or `imagenet`
            beside weights from elsewhere.
        InputError: when a file cannot be read or does not fit.
    """

    def network(chosen: SwinUNetOptions) -> SwinUNet:
        made = SwinUNet(chosen)
        if chosen.imagenet is not None and weights is None:
            made.load_imagenet(chosen.imagenet)
        return made

    def load(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
        if options.get("imagenet") is not None:
            raise ConfigError(
                f"{what} holds every tensor of the network. Leave the option imagenet or the weights away."
            )
        load_strictly(network, state, what)

    return built(
        SliceModel,
        INFOS,
        SwinUNetOptions,
        network,
        variants={},
        variant=variant,
        weights=weights,
        options=options,
        load=load,
    )
