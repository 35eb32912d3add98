"""xLSTM-UNet (Chen et al. 2024, arXiv 2407.01530): a residual U-Net with Vision-LSTM layers, in 2D and 3D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.contracts import ModelInfo, choose_variant
from oncoseg.dense.building import built
from oncoseg.dense.patches import PatchModel
from oncoseg.dense.slices import SliceModel
from oncoseg.models.xlstm_unet.network import XLSTMUNet, load_released
from oncoseg.models.xlstm_unet.options import XLSTMPatchOptions, XLSTMSliceOptions
from oncoseg.models.xlstm_unet.recipes import RECIPES
from oncoseg.weights.trained import read_checkpoint

__all__ = ["INFOS", "RECIPES", "VARIANTS", "build"]


def _info(variant: str, parameters: int, summary: str) -> ModelInfo:
    return ModelInfo(
        name="xlstm_unet",
        variant=variant,
        title="U-xLSTM " + ("Bot" if variant.startswith("bot") else "Enc"),
        summary=summary,
        parameters=parameters,
        trainable_parameters=parameters,
        dimension="2d" if variant.endswith("2d") else "3d",
        prompts=(),
        doi="10.48550/arXiv.2407.01530",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "sgd", "loss": "Dice + cross-entropy, deep supervision", "schedule": "poly"},
    )


INFOS = (
    _info("bot_2d", 64_715_284, "Residual U-Net on slices with one Vision-LSTM layer behind its deepest stage."),
    _info(
        "enc_2d",
        64_005_908,
        "Residual U-Net on slices with Vision-LSTM layers behind every second stage of the encoder.",
    ),
    _info("bot_3d", 42_086_160, "Residual U-Net on patches with one Vision-LSTM layer behind its deepest stage."),
    _info(
        "enc_3d",
        43_694_368,
        "Residual U-Net on patches with Vision-LSTM layers behind the deeper stages of the encoder.",
    ),
)


VARIANTS: dict[str, dict[str, Any]] = {
    "bot_2d": {},
    "enc_2d": {"place": "encoder", "fit": "crop"},
    "bot_3d": {},
    "enc_3d": {"place": "encoder"},
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> SliceModel | PatchModel:
    """Make an xLSTM-UNet.

    Args:
        variant: `bot_2d` (default), `enc_2d`, `bot_3d` or `enc_3d`.
        weights: a checkpoint written by `oncoseg train`, or a file of the released code, for which the plan must be
            given as options. None gives random weights from torch's generator.
        **options: fields of `XLSTMSliceOptions` (2D) or `XLSTMPatchOptions` (3D).

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    about = read_checkpoint(weights).about if weights else None
    info = choose_variant(INFOS, variant or (about.variant if about else None))
    shared: dict[str, Any] = {"variants": VARIANTS, "variant": info.variant, "weights": weights, "options": options}
    if info.dimension == "3d":
        return built(PatchModel, INFOS, XLSTMPatchOptions, XLSTMUNet, **shared, load=load_released)
    return built(SliceModel, INFOS, XLSTMSliceOptions, XLSTMUNet, **shared, load=load_released)
