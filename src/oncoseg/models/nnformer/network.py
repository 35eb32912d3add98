"""The network of nnFormer, with the names of the released code."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.models.nnformer.options import STAGES, NnFormerOptions
from oncoseg.nn.shapes import require_input
from oncoseg.nn.swin3d import WindowBlock


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
