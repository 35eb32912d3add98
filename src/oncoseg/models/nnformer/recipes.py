"""How nnFormer was trained."""

from __future__ import annotations

from typing import Any

from oncoseg.contracts import Recipe
from oncoseg.msam import patches

#: The released trainer's, which is nnU-Net's.
_PAPER: dict[str, Any] = {
    "optimiser": "sgd",
    "learning_rate": 1e-2,
    "momentum": 0.99,
    "weight_decay": 3e-5,
    "schedule": "poly",
    "clip": 12.0,
    "batch": 2,
    "epochs": 1_000,
    "epoch_steps": 250,
    "rate_every": "epoch",
}
RECIPES = {
    "smoke": Recipe(
        source="none: as small as an nnFormer can be, to see on a CPU that everything runs",
        options={
            "embed": 48,
            "token": (4, 4, 4),
            "heads": (1, 2, 4, 8),
            "decoder_heads": (1, 2, 4),
            "windows": (4, 4, 4, 4),
            "drop_path": 0.0,
            "losses": {"dice_squared": 1.0},
            "spacing": (5.0, 4.0, 4.0),
            "patch": (32, 64, 64),
            "augment": "none",
        },
        training={"steps": 75, "batch": 1, "learning_rate": 1e-3, "validate_every": 25},
    ),
    "paper": Recipe(
        source="Zhou et al. 2021 (arXiv 2109.03201), section 4, and the released trainer",
        options={"augment": "flips", "mirror": True, "overlap": 0.5, "normalise": "zscore", "tumour_share": 1 / 3},
        training=_PAPER,
        assumed=("augment", "spacing", "window", "normalise", "tumour_share"),
        variants=("synapse", "tumour"),
        notes="Spacing, window and z-score are planned from the data by nnU-Net there, and are the options' own here; "
        "its augmentation (rotation, scaling, noise, blur, contrast, gamma) is flips here. The brain tumour trainer "
        "supervises the finest output only: set deep_supervision = false and depth_weights = [1].",
    ),
    "m-sam": patches(
        "Its table lists 151 M parameters, to which 192 features come nearest.",
        "msam",
        "tumour",
    ),
}
