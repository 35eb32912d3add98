"""M-SAM: SAM-Med3D whose embedding and earlier mask change each other, refined by click after click.

Shi et al., Mask-Enhanced Segment Anything Model for Tumor Lesion Semantic Segmentation, MICCAI 2024 (arXiv 2403.05912).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from oncoseg import msam
from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.nn.sam3d.mask_enhanced import Feed, MaskEnhancedSam, Trained, official_state, set_trained, with_base
from oncoseg.promptable.building import built
from oncoseg.promptable.options import require
from oncoseg.promptable.volume_options import SMALL, VolumeOptions
from oncoseg.promptable.volume_teaching import TaughtVolumeModel
from oncoseg.weights.loading import load_strictly

_SHARED: dict[str, Any] = {
    "name": "m_sam",
    "dimension": "3d",
    "prompts": ("click",),
    "prompts_optional": True,
    "doi": "10.48550/arXiv.2403.05912",
    "licence": "Apache-2.0",
    "trainable": True,
    "recipe": {"optimiser": "adamw", "learning_rate": 8e-4, "weight_decay": 0.1, "epochs": 200, "batch": 4},
    "reference_use": "a click on each lesion; as published 11 clicks on errors",
}
INFOS = (
    ModelInfo(
        variant="paper",
        title="M-SAM",
        summary="SAM-Med3D with a mask-enhanced adapter and low-rank changes: a click, then correcting ones, in 3D.",
        parameters=118_244_080,
        trainable_parameters=25_319_152,
        fidelity="verified",
        **_SHARED,
    ),
    ModelInfo(
        variant="without_mea",
        title="M-SAM without its adapter",
        summary="The ablation without the mask-enhanced adapter: SAM-Med3D with low-rank changes, clicks in 3D.",
        parameters=101_099_056,
        trainable_parameters=8_174_128,
        fidelity="verified",
        **_SHARED,
    ),
    ModelInfo(
        variant="everything",
        title="M-SAM, all of it trained",
        summary="The ablation with full fine-tuning: M-SAM without low-rank changes, whose every weight learns.",
        parameters=117_654_256,
        trainable_parameters=117_654_256,
        fidelity="reconstructed",
        **_SHARED,
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "without_mea": {"adapter": False},
    "everything": {"rank": 0, "trained": "everything"},
}


@dataclass(frozen=True)
class Options(VolumeOptions):
    """Network and training of M-SAM; every round has a click, and only the newest is shown.

    Attributes:
        rank: of the low-rank changes of queries and values; 0 for none. 16 meets the paper's counts, the released
            script has 4.
        adapter: use the mask-enhanced adapter; without it mask prompts are added to the embedding.
        feed: embedding that the next round starts from: the image encoder's (`code`), or the enhanced one (`paper`).
        trained: `light`, all but the image encoder's own weights; `everything`; or `nothing`, which is the ablation's
            baseline, SAM-Med3D as it is.
    """

    clicks: Literal["all", "newest"] = "newest"
    mask_only: bool = False
    rank: int = 16
    adapter: bool = True
    feed: Feed = "code"
    trained: Trained = "light"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, {"rank must not be negative": self.rank >= 0})


def _smoke(rate: float, *variants: str) -> Recipe:
    return Recipe(
        source="none: a small network from random weights, to see on a CPU that everything runs",
        options=SMALL,
        training={"steps": 250, "batch": 2, "learning_rate": rate, "validate_every": 50},
        variants=variants,
    )


_PAPER = Recipe(
    source="Shi et al. 2024 (arXiv 2403.05912), section 3.1",
    options={"spacing_mm": 0.0},
    training=msam.STEPS,
    assumed=("schedule", "milestones", "gamma", "rate_every"),
    notes="Start from SAM-Med3D's file as weights. Training cubes are cut round the reference, at the scanner's "
    "spacing, as published; predictions look round the click, while the paper cuts round the reference there too. "
    "Optimiser, rate, decay, epochs and batch are the paper's, the schedule is the released code's. 0.5 CE + 0.5 Dice "
    "of the paper is descended as Dice + CE.",
)
_CODE = Recipe(
    source="nanase1025/M-SAM, train_msam.py and utils/data_loader.py",
    options={"spacing_mm": 0.0, "rank": 4, "label_above": 1000},
    training={**msam.STEPS, "batch": 2, "group_rates": {"network.decoder": 0.1}, "redraw": True},
    variants=("paper", "without_mea"),
    notes="Start from SAM-Med3D's file as weights. Unlike the paper's: prompt encoder and mask decoder learn at 8e-5, "
    "low-rank changes have rank 4, the batch is 2, and cases whose cube holds at most 1000 voxels of label are "
    "replaced by others. Training cubes are cut round the reference.",
)
RECIPES = {
    "smoke": _smoke(1e-3, "paper", "everything"),
    "smoke:without_mea": _smoke(2e-3, "without_mea"),
    "paper": _PAPER,
    "code": _CODE,
    # The recipe that other models have for M-SAM's tables, so that one name trains them all.
    "m-sam": _PAPER,
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> TaughtVolumeModel:
    """Make an M-SAM.

    Args:
        variant: `paper`, `without_mea` or `everything`; None for the first, or the checkpoint's.
        weights: a checkpoint written by `oncoseg train`; a file of M-SAM's own training; or SAM-Med3D's
            (`sam_med3d_turbo.pth`), from which the paper starts. None gives random weights from torch's generator.
        **options: fields of `Options`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit; it lists missing and unexpected tensors.
    """
    return built(
        _model, INFOS, Options, variants=VARIANTS, variant=variant, weights=weights, options=options, load=load_official
    )


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str) -> list[str]:
    """Fill an M-SAM from a file of its authors' training, or begin it from a SAM-Med3D's.

    Returns:
        What the file did not give, in sentences.

    Raises:
        InputError: with what is missing, unexpected or of another shape.
    """
    named = official_state(state)
    own = any(name.startswith("bidatt.") or ".qkv.linear_" in name for name in named)
    if own or not isinstance(network, MaskEnhancedSam):
        load_strictly(network, named, what)
        return []
    whole = with_base(network, named)
    load_strictly(network, whole, what)
    if len(whole) == len(named):
        return []
    return [f"{what} is a SAM-Med3D; M-SAM's adapter and low-rank changes begin anew."]


def _model(info: ModelInfo, options: Options) -> TaughtVolumeModel:
    network = MaskEnhancedSam(
        options.size,
        image_size=options.image_size,
        patch_size=options.patch_size,
        width=options.width,
        positions=options.positions,
        rank=options.rank,
        adapter=options.adapter,
        feed=options.feed,
    )
    set_trained(network, options.trained)
    return TaughtVolumeModel(info, options, network)
