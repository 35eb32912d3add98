"""GTV-SAMGAN: SAM-Med2D in a fixed window round the training tumours, taught against a discriminator of masks.

Yi et al., Quant Imaging Med Surg 2026;16(1):59 (doi 10.21037/qims-2025-370). No code is public.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe

if TYPE_CHECKING:
    from oncoseg.models.gtv_samgan.model import GtvSamgan
    from oncoseg.models.gtv_samgan.options import Options

INFOS = (
    ModelInfo(
        name="gtv_samgan",
        variant="",
        title="GTV-SAMGAN",
        summary="SAM-Med2D in one window for the whole data set, taught against a discriminator: box or click.",
        # 271,241,776 of SAM-Med2D and 33,688,585 of the discriminator, which training alone needs.
        parameters=304_930_361,
        trainable_parameters=218_257_721,
        dimension="2d",
        prompts=("box", "click"),
        doi="10.21037/qims-2025-370",
        licence="none: no code or weights are public",
        fidelity="reconstructed",
        trainable=True,
        recipe={"optimiser": "adam", "learning_rate": 1e-4, "batch": 4, "epochs": 100, "loss": "20 FL + D + I + M"},
        reference_use="a box on every slice of the tumour, or clicks",
    ),
)

_TRAINING: Mapping[str, Any] = {
    "optimiser": "adam",
    "weight_decay": 0.0,
    "learning_rate": 1e-4,
    "schedule": "constant",
    "batch": 4,
    "epochs": 100,
    "samples_per_case": 10,
    "keep_every_epoch": True,
}
#: What the paper leaves open; see docs/reference/models/gtv_samgan.md.
_ASSUMED = (
    "window",
    "crop_smallest",
    "crop_margin",
    "taught_with",
    "jitter",
    "jitter_px",
    "iterations",
    "clicks",
    "mask_num",
    "masks",
    "gan_in_iterations",
    "last_leaky",
    "weight_decay",
    "schedule",
    "samples_per_case",
)
_NOTES = (
    "Give SAM-Med2D's weights (sam-med2d_b.pth) as the start. One optimiser for each network, its default betas; the "
    "discriminator learns once a step, from the first answer, and sees probabilities. The paper's prompts are not "
    "described: here as SAM-Med2D's, so scores are those of a prompted model."
)


def _paper(what: str, **weights: float) -> Recipe:
    return Recipe(
        source=f"Yi et al. 2026 (doi 10.21037/qims-2025-370), {what}",
        options={
            "focal": 20.0,
            "dice": 1.0,
            "iou": 1.0,
            "adversarial": 1.0,
            "gan": True,
            "crop": "training",
            **weights,
        },
        training=_TRAINING,
        assumed=_ASSUMED,
        notes=_NOTES,
    )


RECIPES = {
    "smoke": Recipe(
        source="none: a small encoder from random weights, to see on a CPU that everything runs",
        options={
            "embed_dim": 48,
            "depth": 2,
            "heads": 4,
            "image_size": 128,
            "crop_smallest": 32,
            "taught_with": "box",
            "jitter_px": 0.0,
            "iterations": 1,
        },
        training={
            "optimiser": "adam",
            "weight_decay": 0.0,
            "steps": 80,
            "batch": 4,
            "learning_rate": 1e-3,
            "group_rates": {"discriminator": 0.1},
            "validate_every": 20,
        },
    ),
    "paper": _paper("20 FL + D + I + M (83.74 % Dice)"),
    "paper-focal-10": _paper("ablation 10 FL + D + I + M (83.40 % Dice)", focal=10.0),
    "paper-half-dice-iou": _paper("ablation 20 FL + 0.5 D + 0.5 I + M (82.54 % Dice)", dice=0.5, iou=0.5),
    "paper-mean-0.1": _paper("ablation 20 FL + D + I + 0.1 M (83.60 % Dice)", adversarial=0.1),
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> GtvSamgan:
    """Make a GTV-SAMGAN.

    Args:
        variant: there is none.
        weights: a checkpoint of `oncoseg train`, which brings its options and its window; or `sam-med2d_b.pth` or a
            SAM, from which the generator begins while the discriminator is random. None gives random weights.
        **options: fields of `oncoseg.models.gtv_samgan.options.Options`.

    Raises:
        UnknownNameError: for a variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    from oncoseg.models.gtv_samgan.model import GtvSamgan, network_of
    from oncoseg.models.gtv_samgan.options import Options
    from oncoseg.promptable.building import built, seeded
    from oncoseg.weights.sam_med2d import load_official

    def load(network: nn.Module, state: Mapping[str, Tensor], what: str) -> list[str]:
        critic = getattr(network, "discriminator", None)
        if critic is not None:
            del network.discriminator
        told = load_official(network, state, what)
        if critic is not None:
            network.add_module("discriminator", critic)
        return told

    def model(info: ModelInfo, chosen: Options) -> GtvSamgan:
        return GtvSamgan(info, chosen, seeded(lambda: network_of(chosen)))

    if options.get("crop") == "training":  # the default, and no contradiction to a checkpoint, whose window it became
        del options["crop"]
    return built(model, INFOS, Options, variants={}, variant=variant, weights=weights, options=options, load=load)
