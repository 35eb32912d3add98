"""TransUNet: a vision transformer between a ResNet and a decoder with skip connections (Chen et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions, require
from oncoseg.dense.slices import SliceModel
from oncoseg.errors import ConfigError
from oncoseg.nn.resnet_v2 import ResNetV2
from oncoseg.nn.shapes import require_input
from oncoseg.nn.vit import Encoder
from oncoseg.weights.jax_vit import read_jax_vit
from oncoseg.weights.loading import load_strictly

#: Pixels along each side of what becomes one token.
TOKEN = 16

_COMMON: dict[str, Any] = {
    "name": "transunet",
    "dimension": "2d",
    "prompts": (),
    "doi": "10.48550/arXiv.2102.04306",
    "licence": "Apache-2.0",
    "fidelity": "verified",
    "trainable": True,
    "recipe": {"optimiser": "sgd", "learning_rate": 0.01, "batch": 24, "epochs": 150, "slice": 224},
}
INFOS = (
    ModelInfo(
        variant="r50_vit_b16",
        title="TransUNet",
        summary="ResNet-50 features as tokens of a ViT-B, decoded with three skip connections; whole slices at 224.",
        parameters=105_276_066,
        trainable_parameters=105_276_066,
        **_COMMON,
    ),
    ModelInfo(
        variant="vit_b16",
        title="TransUNet (ViT-B/16)",
        summary="The paper's ablation without ResNet: 16 x 16 pixels become a token, no skip connections.",
        parameters=91_673_186,
        trainable_parameters=91_673_186,
        **_COMMON,
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "r50_vit_b16": {},
    "vit_b16": {"stem": "patches", "skips": 0},
}


@dataclass(frozen=True)
class TransUNetOptions(SliceOptions):
    """Slices as the authors prepare them, and the network; `patch` is the one size it takes, a multiple of 16.

    Attributes:
        stem: `resnet` features at 1/16 become tokens, or `patches` of 16 x 16 pixels.
        width, units: filters of the ResNet's first convolution, bottlenecks of its three stages.
        hidden, layers, heads, mlp: width of a token, transformer layers, attention heads, inner width of the
            perceptrons.
        dropout: probability behind the embedding and in the perceptrons.
        decoder: filters of the decoder from the token grid up to the slice.
        skips: skip connections, deepest first; 0 to 3, with `patches` 0.
        imagenet: the authors' JAX file (`R50+ViT-B_16.npz`, `ViT-B_16.npz`) that embedding and encoder start from.
            A checkpoint only remembers it.
    """

    spacing: float | None = None
    fit: Literal["pad", "crop", "resize"] = "resize"
    patch: int = 224
    interpolation: Literal["linear", "cubic", "nearest"] = "cubic"
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 0.5, "dice_transunet": 0.5})
    augment: str = "transunet"
    stem: Literal["resnet", "patches"] = "resnet"
    width: int = 64
    units: tuple[int, int, int] = (3, 4, 9)
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    dropout: float = 0.1
    decoder: tuple[int, int, int, int, int] = (512, 256, 128, 64, 16)
    skips: int = 3
    imagenet: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.hidden, self.layers, self.heads, self.mlp, *self.units, *self.decoder)
        require(
            self,
            {
                "the network takes one size of slice: fit must be resize or crop": self.fit != "pad",
                f"patch must be a multiple of {TOKEN}": self.patch % TOKEN == 0,
                "hidden, layers, heads, mlp, units and decoder must be at least 1": min(sizes) >= 1,
                "width must be 8, 16 or a multiple of 32": self.width in (8, 16)
                or (self.width > 0 and self.width % 32 == 0),
                "hidden must be a multiple of heads": self.hidden % self.heads == 0,
                "dropout must be at least 0 and below 1": 0 <= self.dropout < 1,
                "skips must lie in 0 to 3, and be 0 with stem = patches": 0
                <= self.skips
                <= (3 if self.stem == "resnet" else 0),
            },
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
        source="none: as small as a TransUNet can be, to see on a CPU that everything runs",
        options={
            "patch": 64,
            "width": 16,
            "units": (1, 1, 1),
            "hidden": 96,
            "layers": 2,
            "heads": 4,
            "mlp": 128,
            "dropout": 0.0,
            "decoder": (64, 48, 32, 16, 16),
            "tumour_share": 0.75,
            "augment": "none",
        },
        training={
            "steps": 220,
            "batch": 4,
            "learning_rate": 3e-3,
            "warm_up": 20,
            "clip": 1.0,
            "validate_every": 55,
        },
    ),
    "paper": Recipe(
        source="Chen et al. 2021, section 4, and the authors' scripts",
        options={"window": (-125.0, 275.0), "tumour_share": 0.0},
        training=_PAPER,
        assumed=("samples_per_case",),
        notes="Begun from ImageNet-21k weights: give the authors' file as the option `imagenet`. The paper trains on "
        "all slices of 18 abdominal CTs (about 120 a case); its window is for soft tissue.",
    ),
    "m-sam": Recipe(
        source="Shi et al. 2024 (arXiv 2403.05912), table 1",
        options={"window": (-1000.0, 1000.0), "normalise": "zscore", "augment": "flips"},
        training=_PAPER,
        assumed=(
            "window",
            "normalise",
            "augment",
            "fit",
            "losses",
            "tumour_share",
            *_PAPER,
        ),
        notes="That paper says nothing of how TransUNet was trained on its volumes; window, z-score and flips are "
        "those of M-SAM, the rest is TransUNet's own. Whole slices are taken, not 128 x 128 x 128 crops at the "
        "label. Its 96 M parameters are not the released default's 105 M.",
    ),
}


class TransUNet(nn.Module):
    """ResNet or patches, transformer, decoder with skip connections, 3x3 convolution to the classes.

    Args:
        options: sizes of all parts.
        outputs: classes with background; None for those of the options.
    """

    multiple = TOKEN

    def __init__(self, options: TransUNetOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        self.channels, self.size, self.heads = options.channels, (options.patch, options.patch), options.heads
        self.transformer = Transformer(options)
        self.decoder = Decoder(options)
        last = nn.Conv2d(options.decoder[-1], options.outputs if outputs is None else outputs, 3, padding=1)
        self.segmentation_head = nn.Sequential(last)

    def forward(self, x: Tensor) -> Tensor:
        """Slices (batch, channels, patch, patch) to logits (batch, outputs, patch, patch).

        Raises:
            InputError: for another size or number of channels, with those it takes.
        """
        require_input(x, "TransUNet", channels=self.channels, size=self.size)
        grid, skips = self.transformer(x.expand(-1, 3, -1, -1) if self.channels == 1 else x)
        logits: Tensor = self.segmentation_head(self.decoder(grid, skips))
        return logits

    def load_imagenet(self, path: Path) -> None:
        """Fill embedding and encoder from a JAX file; the decoder stays as it is.

        Raises:
            InputError: as `read_jax_vit`; the network is untouched.
        """
        state = self.transformer.state_dict()
        self.transformer.load_state_dict(read_jax_vit(path, state, self.heads))


class Transformer(nn.Module):
    """Tokens with their positions, and the encoder over them."""

    def __init__(self, options: TransUNetOptions) -> None:
        super().__init__()
        self.embeddings = Embedding(options)
        self.encoder = Encoder(
            options.layers, options.hidden, heads=options.heads, mlp=options.mlp, dropout=options.dropout
        )

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Slices to the grid of encoded tokens (batch, hidden, rows / 16, columns / 16) and the stem's skips."""
        tokens, skips = self.embeddings(x)
        side = x.shape[-1] // TOKEN
        return self.encoder(tokens).transpose(1, 2).unflatten(2, (side, side)), skips


class Embedding(nn.Module):
    """Slices to tokens, one for 16 x 16 pixels; a grey slice has come as three equal channels, as ImageNet's."""

    def __init__(self, options: TransUNetOptions) -> None:
        super().__init__()
        channels = 3 if options.channels == 1 else options.channels
        self.hybrid_model: ResNetV2 | None = None
        if options.stem == "resnet":
            self.hybrid_model = ResNetV2(channels, options.width, options.units)
            self.patch_embeddings = nn.Conv2d(16 * options.width, options.hidden, 1)
        else:
            self.patch_embeddings = nn.Conv2d(channels, options.hidden, TOKEN, TOKEN)
        self.position_embeddings = nn.Parameter(torch.zeros(1, (options.patch // TOKEN) ** 2, options.hidden))
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Tokens (batch, tokens, hidden), row by row, and the stem's features on the way, deepest first."""
        skips: tuple[Tensor, ...] = ()
        if self.hybrid_model is not None:
            x, skips = self.hybrid_model(x)
        tokens = self.patch_embeddings(x).flatten(2).transpose(1, 2)
        return self.dropout(tokens + self.position_embeddings), skips


class Decoder(nn.Module):
    """The paper's cascaded up-sampler: four times doubled, joined with a skip where there is one."""

    def __init__(self, options: TransUNetOptions) -> None:
        super().__init__()
        width = options.width if options.stem == "resnet" else 0
        self.skips = options.skips
        joined = [*[8 * width, 4 * width, width][: options.skips], 0, 0, 0, 0]
        first, *widths = options.decoder
        self.conv_more = _convolution(options.hidden, first)
        self.blocks = nn.ModuleList(
            Doubling(a + skip, b) for a, b, skip in zip(options.decoder, widths, joined, strict=False)
        )

    def forward(self, grid: Tensor, skips: tuple[Tensor, ...]) -> Tensor:
        """(batch, hidden, rows, columns) to (batch, decoder[-1], 16 rows, 16 columns)."""
        x: Tensor = self.conv_more(grid)
        used = [*skips[: self.skips], *[None] * (len(self.blocks) - self.skips)]
        for block, skip in zip(self.blocks, used, strict=True):
            x = block(x, skip)
        return x


class Doubling(nn.Module):
    """Bilinear up-sampling by two, corner on corner, the skip beside it, and two 3x3 convolutions."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, channels_out)
        self.conv2 = _convolution(channels_out, channels_out)
        self.up = nn.UpsamplingBilinear2d(scale_factor=2)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """(batch, channels, rows, columns) to (batch, channels_out, 2 rows, 2 columns)."""
        x = self.up(x)
        result: Tensor = self.conv2(self.conv1(x if skip is None else torch.cat([x, skip], dim=1)))
        return result


def _convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel:
    """Make a TransUNet.

    Args:
        variant: `r50_vit_b16` (default) or `vit_b16`.
        weights: a checkpoint written by `oncoseg train`, or a file of tensors with the official names. None gives
            random weights, but for what the option `imagenet` brings.
        **options: fields of `TransUNetOptions`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, one that differs from the checkpoint's, or `imagenet`
            beside weights from elsewhere.
        InputError: when a file cannot be read or does not fit.
    """

    def network(chosen: TransUNetOptions) -> TransUNet:
        made = TransUNet(chosen)
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
        TransUNetOptions,
        network,
        variants=VARIANTS,
        variant=variant,
        weights=weights,
        options=options,
        load=load,
    )
