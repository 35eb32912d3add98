"""What an nnFormer is made of and given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oncoseg.dense.options import PatchOptions, require

#: Stages of the encoder; the grid of tokens is halved between them.
STAGES = 4


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
