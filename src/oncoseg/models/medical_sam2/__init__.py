"""Medical SAM 2: slices of a volume as a video (Zhu et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from oncoseg.contracts import ModelInfo
from oncoseg.models.medical_sam2.model import MedicalSam2
from oncoseg.models.medical_sam2.options import MedicalSam2Options
from oncoseg.models.medical_sam2.recipes import RECIPES
from oncoseg.nn.sam2.network import Sam2
from oncoseg.nn.sam2.sizes import SIZES
from oncoseg.promptable.building import built
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.sam2 import sam2_state

__all__ = ["INFOS", "RECIPES", "build"]

_COMMON: dict[str, Any] = {
    "name": "medical_sam2",
    "dimension": "2d",
    "prompts": ("box", "click", "scribble", "mask"),
    "doi": "10.48550/arXiv.2408.00874",
    "licence": "Apache-2.0",
    "fidelity": "verified",
    "trainable": True,
    "recipe": {"optimiser": "adam", "learning_rate": 1e-4, "memory_learning_rate": 1e-8, "epochs": 100, "batch": 1},
    "reference_use": "a box or click on some slices of the tumour, or one 3D box",
}
INFOS = (
    ModelInfo(
        variant="small",
        title="Medical SAM 2 (small)",
        summary="Follows a tumour through axial slices from a box or click on some of them; SAM 2.0 Hiera-small.",
        parameters=46_043_842,
        trainable_parameters=11_719_414,
        **_COMMON,
    ),
    ModelInfo(
        variant="tiny",
        title="Medical SAM 2 (tiny)",
        summary="The same on SAM 2.0 Hiera-tiny.",
        parameters=38_945_986,
        trainable_parameters=11_719_414,
        **_COMMON,
    ),
    ModelInfo(
        variant="base_plus",
        title="Medical SAM 2 (base+)",
        summary="The same on SAM 2.0 Hiera-base+.",
        parameters=80_833_666,
        trainable_parameters=11_719_414,
        **_COMMON,
    ),
    ModelInfo(
        variant="large",
        title="Medical SAM 2 (large)",
        summary="The same on SAM 2.0 Hiera-large.",
        parameters=224_430_130,
        trainable_parameters=11_719_414,
        **_COMMON,
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {info.variant: {"size": info.variant} for info in INFOS}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> MedicalSam2:
    """Make a Medical SAM 2.

    Args:
        variant: `small` (default), `tiny`, `base_plus` or `large`.
        weights: a checkpoint written by `oncoseg train`; or an official file of SAM 2.0 or Medical SAM 2 of that size.
            None gives random weights from torch's generator.
        **options: fields of `MedicalSam2Options`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        _model,
        INFOS,
        MedicalSam2Options,
        variants=VARIANTS,
        variant=variant,
        weights=weights,
        options=options,
        load=load_official,
    )


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Fill the network from a file with official SAM 2 names, or with transformers' own.

    Raises:
        InputError: when tensors are missing, left over or of another shape, as with a file of SAM 2.1.
    """
    load_strictly(network, sam2_state(state), what)


def _model(info: ModelInfo, options: MedicalSam2Options) -> MedicalSam2:
    network = Sam2(
        SIZES[options.size],
        image_size=options.image_size,
        version="2.0",
        gated=options.gated,
        stability=options.stability,
    )
    return MedicalSam2(info, options, network)
