"""SAM-Med2D: SAM with adapters at 256 px, taught with boxes, clicks and its own masks.

Cheng et al., SAM-Med2D, 2023 (arXiv 2308.16184).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.nn.sam_adapters import sam_med2d
from oncoseg.promptable.building import built, seeded
from oncoseg.promptable.iterating import IteratedOptions, IteratedSliceModel, pixel_frame
from oncoseg.weights.sam_med2d import load_official

INFOS = (
    ModelInfo(
        name="sam_med2d",
        variant="",
        title="SAM-Med2D",
        summary="SAM's ViT-B with a convolutional adapter in every layer, at 256 px: box, clicks or a rough mask.",
        parameters=271_241_776,
        # Adapters, prompt encoder and mask decoder; the image encoder's own 86,672,640 stay.
        trainable_parameters=184_569_136,
        dimension="2d",
        prompts=("box", "click", "mask"),
        doi="10.48550/arXiv.2308.16184",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "adam", "learning_rate": 1e-4, "batch": 2, "mask_num": 5, "iterations": 8, "epochs": 15},
        reference_use="a box on every slice of the tumour, or clicks",
    ),
)


@dataclass(frozen=True)
class Options(IteratedOptions):
    """Network, view and training of SAM-Med2D; see `IteratedOptions`."""


RECIPES = {
    "smoke": Recipe(
        source="none: a small encoder from random weights, to see on a CPU that everything runs",
        options={
            "embed_dim": 48,
            "depth": 2,
            "heads": 4,
            "image_size": 128,
            "crop": "prompt",
            "crop_px": 32,
            "jitter_px": 1.0,
            "mask_num": 1,
            "iterations": 2,
        },
        training={
            "optimiser": "adam",
            "weight_decay": 0.0,
            "steps": 60,
            "batch": 4,
            "learning_rate": 1e-3,
            "validate_every": 30,
        },
    ),
    "paper": Recipe(
        source="Cheng et al. 2023 (arXiv 2308.16184) and OpenGVLab/SAM-Med2D, train.py",
        options={"window": (-1024.0, 3071.0), "slice_range": True},
        training={
            "optimiser": "adam",
            "weight_decay": 0.0,
            "learning_rate": 1e-4,
            "schedule": "constant",
            "batch": 2,
            "epochs": 15,
        },
        assumed=("window",),
        notes="Start from SAM's ViT-B (sam_vit_b_01ec64.pth as weights) or from sam-med2d_b.pth. The paper says 12 "
        "epochs, the code 15. Its slices come from all three axes; here they are axial. Minimum "
        "and maximum of every slice become 0 and 255 as in the paper, which shows bone and air but little of a "
        "tumour's surroundings: for lung tumours compare with slice_range off and a window.",
    ),
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> IteratedSliceModel:
    """Make a SAM-Med2D.

    Args:
        variant: there is none.
        weights: a checkpoint of `oncoseg train`, which brings its options; `sam-med2d_b.pth`; or a SAM of the same
            size, which is a beginning for training: what it does not give is told. None gives random weights.
        **options: fields of `Options`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        _model, INFOS, Options, variants={}, variant=variant, weights=weights, options=options, load=load_official
    )


def _model(info: ModelInfo, options: Options) -> IteratedSliceModel:
    network = seeded(lambda: sam_med2d(options.size, image_size=options.image_size, adapters=options.adapters))
    return IteratedSliceModel(info, options, network, pixel_frame(options))
