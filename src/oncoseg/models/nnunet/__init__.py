"""nnU-Net v2: the package itself, driven in a process of its own.

Nothing of it is re-implemented here. The room writes cases the way nnU-Net reads them, has it plan, train and
predict in a child process, and hands plans, progress, weights and errors on in oncoseg's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.errors import ConfigError
from oncoseg.msam import SOURCE

if TYPE_CHECKING:
    from oncoseg.models.nnunet.model import Nnunet

_DOI = "10.1038/s41592-020-01008-z"


def _info(variant: str, what: str, parameters: int, size: str) -> ModelInfo:
    return ModelInfo(
        name="nnunet",
        variant=variant,
        title=f"nnU-Net {variant}",
        summary=f"{what} The planner sizes the network to the data; {size}.",
        parameters=parameters,
        trainable_parameters=parameters,
        dimension="2d" if variant == "2d" else "3d",
        prompts=(),
        doi=_DOI,
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={
            "epochs": 1000,
            "iterations": 250,
            "optimiser": "SGD, Nesterov momentum 0.99, weight decay 3e-5",
            "learning_rate": 0.01,
            "schedule": "poly 0.9 by epoch",
            "loss": "Dice + cross-entropy, deep supervision",
        },
    )


INFOS = (
    _info("3d_fullres", "Patches at the planned spacing.", 31_196_399, "the count is of six stages and three classes"),
    _info("2d", "Slice by slice.", 46_326_581, "the count is of eight stages, as for 512 x 512 slices"),
    _info("3d_lowres", "The whole region at a coarser spacing.", 31_196_399, "the count is as for 3d_fullres"),
    _info(
        "3d_cascade_fullres",
        "3d_lowres first, whose result 3d_fullres refines.",
        62_392_798,
        "the count is twice that of 3d_fullres",
    ),
)

#: What `install` does, for `oncoseg fetch`.
INSTALLS = "nnunetv2 in an environment of its own, which shares the torch of this one (600 MB)"

RECIPES: Mapping[str, Recipe] = {
    "smoke": Recipe(
        source="none: a few iterations, to see that everything works",
        options={"iterations": 2, "validation_iterations": 1, "memory_gb": 0.5, "processes": 1, "stage_folds": 2},
        training={"epochs": 1},
        assumed=("iterations", "validation_iterations", "memory_gb", "stage_folds", "epochs"),
    ),
    "paper": Recipe(
        source="Isensee et al. 2021, Methods, and the defaults of nnunetv2",
        options={"iterations": 250, "validation_iterations": 50, "memory_gb": 8.0, "stage_folds": 5},
        training={"epochs": 1000},
        notes="Everything else is chosen by nnU-Net from the data; plans.json in the training's folder says what.",
    ),
    "lung-ct-benchmark": Recipe(
        source="Mulero Ayllón et al. 2025, arXiv 2505.01239, sections III and IV",
        options={"labels": "lungs+tumour", "spacing": (3.0, 1.0, 1.0), "window": (-1000.0, 1000.0)},
        training={"epochs": 1000},
        assumed=("epochs",),
        variants=("2d", "3d_lowres", "3d_fullres"),
        notes="The paper trained nnU-Net with its default pipeline on volumes of 1 x 1 x 3 mm, clipped and scaled to "
        "0-1; nnU-Net's own normalisation makes that scale irrelevant, so HU are kept.",
    ),
    "m-sam": Recipe(
        source=SOURCE,
        options={"window": (-1000.0, 1000.0)},
        training={"epochs": 1000},
        assumed=("window", "epochs"),
        variants=("3d_fullres",),
        notes="That paper does not say how its nnU-Net was trained; its 16 M parameters are what nnU-Net planned from "
        "the data. Values are limited as for the others there; patch, spacing and training are nnU-Net's own, not "
        "patches of 128 voxels.",
    ),
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> Nnunet:
    """Make an nnU-Net; it predicts once it is trained.

    Args:
        variant: `3d_fullres` (default), `2d`, `3d_lowres` or `3d_cascade_fullres`.
        weights: a checkpoint written by `oncoseg train`, or a folder that nnU-Net itself trained, such as
            `nnUNetTrainer__nnUNetPlans__3d_fullres`. None for a model that is to be trained.
        **options: fields of `oncoseg.models.nnunet.options.NnunetOptions`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read.
        UnsafeFileError: when a file of the folder holds more than tensors and numbers.
    """
    if options.get("given", "nothing") != "nothing":
        raise ConfigError(
            "nnunet plans and fills its input channels in a process of its own and cannot be given boxes "
            f"(given = {options['given']!r}). Take another model of `oncoseg models`, e.g. unet."
        )
    from oncoseg.models.nnunet.model import built

    return built(INFOS, variant, weights=weights, options=options)


def trained_variant(folder: Path) -> str | None:
    """The variant of a folder that nnU-Net trained, None for any other folder."""
    from oncoseg.models.nnunet.checkpoint import variant_of

    return variant_of(folder)


def install(say: Any) -> Path:
    """Set up the environment that nnU-Net runs in; see `oncoseg.models.nnunet.environment`."""
    from oncoseg.models.nnunet import environment

    return environment.install(say)
