"""MedSAM: SAM's ViT-B taught on medical images at 1024 px, prompted with a box on each slice.

Ma et al., Segment anything in medical images, Nat Commun 15:654 (2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.nn.sam_vit import sam_vit
from oncoseg.promptable.building import built, seeded
from oncoseg.promptable.frame import Frame
from oncoseg.promptable.options import require
from oncoseg.promptable.teaching import TaughtSliceModel
from oncoseg.promptable.vits import VitOptions, load_sam

_SHARED: dict[str, Any] = {
    "name": "medsam",
    "parameters": 93_735_472,
    # The prompt encoder's 6,220 stay as they are.
    "trainable_parameters": 93_729_252,
    "dimension": "2d",
    "doi": "10.1038/s41467-024-44824-z",
    "licence": "Apache-2.0",
    "fidelity": "verified",
    "trainable": True,
    "recipe": {"optimiser": "adamw", "learning_rate": 1e-4, "weight_decay": 0.01, "epochs": 150, "batch": 160},
}
INFOS = (
    ModelInfo(
        variant="box",
        title="MedSAM",
        summary="SAM's ViT-B taught on medical images at 1024 px: a box on each slice gives the tumour's outline.",
        prompts=("box",),
        reference_use="a box on every slice of the tumour, or one 3D box",
        **_SHARED,
    ),
    ModelInfo(
        variant="click",
        title="MedSAM, click",
        summary="MedSAM taught with one click on each slice in place of a box, as its authors' extension does.",
        prompts=("click",),
        reference_use="a click on every slice of the tumour",
        **_SHARED,
    ),
)
VARIANTS: dict[str, dict[str, Any]] = {"box": {}, "click": {"taught_with": "click"}}


@dataclass(frozen=True)
class Options(VitOptions):
    """How slices and prompts are shown to MedSAM: whole slices, boxes displaced by up to 20 of 1024 pixels.

    It never learned from masks, so a session shows it none.
    """

    feed: bool = False
    jitter_px: float = 20.0


def _smoke(variant: str, steps: int, **options: Any) -> Recipe:
    return Recipe(
        source="none: a small encoder from random weights, to see on a CPU that everything runs",
        options={"embed_dim": 48, "depth": 2, "heads": 4, "image_size": 128, **options},
        training={"steps": steps, "batch": 4, "learning_rate": 1e-3, "validate_every": steps // 3},
        variants=(variant,),
    )


RECIPES = {
    "smoke:box": _smoke("box", 90, crop="prompt", crop_px=32, jitter_px=0.0),
    "smoke:click": _smoke("click", 150),
    "paper": Recipe(
        source="Ma et al. 2024, methods, and bowang-lab/MedSAM, train_one_gpu.py",
        options={"window": "lung"},
        training={
            "optimiser": "adamw",
            "learning_rate": 1e-4,
            "weight_decay": 0.01,
            "schedule": "constant",
            "batch": 2,
            "epochs": 1000,
        },
        variants=("box",),
        notes="Start from SAM's ViT-B or MedSAM's own file as weights. Epochs and batch are the script's; the paper "
        "trained 150 epochs of its million images with 160 at a time. It leaves out lesions under 1000 voxels and "
        "under 100 pixels on a slice, which a tumour study cannot; here all are taught. The script keeps the epoch of "
        "the lowest training loss, here validation chooses.",
    ),
    "lung-ct-benchmark": Recipe(
        source="Mulero Ayllón et al. 2025 (arXiv 2505.01239): MedSAM fine-tuned with default hyper-parameters",
        options={"window": (-1000.0, 1000.0)},
        training={
            "optimiser": "adamw",
            "learning_rate": 1e-4,
            "weight_decay": 0.01,
            "schedule": "constant",
            "batch": 2,
            "epochs": 1000,
        },
        assumed=("epochs", "batch", "learning_rate", "weight_decay", "optimiser", "schedule"),
        variants=("box",),
        notes="Start from medsam_vit_b.pth as weights. The benchmark resamples to 1 x 1 x 3 mm first; slices are shown "
        "at the scanner's spacing here, which the resize to 1024 px makes nearly the same. Its window replaces "
        "MedSAM's. It teaches lungs and tumour, here tumour. 'Default' is read as that of MedSAM's script.",
    ),
    "point-prompt": Recipe(
        source="bowang-lab/MedSAM, extensions/point_prompt/train_point_prompt.py",
        options={"trained": "decoder"},
        training={
            "optimiser": "adamw",
            "learning_rate": 5e-5,
            "weight_decay": 0.01,
            "schedule": "constant",
            "batch": 16,
            "epochs": 1000,
        },
        variants=("click",),
        notes="Starts from medsam_vit_b.pth as weights; the image encoder stays as it is.",
    ),
}


@dataclass(frozen=True)
class SquareFrame(Frame):
    """MedSAM's view; its masks come back as probabilities straight from the quarter of the input's size."""

    def back(self, logits: Tensor, shape: Sequence[int]) -> Tensor:
        """Logits (n, n) of the frame as probabilities (rows, columns) of the part."""
        return F.interpolate(logits.sigmoid()[None, None], size=tuple(shape), mode="bilinear")[0, 0]


class MedSam(TaughtSliceModel):
    """MedSAM with its way of displacing boxes."""

    def jittered(self, box: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Corners displaced; `outward` by 0 to `jitter_px` whole pixels on every side, as published."""
        if self.settings.jitter != "outward":
            return super().jittered(box, rng)
        moved = box + rng.integers(0, int(self.settings.jitter_px) + 1, 4) * (-1, -1, 1, 1)
        clipped: NDArray[np.float64] = np.clip(moved, 0, self.frame.size)
        return clipped


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> MedSam:
    """Make a MedSAM.

    Args:
        variant: `box` or `click`; None for the first, or the checkpoint's.
        weights: a checkpoint of `oncoseg train`, which brings its options; `medsam_vit_b.pth`, a file of its training
            script, or SAM's own `sam_vit_b_01ec64.pth`, each with official or transformers' names. None gives random
            weights.
        **options: fields of `Options`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        _model, INFOS, Options, variants=VARIANTS, variant=variant, weights=weights, options=options, load=load_official
    )


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Fill the network from a SAM or MedSAM; only position tables are fitted to another size of image."""
    load_sam(network, state, what)


def _model(info: ModelInfo, options: Options) -> MedSam:
    clicked = options.taught_with == "click"
    require(
        options, {f"taught_with must be of the prompts of medsam.{info.variant}": clicked == (info.variant == "click")}
    )
    network = seeded(lambda: sam_vit(options.size, image_size=options.image_size))
    network.prompt_encoder.requires_grad_(False)
    view = SquareFrame(
        options.image_size, fit="squash", interpolation="bicubic", antialias=True, whole=True, stretch=True
    )
    return MedSam(info, options, network, view)
