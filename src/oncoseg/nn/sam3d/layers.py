"""Small layers that SAM-Med3D and M-SAM are built of, under the official names of their tensors."""

from __future__ import annotations

from torch import Tensor, nn


class VolumeNorm(nn.LayerNorm):
    """Layer norm over the channels of (batch, channel, depth, height, width)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        """Normalised features of the same shape."""
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


class Perceptron(nn.Module):
    """Two linear layers with an activation between; (..., width) to the same shape.

    Args:
        width: of a token.
        hidden: between the layers.
        activation: GELU, where nothing else is given.
    """

    def __init__(self, width: int, hidden: int, *, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.act = activation or nn.GELU()
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens, changed."""
        changed: Tensor = self.lin2(self.act(self.lin1(tokens)))
        return changed
