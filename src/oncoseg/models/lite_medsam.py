"""LiteMedSAM: MedSAM with a TinyViT encoder at 256 px, prompted with a box on each slice.

Ma et al., Segment anything in medical images, Nat Commun 15:654 (2024); LiteMedSAM is the light
version of the same authors' repository (bowang-lab/MedSAM).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.nn.sam import Sam
from oncoseg.nn.tiny_vit import TinyViT
from oncoseg.promptable.building import built, seeded
from oncoseg.promptable.frame import Frame
from oncoseg.promptable.options import PromptedOptions
from oncoseg.promptable.teaching import TaughtSliceModel
from oncoseg.weights import keymaps
from oncoseg.weights.loading import load_strictly

INFOS = (
    ModelInfo(
        name="lite_medsam",
        variant="",
        title="LiteMedSAM",
        summary="MedSAM with a small encoder: a box on each slice, or one 3D box, gives the tumour's outline.",
        parameters=9_791_300,
        trainable_parameters=9_791_300,
        dimension="2d",
        prompts=("box",),
        doi="10.1038/s41467-024-44824-z",
        licence="Apache-2.0; the weights file names no licence of its own",
        fidelity="verified",
        trainable=True,
        weights="lite-medsam",
        reference_use="a box on every slice of the tumour, or one 3D box",
    ),
)

#: Side of the network's input in pixels.
SIZE = 256


@dataclass(frozen=True)
class Options(PromptedOptions):
    """How slices and boxes are shown to the network.

    The weights were trained with boxes wider by 0 to 5 of the network's pixels: tight boxes on every slice gain
    from `margin_px = 2.5`, one 3D box is wide enough. One slice at a time is fastest on a CPU.

    Attributes:
        image_size: side of the network's input in pixels; the weights were made for 256.
    """

    image_size: int = SIZE


_DECODER = {"trained": "decoder", "jitter": "outward", "jitter_px": 5.0}
RECIPES = {
    "smoke": Recipe(
        source="none: the whole network from random weights, to see on a CPU that everything runs",
        options={"random_weights": True, "image_size": 64, "jitter_px": 0.0, "crop_px": 48},
        training={"steps": 40, "batch": 2, "learning_rate": 3e-4, "validate_every": 20},
    ),
    "paper": Recipe(
        source="bowang-lab/MedSAM, branch LiteMedSAM, train_one_gpu.py",
        options={"trained": "all", "crop": "slice", "window": "lung", "jitter": "outward", "jitter_px": 5.0},
        training={
            "epochs": 10,
            "batch": 8,
            "optimiser": "adamw",
            "learning_rate": 5e-5,
            "weight_decay": 0.01,
            "schedule": "constant",
        },
        assumed=("window", "epochs", "batch", "learning_rate", "schedule"),
        notes="MedSAM's loss and box jitter; its own script also learns the predicted IoU, which is not used here.",
    ),
    "boxes": Recipe(
        source="none: the decoder alone, on the boxes that a user draws on each slice",
        options=_DECODER,
        training={"steps": 400, "batch": 4, "learning_rate": 1e-4, "validate_every": 100},
    ),
    "3d-box": Recipe(
        source="none: the decoder alone, on the same 3D box for every slice of a lesion",
        options={**_DECODER, "taught_with": "lesion box", "jitter_px": 0.0},
        training={"steps": 400, "batch": 4, "learning_rate": 1e-4, "validate_every": 100},
    ),
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> TaughtSliceModel:
    """Make the model with its official weights, fetched on the first use.

    Args:
        variant: there is none.
        weights: an official `.pth`, a safetensors file or a checkpoint of `oncoseg train`; None for the catalogue's.
        **options: fields of `Options`.

    Raises:
        InputError: for a variant, an option, or a weights file that does not fit.
        FetchError: when the weights are needed and cannot be had.
    """
    return built(
        _model, INFOS, Options, variants={}, variant=variant, weights=weights, options=options, load=load_official
    )


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Fill the network from a file with official SAM names, or with its own."""
    load_strictly(network, keymaps.sam_state(state), what)


def _model(info: ModelInfo, options: Options) -> TaughtSliceModel:
    size = options.image_size
    network = seeded(lambda: Sam(TinyViT("lite_medsam"), image_size=size, patch_size=4))
    # Convolutions of this encoder are 15 % faster on a CPU with channels last.
    network.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # The longest side of what is shown becomes 256, values are stretched to [0, 1], the rest is zeros.
    return TaughtSliceModel(info, options, network, Frame(size, fit="corner", stretch=True))
