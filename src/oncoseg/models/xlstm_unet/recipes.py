"""How xLSTM-UNet was trained."""

from __future__ import annotations

from oncoseg.contracts import Recipe
from oncoseg.models.xlstm_unet.options import halving_weights

_RELEASED = "released code of Chen et al. 2024 (arXiv 2407.01530), nnUNetTrainer"
_RELEASED_NOTES = (
    "Learning rate and batch are given on the command line of the released code and published nowhere; here they are "
    "nnU-Net's. Plan, spacing and grey values come from nnU-Net's fingerprint of the data there, and from the options "
    "here."
)
_RELEASED_TRAINING = {
    "epochs": 4000,
    "epoch_steps": 250,
    "rate_every": "epoch",
    "optimiser": "sgd",
    "momentum": 0.99,
    "learning_rate": 1e-2,
    "weight_decay": 3e-5,
    "schedule": "poly",
    "clip": 12.0,
    "validate_every": 250,
    "select": "last",
}
_RELEASED_ASSUMED = ("spacing", "patch", "window", "normalise", "learning_rate", "batch")

RECIPES = {
    "smoke": Recipe(
        source="none: as small as the network can be, to see on a CPU that everything runs",
        options={
            "features": (8, 16, 24, 32),
            "kernels": ((3, 3),) * 4,
            "strides": ((1, 1), *((2, 2),) * 3),
            "depth_weights": (1.0,),
            "spacing": 4.0,
            "patch": 64,
            "window": (-1000.0, 400.0),
            "augment": "none",
            "tumour_share": 0.7,
        },
        training={"steps": 180, "batch": 4, "learning_rate": 5e-3, "validate_every": 90},
        variants=("bot_2d", "enc_2d"),
    ),
    "smoke:3d": Recipe(
        source="none: as small as the network can be, to see on a CPU that everything runs",
        options={
            "features": (4, 8, 16, 24),
            "kernels": ((3, 3, 3),) * 4,
            "strides": ((1, 1, 1), *((2, 2, 2),) * 3),
            "depth_weights": (1.0,),
            "spacing": (7.0, 6.5, 6.5),
            "patch": (24, 40, 40),
            "window": (-1000.0, 400.0),
            "augment": "none",
        },
        training={"steps": 80, "batch": 2, "learning_rate": 2e-2, "validate_every": 40},
        variants=("bot_3d", "enc_3d"),
    ),
    "paper": Recipe(
        source=_RELEASED,
        options={
            "losses": {"dice_nnunet_batch": 1.0, "cross_entropy": 1.0},
            "depth_weights": halving_weights(6),
            "tumour_share": 0.33,
            "patch": 512,
            "spacing": 1.0,
            "window": (-1000.0, 1000.0),
            "normalise": "zscore",
            "augment": "nnunet",
            "mirror": False,
        },
        training={**_RELEASED_TRAINING, "batch": 12},
        assumed=_RELEASED_ASSUMED,
        variants=("bot_2d", "enc_2d"),
        notes=_RELEASED_NOTES,
    ),
    "paper:3d": Recipe(
        source=_RELEASED,
        options={
            "losses": {"dice_nnunet": 1.0, "cross_entropy": 1.0},
            "depth_weights": halving_weights(4),
            "tumour_share": 0.33,
            "patch": (128, 128, 128),
            "spacing": (1.5, 1.5, 1.5),
            "window": (-1000.0, 1000.0),
            "normalise": "zscore",
            "augment": "nnunet",
            "mirror": False,
        },
        training={**_RELEASED_TRAINING, "batch": 2},
        assumed=_RELEASED_ASSUMED,
        variants=("bot_3d", "enc_3d"),
        notes=_RELEASED_NOTES,
    ),
    "gtv-samgan": Recipe(
        source="Yi et al. 2026, Quant Imaging Med Surg 16(1):59, comparison table",
        options={
            "spacing": None,
            "fit": "crop",
            "patch": 512,
            "slices": "labelled",
            "tumour_share": 1.0,
            "window": (-1000.0, 1000.0),
            "augment": "none",
            "losses": {"dice_nnunet_batch": 1.0, "cross_entropy": 1.0},
        },
        training={
            "epochs": 100,
            "optimiser": "adam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "schedule": "constant",
            "batch": 4,
            "samples_per_case": 16,
        },
        assumed=(
            "fit",
            "window",
            "augment",
            "losses",
            "epochs",
            "optimiser",
            "learning_rate",
            "weight_decay",
            "schedule",
            "batch",
            "samples_per_case",
        ),
        variants=("bot_2d", "enc_2d"),
        notes="The paper trains its own model so and says nothing of this one, not even which variant. Tumour slices "
        "alone are used. Its 7.37 % Dice on local data looks like a training that failed: a warning, not a target.",
    ),
}
