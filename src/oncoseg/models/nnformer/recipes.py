"""How nnFormer was trained."""

from __future__ import annotations

from typing import Any

from oncoseg.contracts import Recipe

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
    "m-sam": Recipe(
        source="Shi et al. 2024 (arXiv 2403.05912), table 1: the common pipeline of its experiments",
        options={
            "spacing": None,
            "patch": (128, 128, 128),
            "window": (-1000.0, 1000.0),
            "normalise": "zscore",
            "augment": "flips",
            "tumour_share": 1.0,
            "losses": {"dice_squared": 0.5, "cross_entropy": 0.5},
        },
        training={
            "optimiser": "adamw",
            "learning_rate": 8e-4,
            "weight_decay": 0.1,
            "schedule": "multistep",
            "milestones": (120, 180),
            "gamma": 0.1,
            "rate_every": "epoch",
            "batch": 4,
            "epochs": 200,
        },
        assumed=(
            "tumour_share",
            "losses",
            "optimiser",
            "learning_rate",
            "weight_decay",
            "schedule",
            "milestones",
            "gamma",
            "batch",
            "epochs",
        ),
        variants=("msam", "tumour"),
        notes="That paper does not say how its baselines were trained; optimiser, loss, schedule, epochs and batch are "
        "M-SAM's own, for a like comparison. Its patches are cut round the label, at test time too; here training "
        "patches hold tumour and prediction slides over the whole volume. Its table lists 151 M parameters, to "
        "which 192 features come nearest.",
    ),
}
