"""The common pipeline of M-SAM's experiments, by which other models are trained for its tables.

Shi et al. 2024 (arXiv 2403.05912), section 3.1 and table 1. The paper does not say how its baselines were trained;
here they are trained as M-SAM itself was, and every setting of theirs counts as assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oncoseg.contracts import Recipe

SOURCE = "Shi et al. 2024 (arXiv 2403.05912), table 1: the common pipeline of its experiments"
#: M-SAM's own training, for `oncoseg.training.settings.TrainConfig`.
STEPS: Mapping[str, Any] = {
    "optimiser": "adamw",
    "learning_rate": 8e-4,
    "weight_decay": 0.1,
    "schedule": "multistep",
    "milestones": (120, 180),
    "gamma": 0.1,
    "rate_every": "epoch",
    "batch": 4,
    "epochs": 200,
}
#: Patches that networks without prompts are trained on and slide over a volume with.
PATCHES: Mapping[str, Any] = {
    "spacing": None,
    "patch": (128, 128, 128),
    "window": (-1000.0, 1000.0),
    "normalise": "zscore",
    "augment": "flips",
    "tumour_share": 1.0,
    "losses": {"dice_squared": 0.5, "cross_entropy": 0.5},
}
_SAID = (
    "That paper does not say how its baselines were trained; optimiser, loss, schedule, epochs and batch are M-SAM's "
    "own, for a like comparison. Its patches are cut round the label, at test time too; here training patches hold "
    "tumour and prediction slides over the whole volume, unless the run cuts images round the reference."
)


def patches(said: str, *variants: str) -> Recipe:
    """The recipe of a network that sees three-dimensional patches.

    Args:
        said: what there is to say of the network in that table.
        variants: of the model that it is for; none for all.
    """
    assumed = ("tumour_share", "losses", *(name for name in STEPS if name != "rate_every"))
    return Recipe(SOURCE, PATCHES, STEPS, assumed=assumed, variants=variants, notes=f"{_SAID} {said}")
