"""transformers' SAM layer with adapters in it. Imports transformers: to be imported only where a network is built."""

from __future__ import annotations

import math
from typing import Any

from einops import rearrange
from torch import Tensor
from transformers.models.sam.modeling_sam import SamVisionLayer

from oncoseg.nn.sam_adapters import BottleneckAdapter, ConvolutionAdapter


class SamMed2dLayer(SamVisionLayer):
    """A layer whose perceptron has a convolutional adapter beside it (Cheng et al. 2023, figure 3).

    Args:
        config: transformers' configuration of the encoder.
        window_size: side of the attention's windows; 0 for the whole image.
        adapted: whether the adapter is used.
    """

    def __init__(self, config: Any, window_size: int, *, adapted: bool) -> None:
        super().__init__(config, window_size)
        self.adapted = adapted
        self.Adapter = ConvolutionAdapter(config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Tokens (batch, h, w, width) to the same shape."""
        if not self.adapted:
            plain: Tensor = super().forward(hidden_states)
            return plain
        tokens = hidden_states + self._attended(self.layer_norm1(hidden_states))
        normed = self.layer_norm2(tokens)
        result: Tensor = tokens + self.mlp(normed) + self.Adapter(normed)
        return result

    def _attended(self, tokens: Tensor) -> Tensor:
        if not self.window_size:
            return self.attn(tokens)[0]  # type: ignore[no-any-return]
        windows, padded = self.window_partition(tokens, self.window_size)
        attended: Tensor = self.window_unpartition(
            self.attn(windows)[0], self.window_size, padded, tuple(tokens.shape[1:3])
        )
        return attended


class MedSaLayer(SamVisionLayer):
    """A layer with bottleneck adapters behind the attention, along depth, and beside the perceptron.

    Wu et al. 2023, figure 2. As in the released code windows are cut before the layer norm, so that their padding
    is the norm's bias and not zero.

    Args:
        config: transformers' configuration of the encoder.
        window_size: side of the attention's windows; 0 for the whole image.
        hidden: width of the adapters' bottleneck.
        per_layer: 2 or 3 adapters.
        stack: slices of one volume that follow each other in the batch.
    """

    #: Weight of the adapter beside the perceptron, as released.
    scale = 0.5

    def __init__(self, config: Any, window_size: int, *, hidden: int, per_layer: int, stack: int) -> None:
        super().__init__(config, window_size)
        width = config.hidden_size
        self.stack = stack
        self.Space_Adapter = BottleneckAdapter(width, hidden, skip=True)
        self.MLP_Adapter = BottleneckAdapter(width, hidden, skip=False)
        self.Depth_Adapter: Any = BottleneckAdapter(width, hidden, skip=False) if per_layer > 2 else None

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Tokens (batch * stack, h, w, width) to the same shape."""
        size = tuple(hidden_states.shape[1:3])
        parts, padded = hidden_states, size
        if self.window_size:
            parts, padded = self.window_partition(hidden_states, self.window_size)
        normed = self.layer_norm1(parts)
        changed = self.Space_Adapter(self.attn(normed)[0])
        if self.stack > 1:
            changed = changed + self._along_depth(normed, len(parts) // len(hidden_states))
        if self.window_size:
            changed = self.window_unpartition(changed, self.window_size, padded, size)
        tokens = hidden_states + changed
        normed = self.layer_norm2(tokens)
        result: Tensor = tokens + self.mlp(normed) + self.scale * self.MLP_Adapter(normed)
        return result

    def _along_depth(self, tokens: Tensor, windows: int) -> Tensor:
        """The same attention between the slices of a stack at every place, then the depth adapter.

        Depth is folded to the most nearly square grid that is not a square, as released, for the attention knows rows
        and columns. The released code cuts windows first and then takes neighbours in the batch for neighbours in
        depth, which with more than one window they are not; here they always are, as the paper says.

        Args:
            tokens: (batch * stack * windows, h, w, width).
            windows: of one slice.
        """
        rows = next(n for n in range(math.isqrt(self.stack), 0, -1) if self.stack % n == 0 and n * n != self.stack)
        sides = {"deep": rows, "across": self.stack // rows, "windows": windows}
        places = rearrange(
            tokens, "(b deep across windows) h w c -> (b windows h w) deep across c", h=tokens.shape[1], **sides
        )
        changed = self.Depth_Adapter(self.attn(places)[0])
        h, w = tokens.shape[1:3]
        result: Tensor = rearrange(
            changed, "(b windows h w) deep across c -> (b deep across windows) h w c", h=h, w=w, **sides
        )
        return result
