"""How Medical SAM 2 was trained."""

from __future__ import annotations

from typing import Any

from oncoseg.contracts import Recipe

#: The released 3D training: train_3d.py, func_3d/function.py and cfg.py of ImprintLab/Medical-SAM2.
_RELEASED: dict[str, Any] = {
    "optimiser": "adam",
    "learning_rate": 1e-4,
    "group_rates": {"memory": 1e-4},
    "weight_decay": 0.0,
    "schedule": "constant",
    "batch": 1,
    "precision": "bfloat16",
}
_NOTES = (
    "Objects are the tumour of a case as a whole. The released code multiplies by the mixed precision that autocast "
    "gives; its network is cast to bfloat16 too, here weights stay float32."
)
RECIPES = {
    "smoke": Recipe(
        source="none: the smallest network from random weights, all of it learning, to see on a CPU that it runs",
        options={
            "size": "smallest",
            "image_size": 128,
            "trained": "all",
            "gated": False,
            "stability": False,
            "video_length": 2,
            "reach_mm": 0.0,
        },
        training={
            "steps": 150,
            "batch": 1,
            "learning_rate": 3e-3,
            "validate_every": 50,
        },
        notes="Nothing teaches this network on which slices no tumour is, so it looks between prompted ones alone.",
    ),
    "paper": Recipe(
        source="Zhu et al. 2024 (arXiv 2408.00874), released 3D code",
        training={**_RELEASED, "epochs": 100},
        assumed=("window",),
        notes=_NOTES,
    ),
    "lung-ct-benchmark": Recipe(
        source="Mulero Ayllon et al. 2025 (arXiv 2505.01239), section III: 1000 epochs, other defaults kept",
        training={**_RELEASED, "epochs": 1000},
        assumed=("window", "size"),
        notes=_NOTES + " That paper shows every fraction of the training patients: fraction = [0, 0.25, 0.5, 0.75, 1] "
        "in a matrix, with options.taught_with = box or click. It does not say which weights it began with.",
    ),
    "one-prompt": Recipe(
        source="Zhu et al. 2024 (arXiv 2408.00874), released 2D code",
        options={
            "clip": "random",
            "video_length": 5,
            "taught_with": "click",
            "memory": "selfsort_code",
            "trained": "all",
        },
        training={**_RELEASED, "group_rates": {}, "epochs": 100},
        assumed=("window", "video_length"),
        notes="The released code keeps its bank over a whole epoch of single images and prompts each fifth batch; here "
        "a clip of five slices of one case begins with an empty bank and a prompt.",
    ),
}
