"""What the rooms on SAM's ViT share: the size of their image encoder, and SAM's own files as a beginning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from oncoseg.nn.sam_vit import VitSize, sized
from oncoseg.promptable.options import PromptedOptions
from oncoseg.weights.keymaps import sam_state
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.positions import interpolated_positions


@dataclass(frozen=True)
class VitOptions(PromptedOptions):
    """How slices and prompts are shown to a network on SAM's ViT, and how large that is.

    Attributes:
        vit: published size of the image encoder.
        embed_dim, depth, heads: in place of those of `vit`; None keeps them.
        image_size: side of the network's input in pixels, a multiple of 16.
    """

    crop: Literal["prompt", "slice"] = "slice"
    vit: Literal["b", "l", "h"] = "b"
    embed_dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    image_size: int = 1024

    @property
    def size(self) -> VitSize:
        """Of the image encoder."""
        return sized(self.vit, embed_dim=self.embed_dim, depth=self.depth, heads=self.heads)


def load_sam(network: nn.Module, state: Mapping[str, Tensor], what: str, *, new: str | None = None) -> list[str]:
    """Fill a SAM from a file with official names, transformers' or its own.

    Position tables are interpolated where the network looks at images of another size.

    Args:
        network: whose image encoder is SAM's ViT; filled in place.
        state: tensor by name.
        what: names the file in messages.
        new: part of the names of tensors that SAM does not have; where the file holds none of them they stay as
            they are.

    Returns:
        What of the network the file did not give, in sentences; empty when it gave everything.

    Raises:
        InputError: with what is missing, unexpected or of another shape; the network is untouched.
    """
    fitted, own = interpolated_positions(sam_state(state), network), network.state_dict()
    absent = {name: own[name] for name in own if new and new in name}
    if not absent or absent.keys() & fitted.keys():
        load_strictly(network, fitted, what)
        return []
    load_strictly(network, fitted | absent, what)
    return [f"{what} holds no adapters: they are random until they are trained."]
