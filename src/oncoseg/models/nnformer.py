"""nnFormer: window attention in encoder and decoder, and skip connections by attention (Zhou et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import PatchOptions, require
from oncoseg.dense.patches import PatchModel
from oncoseg.nn.shapes import require_input
from oncoseg.nn.swin3d import WindowBlock

#: Stages of the encoder; the grid of tokens is halved between them.
STAGES = 4

_COMMON: dict[str, Any] = {
    "name": "nnformer",
    "dimension": "3d",
    "prompts": (),
    "doi": "10.48550/arXiv.2109.03201",
    "licence": "Apache-2.0",
    "trainable": True,
    "recipe": {"optimiser": "sgd", "learning_rate": 0.01, "batch": 2, "steps": 250_000, "loss": "Dice + cross-entropy"},
}
INFOS = (
    ModelInfo(
        variant="msam",
        title="nnFormer",
        summary="192 features on 128^3 patches: the size the M-SAM comparison lists.",
        parameters=149_798_442,
        trainable_parameters=149_798_442,
        fidelity="reconstructed",
        **_COMMON,
    ),
    ModelInfo(
        variant="synapse",
        title="nnFormer (multi-organ CT)",
        summary="192 features on patches of 64 x 128 x 128; 150,054,210 parameters with the paper's 14 classes.",
        parameters=149_538_078,
        trainable_parameters=149_538_078,
        fidelity="verified",
        **_COMMON,
    ),
    ModelInfo(
        variant="tumour",
        title="nnFormer (brain tumour)",
        summary="96 features on 128^3 patches, as the paper has it for brain tumours.",
        parameters=37_754_190,
        trainable_parameters=37_754_190,
        fidelity="verified",
        counted_with={"channels": 4, "labels": "lungs+tumour"},
        **_COMMON,
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "msam": {},
    "synapse": {"patch": (64, 128, 128), "token": (2, 4, 4), "decoder_heads": (6, 12, 24)},
    "tumour": {"embed": 96, "heads": (3, 6, 12, 24), "decoder_heads": (6, 12, 24)},
}


@dataclass(frozen=True)
class NnFormerOptions(PatchOptions):
    """Network of an nnFormer, on top of preprocessing and sampling; `patch` is the one size it takes.

    Attributes:
        embed: width of a token in the first stage; every further stage doubles it.
        token: voxels (slices, rows, columns) that become one token, 2 or 4 each.
        depths: blocks of the four stages.
        heads: of the four stages' attention.
        decoder_heads: of the three decoder stages, finest first. The released network for brain tumours has twice
            the encoder's, the one for organs the same.
        windows: tokens along each side of a window, by stage.
        drop_path: highest probability of leaving a branch out while training; it grows with depth from 0.
        deep_supervision: three outputs while training, at full, half and quarter resolution.
    """

    losses: Mapping[str, float] = field(default_factory=lambda: {"dice_nnunet": 1.0, "cross_entropy": 1.0})
    depth_weights: tuple[float, ...] = (4 / 7, 2 / 7, 1 / 7)
    embed: int = 192
    token: tuple[int, int, int] = (4, 4, 4)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (6, 12, 24, 48)
    decoder_heads: tuple[int, int, int] = (12, 24, 48)
    windows: tuple[int, int, int, int] = (4, 4, 8, 4)
    drop_path: float = 0.2
    deep_supervision: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        widths = [self.embed * 2**stage for stage in range(STAGES)]
        pairs = [*zip(widths, self.heads, strict=True), *zip(widths, self.decoder_heads, strict=False)]
        require(
            self,
            {
                "embed must be a positive even number": self.embed > 0 and self.embed % 2 == 0,
                "token must be 2 or 4 along each axis": set(self.token) <= {2, 4},
                "depths, heads, decoder_heads and windows must be at least 1": min(
                    *self.depths, *self.heads, *self.decoder_heads, *self.windows
                )
                >= 1,
            },
        )
        require(
            self,
            {
                "heads and decoder_heads must divide embed, doubled stage by stage": not any(w % h for w, h in pairs),
                "drop_path must be at least 0 and below 1": 0 <= self.drop_path < 1,
                "depth_weights must be three with deep_supervision, else one": len(self.depth_weights)
                == (STAGES - 1 if self.deep_supervision else 1),
            },
        )


_PAPER: dict[str, Any] = {
    "optimiser": "sgd",
    "learning_rate": 1e-2,
    "momentum": 0.99,
    "weight_decay": 3e-5,
    "schedule": "poly",
    "clip": 12.0,
    "batch": 2,
    "epochs": 1_000,
    "epoch_steps": 250,
    "rate_every": "epoch",
}
RECIPES = {
    "smoke": Recipe(
        source="none: as small as an nnFormer can be, to see on a CPU that everything runs",
        options={
            "embed": 48,
            "token": (4, 4, 4),
            "heads": (1, 2, 4, 8),
            "decoder_heads": (1, 2, 4),
            "windows": (4, 4, 4, 4),
            "drop_path": 0.0,
            "losses": {"dice_squared": 1.0},
            "spacing": (5.0, 4.0, 4.0),
            "patch": (32, 64, 64),
            "augment": "none",
        },
        training={"steps": 75, "batch": 1, "learning_rate": 1e-3, "validate_every": 25},
    ),
    "paper": Recipe(
        source="Zhou et al. 2021 (arXiv 2109.03201), section 4, and the released trainer",
        options={"augment": "flips", "mirror": True, "overlap": 0.5, "normalise": "zscore", "tumour_share": 1 / 3},
        training=_PAPER,
        assumed=("augment", "spacing", "window", "normalise", "tumour_share"),
        variants=("synapse", "tumour"),
        notes="Spacing, window and z-score are planned from the data by nnU-Net there, and are the options' own here; "
        "its augmentation (rotation, scaling, noise, blur, contrast, gamma) is flips here. The brain tumour trainer "
        "supervises the finest output only: set deep_supervision = false and depth_weights = [1].",
    ),
    "m-sam": Recipe(
        source="Shi et al. 2024 (arXiv 2403.05912), table 1: the common pipeline of its experiments",
        options={
            "spacing": None,
            "patch": (128, 128, 128),
            "window": (-1000.0, 1000.0),
            "normalise": "zscore",
            "augment": "flips",
            "tumour_share": 1.0,
            "losses": {"dice_squared": 0.5, "cross_entropy": 0.5},
        },
        training={
            "optimiser": "adamw",
            "learning_rate": 8e-4,
            "weight_decay": 0.1,
            "schedule": "multistep",
            "milestones": (120, 180),
            "gamma": 0.1,
            "rate_every": "epoch",
            "batch": 4,
            "epochs": 200,
        },
        assumed=(
            "tumour_share",
            "losses",
            "optimiser",
            "learning_rate",
            "weight_decay",
            "schedule",
            "milestones",
            "gamma",
            "batch",
            "epochs",
        ),
        variants=("msam", "tumour"),
        notes="That paper does not say how its baselines were trained; optimiser, loss, schedule, epochs and batch are "
        "M-SAM's own, for a like comparison. Its patches are cut round the label, at test time too; here training "
        "patches hold tumour and prediction slides over the whole volume. Its table lists 151 M parameters, to "
        "which 192 features come nearest.",
    ),
}


class NnFormer(nn.Module):
    """Encoder, decoder and a transposed convolution from tokens to voxels for each supervised resolution.

    Args:
        options: sizes of all parts.
        outputs: classes with background; None for those of the options.
    """

    def __init__(self, options: NnFormerOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        self.channels, self.size = options.channels, options.patch
        self.multiple = tuple(t * 2 ** (STAGES - 1) for t in options.token)
        self.model_down = Encoder(options)
        self.decoder = Decoder(options)
        classes = options.outputs if outputs is None else outputs
        scales = STAGES - 1 if options.deep_supervision else 1
        self.final = nn.ModuleList(ToVoxels(options.embed * 2**k, classes, options.token) for k in range(scales))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Patches to logits.

        Args:
            x: (batch, channels, *patch).

        Returns:
            (batch, outputs, *patch); in training mode with deep supervision a list of three, at full, half and
            quarter resolution.

        Raises:
            InputError: for another size or number of channels, with those it takes.
        """
        require_input(x, "nnFormer", channels=self.channels, size=self.size)
        decoded = self.decoder(self.model_down(x))
        if self.training and len(self.final) > 1:
            return [head(tokens) for head, tokens in zip(self.final, decoded, strict=True)]
        logits: Tensor = self.final[0](decoded[0])
        return logits


class Encoder(nn.Module):
    """Embedding and four stages; attention within windows, shifted in every second block."""

    def __init__(self, options: NnFormerOptions) -> None:
        super().__init__()
        self.patch_embed = Embedding(options.channels, options.embed, options.token)
        drops = _rising(options.drop_path, options.depths)
        self.layers = nn.ModuleList()
        for stage, (grid, dropped) in enumerate(zip(_grids(options), drops, strict=True)):
            width, last = options.embed * 2**stage, stage == STAGES - 1
            blocks = [
                WindowBlock(
                    width,
                    options.heads[stage],
                    grid=grid,
                    window=options.windows[stage],
                    shifted=number % 2 == 1,
                    drop_path=dropped[number],
                )
                for number in range(options.depths[stage])
            ]
            self.layers.append(Down(blocks, None if last else Halving(width)))
            self.add_module(f"norm{stage}", nn.LayerNorm(width))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Patches to the tokens of every stage, finest first, each (batch, *grid, width)."""
        tokens = self.patch_embed(x)
        found = []
        for stage, layer in enumerate(self.layers):
            kept, tokens = layer(tokens)
            found.append(getattr(self, f"norm{stage}")(kept))
        return found


class Decoder(nn.Module):
    """Three stages from coarse to fine; the first block of each takes the skip connection by attention."""

    def __init__(self, options: NnFormerOptions) -> None:
        super().__init__()
        # As released: depths and drop rates are counted from the coarsest stage, the list from the finest.
        drops = _rising(options.drop_path, options.depths[STAGES - 2 :: -1])
        self.layers = nn.ModuleList()
        for stage, dropped in enumerate(reversed(drops)):
            width = options.embed * 2**stage
            blocks = [
                WindowBlock(
                    width,
                    options.decoder_heads[stage],
                    grid=_grids(options)[stage],
                    window=options.windows[stage],
                    shifted=number > 0,
                    drop_path=dropped[number],
                    asked=number == 0,
                )
                for number in range(options.depths[stage])
            ]
            self.layers.append(Up(blocks, Doubling(2 * width)))

    def forward(self, encoded: Sequence[Tensor]) -> list[Tensor]:
        """Tokens of the encoder's stages to those of the decoder's, finest first."""
        tokens = encoded[-1]
        found = []
        for layer, skip in reversed(list(zip(self.layers, encoded[:-1], strict=True))):
            tokens = layer(tokens, skip)
            found.append(tokens)
        return found[::-1]


class Down(nn.Module):
    """Blocks of one encoder stage, and the way to the next."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """This stage's tokens, and those the next one begins with."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens, tokens if self.downsample is None else self.downsample(tokens)


class Up(nn.Module):
    """One decoder stage: doubled tokens ask the skip connection, the other blocks follow."""

    def __init__(self, blocks: Sequence[nn.Module], upsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.Upsample = upsample

    def forward(self, tokens: Tensor, skip: Tensor) -> Tensor:
        """(batch, *grid / 2, 2 width) and (batch, *grid, width) to (batch, *grid, width)."""
        asking, *others = self.blocks
        tokens = asking(self.Upsample(tokens), skip)
        for block in others:
            tokens = block(tokens)
        return tokens


class Embedding(nn.Module):
    """Voxels to tokens by two convolution units, of which each does half of the way."""

    def __init__(self, channels: int, embed: int, token: tuple[int, int, int]) -> None:
        super().__init__()
        second = (token[0] // 2, token[1] // 2, token[2] // 2)
        first = (token[0] // second[0], token[1] // second[1], token[2] // second[2])
        self.proj1 = Unit(channels, embed // 2, first)
        self.proj2 = Unit(embed // 2, embed, second, last=True)
        self.norm = nn.LayerNorm(embed)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *patch) to (batch, *patch / token, embed)."""
        tokens: Tensor = self.norm(_channels_last(self.proj2(self.proj1(x))))
        return tokens


class Unit(nn.Module):
    """3x3x3 convolution with a stride and another without, GELU and layer norm after each; not at the `last`'s end."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: tuple[int, int, int], *, last: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv3d(channels_out, channels_out, 3, padding=1)
        self.norm1 = nn.LayerNorm(channels_out)
        self.norm2 = None if last else nn.LayerNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) to (batch, channels, ... / stride)."""
        x = self.conv2(_channels_first(self.norm1(_channels_last(F.gelu(self.conv1(x))))))
        return x if self.norm2 is None else _channels_first(self.norm2(_channels_last(F.gelu(x))))


class Halving(nn.Module):
    """GELU, layer norm and a 3x3x3 convolution of stride 2: half the grid, twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Conv3d(width, 2 * width, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, *grid, width) to (batch, *grid / 2, 2 width)."""
        return _channels_last(self.reduction(_channels_first(self.norm(F.gelu(tokens)))))


class Doubling(nn.Module):
    """Layer norm and a 2x2x2 transposed convolution: twice the grid, half the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.ConvTranspose3d(width, width // 2, 2, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, *grid, width) to (batch, *2 grid, width / 2)."""
        return _channels_last(self.up(_channels_first(self.norm(tokens))))


class ToVoxels(nn.Module):
    """Transposed convolution whose kernel and stride are the voxels of one token."""

    def __init__(self, width: int, outputs: int, token: tuple[int, int, int]) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(width, outputs, token, token)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, *grid, width) to (batch, outputs, *grid x token)."""
        logits: Tensor = self.up(_channels_first(tokens))
        return logits


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> PatchModel:
    """Make an nnFormer.

    Args:
        variant: `msam` (default), `synapse` or `tumour`.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a file of tensors
            with the official names. None gives random weights from torch's generator.
        **options: fields of `NnFormerOptions`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        PatchModel,
        INFOS,
        NnFormerOptions,
        NnFormer,
        variants=VARIANTS,
        variant=variant,
        weights=weights,
        options=options,
    )


def _grids(options: NnFormerOptions) -> list[tuple[int, ...]]:
    """Tokens along each axis, stage by stage."""
    return [
        tuple(size // token // 2**stage for size, token in zip(options.patch, options.token, strict=True))
        for stage in range(STAGES)
    ]


def _rising(highest: float, depths: Sequence[int]) -> list[list[float]]:
    """Drop rates of every block, stage by stage, in even steps from 0 to the highest."""
    count = sum(depths)
    rates: list[list[float]] = []
    for depth in depths:
        start = sum(map(len, rates))
        rates.append([highest * n / max(1, count - 1) for n in range(start, start + depth)])
    return rates


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)
