"""The one door to MONAI's networks, whose authors are those of UNETR and Swin UNETR (Apache-2.0).

They are MONAI's modules with MONAI's names, so its state dicts load as they are.

MONAI takes seconds to import, so it is imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from oncoseg.nn.shapes import require_input

#: Voxels along each side of one token; MONAI's UNETR knows no other.
UNETR_TOKEN = 16
#: Swin UNETR halves each axis five times.
SWIN_UNETR_MULTIPLE = 32
#: Neighbours that MONAI before 1.5 joined to one token: two of the eight twice, two not at all (its issue 8284).
FIRST_NEIGHBOURS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))


def unetr(
    *,
    channels: int,
    outputs: int,
    size: Sequence[int],
    features: int = 16,
    hidden: int = 768,
    mlp: int = 3072,
    heads: int = 12,
    embedding: Literal["conv", "perceptron"] = "conv",
    dropout: float = 0.0,
) -> nn.Module:
    """UNETR (Hatamizadeh et al. 2022): a ViT of 12 layers over 16^3 voxel tokens, and a convolutional decoder.

    Args:
        channels: of the patches.
        outputs: channels of the logits.
        size: the one patch size it takes, multiples of 16.
        features: filters at full resolution.
        hidden: width of a token.
        mlp: inner width of the perceptrons.
        heads: of the attention.
        embedding: makes tokens by a convolution, or by a linear layer on the flattened voxels: the same function
            with its weights in another order.
        dropout: probability in the transformer.

    Returns:
        (batch, channels, *size) to logits (batch, outputs, *size); another input is an InputError.
    """
    from monai.networks.nets.unetr import UNETR

    network = UNETR(
        in_channels=channels,
        out_channels=outputs,
        img_size=tuple(size),
        feature_size=features,
        hidden_size=hidden,
        mlp_dim=mlp,
        num_heads=heads,
        proj_type=embedding,
        dropout_rate=dropout,
    )
    for name, parameter in network.named_parameters():
        # MONAI makes these layer norms for a cross-attention that UNETR has not: no gradient would ever reach them.
        parameter.requires_grad_("norm_cross_attn" not in name)
    return _checked(network, "UNETR", multiple=UNETR_TOKEN, channels=channels, size=tuple(size))


def swin_unetr(
    *,
    channels: int,
    outputs: int,
    features: int = 48,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
    drop_path: float = 0.0,
    v2: bool = False,
    merging: Literal["all", "first"] = "all",
    recompute: bool = False,
) -> nn.Module:
    """Swin UNETR (Hatamizadeh et al. 2022): a Swin transformer with a convolutional decoder.

    Args:
        channels: of the patches.
        outputs: channels of the logits.
        features: width of the first stage, a multiple of 12; doubled by each of the four stages.
        depths: blocks of the stages.
        heads: of the stages' attention.
        window: tokens along each side of a window.
        drop_path: highest probability of leaving a branch out while training.
        v2: a residual convolution before each stage (SwinUNETR-V2, He et al. 2023).
        merging: of eight tokens to one between stages: of `all`, or as MONAI `first` had it, see `FIRST_NEIGHBOURS`.
        recompute: forget what lies inside the blocks and compute it again for the gradient: less memory, more time.

    Returns:
        (batch, channels, slices, rows, columns), multiples of 32, to logits of that size; another input is an
        InputError.
    """
    from monai.networks.nets.swin_unetr import SwinUNETR

    with _RatesOnCpu():
        network = SwinUNETR(
            in_channels=channels,
            out_channels=outputs,
            feature_size=features,
            depths=tuple(depths),
            num_heads=tuple(heads),
            window_size=window,
            dropout_path_rate=drop_path,
            use_v2=v2,
            downsample="merging" if merging == "all" else FirstMerging,
            use_checkpoint=recompute,
            # Fused attention where no gradient is wanted; the same sums in another order.
            use_flash_attention=True,
        )
    return _checked(network, "Swin UNETR", multiple=SWIN_UNETR_MULTIPLE, channels=channels)


class FirstMerging(nn.Module):
    """Neighbouring tokens to one of twice the width, as in MONAI before 1.5: what published weights were trained with.

    Arguments and names are those of MONAI's `PatchMerging`, whose place it takes.
    """

    def __init__(self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3) -> None:
        super().__init__()
        self.reduction = nn.Linear(2**spatial_dims * dim, 2 * dim, bias=False)
        self.norm = norm_layer(2**spatial_dims * dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, slices, rows, columns, dim), even sizes, to (batch, half of each, 2 dim)."""
        parts = [tokens[:, i::2, j::2, k::2] for i, j, k in FIRST_NEIGHBOURS]
        merged: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return merged


class _RatesOnCpu(TorchFunctionMode):
    """Lets MONAI read its drop rates out of a `linspace` where new tensors have no values (device `meta`)."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `function`, a `linspace` on the CPU."""
        return function(*args, **{**(kwargs or {}), **({"device": "cpu"} if function is torch.linspace else {})})


def _checked(network: nn.Module, name: str, *, multiple: int, **needs: Any) -> nn.Module:
    """The network itself, which says what sizes must divide by and refuses what it cannot take."""
    # A hook and not a module round it: names of the state dict stay MONAI's.
    multiples: dict[str, Any] = {} if "size" in needs else {"multiple": [multiple] * 3}
    network.register_forward_pre_hook(partial(_require, name=name, **needs, **multiples))
    setattr(network, "multiple", multiple)  # noqa: B010  (the stubs of Module know tensors and modules only)
    return network


def _require(network: nn.Module, inputs: tuple[Tensor, ...], *, name: str, **needs: Any) -> None:
    require_input(inputs[0], name, **needs)
