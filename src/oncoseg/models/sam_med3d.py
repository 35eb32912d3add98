"""SAM-Med3D: one click in a volume gives the tumour in all slices, further clicks correct it.

Wang et al., SAM-Med3D: Towards General-purpose Segmentation Models for Volumetric Medical Images, 2023 (arXiv
2310.15161; ECCV workshop BIC 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncoseg import msam
from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.nn.sam3d.network import Sam3d
from oncoseg.promptable.building import built
from oncoseg.promptable.volume_options import SMALL, VolumeOptions
from oncoseg.promptable.volume_teaching import TaughtVolumeModel

INFOS = (
    ModelInfo(
        name="sam_med3d",
        variant="",
        title="SAM-Med3D",
        summary="One click in a volume gives the tumour in all slices, more clicks correct it; a 3D ViT-B at 128^3.",
        parameters=100_509_232,
        trainable_parameters=100_509_232,
        dimension="3d",
        prompts=("click",),
        prompts_optional=True,
        doi="10.48550/arXiv.2310.15161",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "adamw", "learning_rate": 8e-4, "weight_decay": 0.1, "epochs": 200, "batch": 12},
        reference_use="a click on each lesion",
    ),
)


@dataclass(frozen=True)
class Options(VolumeOptions):
    """All of them are those of every network prompted in volumes."""


RECIPES = {
    "smoke": Recipe(
        source="none: a small network from random weights, to see on a CPU that everything runs",
        options={**SMALL, "mask_only": False},
        training={"steps": 300, "batch": 2, "learning_rate": 1e-3, "validate_every": 50},
    ),
    "paper": Recipe(
        source="uni-medical/SAM-Med3D, train.py and its defaults; Wang et al. 2023 (arXiv 2310.15161), section 3.4",
        options={"label_above": 1000},
        training={
            "optimiser": "adamw",
            "learning_rate": 8e-4,
            "group_rates": {"network.decoder": 0.1},
            "weight_decay": 0.1,
            "schedule": "multistep",
            "milestones": (120, 180),
            "gamma": 0.1,
            "rate_every": "epoch",
            "epochs": 200,
            "batch": 12,
            "accumulate": 20,
            "precision": "float16",
            "redraw": True,
        },
        notes="Prompt encoder and mask decoder learn at 8e-5. Training cubes are cut round the reference, as "
        "published, and cases whose cube holds at most 1000 voxels of label are replaced by others; predictions look "
        "round the click. The paper's two stages of 800 and 200 epochs are one here.",
    ),
    "m-sam": Recipe(
        source=msam.SOURCE,
        options={"spacing_mm": 0.0},
        training=msam.STEPS,
        assumed=tuple(msam.STEPS),
        notes="That paper does not say how its baselines were trained: the steps are M-SAM's own. Cubes are cut at the "
        "scanner's spacing, round the reference in training and round the click in prediction.",
    ),
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> TaughtVolumeModel:
    """Make a SAM-Med3D.

    Args:
        variant: there is none.
        weights: a checkpoint written by `oncoseg train`, or an official file (`sam_med3d_turbo.pth`). None gives
            random weights from torch's generator.
        **options: fields of `Options`.

    Raises:
        InputError: for a variant, an option, or a weights file that does not fit; it lists missing and unexpected
            tensors.
    """
    return built(_model, INFOS, Options, variants={}, variant=variant, weights=weights, options=options)


def _model(info: ModelInfo, options: Options) -> TaughtVolumeModel:
    network = Sam3d(
        options.size,
        image_size=options.image_size,
        patch_size=options.patch_size,
        width=options.width,
        positions=options.positions,
    )
    return TaughtVolumeModel(info, options, network)
