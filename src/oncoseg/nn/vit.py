"""The plain vision transformer's encoder (Dosovitskiy et al. 2021, arXiv 2010.11929).

Names of the state dict are those of the widely used PyTorch port of the authors' JAX code.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6


class Encoder(nn.Module):
    """Pre-norm transformer layers and a last layer norm.

    Args:
        layers: how many.
        width: of a token.
        heads: of the attention; must divide the width.
        mlp: inner width of the multilayer perceptrons.
        dropout: probability inside them.
    """

    def __init__(self, layers: int, width: int, *, heads: int, mlp: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(width, heads=heads, mlp=mlp, dropout=dropout) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same shape."""
        for layer in self.layer:
            tokens = layer(tokens)
        encoded: Tensor = self.encoder_norm(tokens)
        return encoded


class Layer(nn.Module):
    """Attention and multilayer perceptron, each behind a layer norm and added to what came in."""

    def __init__(self, width: int, *, heads: int, mlp: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.ffn_norm = nn.LayerNorm(width, eps=EPSILON)
        self.ffn = Perceptron(width, mlp, dropout)
        self.attn = Attention(width, heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same shape."""
        tokens = tokens + self.attn(self.attention_norm(tokens))
        result: Tensor = tokens + self.ffn(self.ffn_norm(tokens))
        return result


class Attention(nn.Module):
    """Multi-head attention between all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same shape."""
        query, key, value = (
            part(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        attended: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return attended


class Perceptron(nn.Module):
    """Two linear layers with GELU between and dropout after each; started as in the authors' code."""

    def __init__(self, width: int, inner: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) -> the same shape."""
        inner = self.dropout(F.gelu(self.fc1(tokens)))
        result: Tensor = self.dropout(self.fc2(inner))
        return result
