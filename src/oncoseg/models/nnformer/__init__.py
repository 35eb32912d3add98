"""nnFormer: window attention in encoder and decoder, and skip connections by attention (Zhou et al. 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.contracts import ModelInfo
from oncoseg.dense.building import built
from oncoseg.dense.patches import PatchModel
from oncoseg.models.nnformer.network import NnFormer
from oncoseg.models.nnformer.options import NnFormerOptions
from oncoseg.models.nnformer.recipes import RECIPES

__all__ = ["INFOS", "RECIPES", "VARIANTS", "build"]

_COMMON: dict[str, Any] = {
    "name": "nnformer",
    "dimension": "3d",
    "prompts": (),
    "doi": "10.48550/arXiv.2109.03201",
    "licence": "Apache-2.0",
    "trainable": True,
    "recipe": {"optimiser": "sgd", "learning_rate": 0.01, "batch": 2, "steps": 250_000, "loss": "Dice + cross-entropy"},
}
INFOS = (
    ModelInfo(
        variant="msam",
        title="nnFormer",
        summary="192 features on 128^3 patches: the size the M-SAM comparison lists.",
        parameters=149_798_442,
        trainable_parameters=149_798_442,
        fidelity="reconstructed",
        **_COMMON,
    ),
    ModelInfo(
        variant="synapse",
        title="nnFormer (multi-organ CT)",
        summary="192 features on patches of 64 x 128 x 128; 150,054,210 parameters with the paper's 14 classes.",
        parameters=149_538_078,
        trainable_parameters=149_538_078,
        fidelity="verified",
        **_COMMON,
    ),
    ModelInfo(
        variant="tumour",
        title="nnFormer (brain tumour)",
        summary="96 features on 128^3 patches, as the paper has it for brain tumours.",
        parameters=37_754_190,
        trainable_parameters=37_754_190,
        fidelity="verified",
        counted_with={"channels": 4, "labels": "lungs+tumour"},
        **_COMMON,
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "msam": {},
    "synapse": {"patch": (64, 128, 128), "token": (2, 4, 4), "decoder_heads": (6, 12, 24)},
    "tumour": {"embed": 96, "heads": (3, 6, 12, 24), "decoder_heads": (6, 12, 24)},
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> PatchModel:
    """Make an nnFormer.

    Args:
        variant: `msam` (default), `synapse` or `tumour`.
        weights: a checkpoint written by `oncoseg train`, which brings variant and options; or a file of tensors
            with the official names. None gives random weights from torch's generator.
        **options: fields of `NnFormerOptions`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        PatchModel,
        INFOS,
        NnFormerOptions,
        NnFormer,
        variants=VARIANTS,
        variant=variant,
        weights=weights,
        options=options,
    )
