"""Med-SA, the Medical SAM Adapter: SAM with bottleneck adapters, taught with one click a slice; in 3D over stacks.

Wu et al., Medical SAM Adapter, 2023 (arXiv 2304.12620; Medical Image Analysis 2025).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg import msam
from oncoseg.case import Case
from oncoseg.contracts import ModelInfo, Recipe, Sample
from oncoseg.inference.accept import accept
from oncoseg.inference.rectangles import Rectangle
from oncoseg.nn.losses import binary_cross_entropy
from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam_adapters import med_sa
from oncoseg.prompt import Prompt
from oncoseg.promptable.building import built, seeded
from oncoseg.promptable.frame import Frame
from oncoseg.promptable.options import require
from oncoseg.promptable.slices import SliceSession
from oncoseg.promptable.stacks import StackSession, shown_stack, stack_of
from oncoseg.promptable.teaching import Taught, TaughtSliceModel
from oncoseg.promptable.vits import VitOptions, load_sam
from oncoseg.volume import Volume

_SHARED: dict[str, Any] = {
    "name": "med_sa",
    "prompts": ("click",),
    "doi": "10.48550/arXiv.2304.12620",
    "licence": "Apache-2.0; the authors' code, GPL-3.0, is not used",
    "fidelity": "verified",
    "trainable": True,
    "recipe": {"optimiser": "adam", "learning_rate": 1e-4, "batch": 2, "epochs": 100},
    "reference_use": "a click on every slice of the tumour",
}
INFOS = (
    ModelInfo(
        variant="paper",
        title="Med-SA",
        summary="SAM's ViT-H at 1024 px with two adapters of 1/16 width a layer: a click on each slice.",
        # Adapters 13,194,240, as the 13 M that M-SAM's table lists; with the mask decoder 17,252,580 learn.
        parameters=654_284_848,
        trainable_parameters=17_252_580,
        dimension="2d",
        **_SHARED,
    ),
    ModelInfo(
        variant="code",
        title="Med-SA, ViT-B",
        summary="The released size: ViT-B at 256 px with three adapters of 1/4 width a layer: a click on each slice.",
        parameters=101_388_592,
        trainable_parameters=14_709_732,
        dimension="2d",
        **_SHARED,
    ),
    ModelInfo(
        variant="3d",
        title="Med-SA, 3D",
        summary="The released size over stacks of slices that attend to each other along depth: a click on each slice.",
        parameters=101_388_592,
        trainable_parameters=14_709_732,
        dimension="3d",
        **_SHARED,
    ),
)
_CODE: dict[str, Any] = {"vit": "b", "ratio": 4, "per_layer": 3, "image_size": 256}
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"vit": "h", "ratio": 16, "per_layer": 2, "image_size": 1024},
    "code": _CODE,
    "3d": {**_CODE, "stack": 8, "loss": "dice+bce"},
}


@dataclass(frozen=True)
class Options(VitOptions):
    """Network and training of Med-SA, on top of how slices are shown; it never learned from masks.

    Attributes:
        ratio: the adapters' bottleneck is the width of a token divided by this.
        per_layer: 2 adapters a layer (space, perceptron) or 3 (depth too).
        stack: neighbouring slices that are embedded together and see each other through the depth adapters.
        loss: cross-entropy that counts tumour twice, as released for 2D, or squared Dice + cross-entropy, for 3D.
    """

    taught_with: Literal["box", "lesion box", "click", "box or click"] = "click"
    feed: bool = False
    ratio: int = 16
    per_layer: Literal[2, 3] = 2
    stack: int = 1
    loss: Literal["weighted bce", "dice+bce"] = "weighted bce"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "taught_with must be click": self.taught_with == "click",
                "ratio and stack must be at least 1": min(self.ratio, self.stack) >= 1,
                "trained must be all where stack is above 1": self.stack == 1 or self.trained == "all",
            },
        )


def _smoke(*variants: str, **options: Any) -> Recipe:
    return Recipe(
        source="none: a small encoder from random weights, to see on a CPU that everything runs",
        options={"embed_dim": 48, "depth": 2, "heads": 4, "image_size": 128, "ratio": 2, **options},
        training={"steps": 80, "batch": 4, "learning_rate": 1e-3, "validate_every": 40},
        variants=variants,
    )


_STEPS: dict[str, Any] = {
    "optimiser": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "schedule": "multistep",
    "milestones": (10, 20, 30, 40, 50, 60, 70, 80, 90),
    "gamma": 0.5,
    "rate_every": "epoch",
    "batch": 2,
    "epochs": 100,
}
_WINDOW = (
    "Start from SAM's file of the same size as weights. The window is that of the released 3D pipeline, made for the "
    "abdomen: it blackens lung tissue, so give another for lung tumours and say so."
)
RECIPES = {
    "smoke": _smoke("paper", "code"),
    "smoke:3d": _smoke("3d", stack=2),
    "paper": Recipe(
        source="Wu et al. 2023 (arXiv 2304.12620) and SuperMedIntel/Medical-SAM-Adapter, train.py, function.py",
        options={"window": (-175.0, 250.0)},
        training=_STEPS,
        assumed=("window",),
        variants=("paper", "code"),
        notes=_WINDOW,
    ),
    "paper:3d": Recipe(
        source="Wu et al. 2023 (arXiv 2304.12620) and SuperMedIntel/Medical-SAM-Adapter, train.py -thd, function.py",
        options={"window": (-175.0, 250.0), "stack": 8},
        training=_STEPS,
        assumed=("stack",),
        variants=("3d",),
        notes=_WINDOW + " The released pipeline resamples to 1.5 x 1.5 x 2 mm, cuts patches of 96 voxels with as many "
        "without tumour, flips, turns and shifts their brightness; its stacks are as deep as the patch. Here whole "
        "slices are shown at the scanner's spacing and every stack holds tumour.",
    ),
    "m-sam": Recipe(
        source=msam.SOURCE,
        options={"window": (-1000.0, 1000.0), "crop": "prompt", "crop_px": 128, "image_size": 256},
        training=msam.STEPS,
        assumed=("image_size", *msam.STEPS),
        variants=("paper",),
        notes="That table lists 636 M parameters, 13 M of them tunable: ViT-H with two adapters of 1/16 width, without "
        "the mask decoder. It does not say how its baselines were trained; optimiser, schedule, epochs and batch are "
        "M-SAM's own, for a like comparison. Its patches of 128 voxels are cut round the label, at test time too; here "
        "128 pixels are cut round the tumour in training and round the click in prediction. There are no flips.",
    ),
}


class MedSa(TaughtSliceModel):
    """Med-SA on slices of their own."""

    settings: Options

    def __init__(self, info: ModelInfo, options: Options) -> None:
        network = seeded(
            lambda: med_sa(
                options.size,
                hidden=max(1, options.size.embed_dim // options.ratio),
                per_layer=options.per_layer,
                stack=options.stack,
                image_size=options.image_size,
            )
        )
        super().__init__(info, options, network, Frame(options.image_size, fit="squash", antialias=True, colours=True))

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """One loss on the mask that answers the click, at the size of the network's input."""
        if self.settings.loss == "dice+bce":
            yield from super().losses(batch)
            return
        logits = self.network.decode(self.embed(batch["image"]), self.prompted(batch)).logits
        whole = F.interpolate(logits.float(), size=batch["target"].shape[1:], mode="bilinear")
        yield "network", binary_cross_entropy(whole, batch["target"][:, None], positive_weight=2.0)


class MedSaStack(MedSa):
    """Med-SA over stacks of neighbouring slices; the stacks of a volume are the same in training and prediction."""

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """As of every model prompted on slices; slices of a stack see each other, prompted or not."""
        accept(self.info, image, prompts)
        return self.session(image).all(prompts)

    def session(self, image: Volume) -> SliceSession:
        """Start prompting one image; every stack is embedded once."""
        super().session(image)  # refuses what is not finite
        return StackSession(self, image, self.settings.stack)

    def sample(self, case: Case, taught: Taught, rng: np.random.Generator) -> Sample:
        """The stack of a slice, with the lesion and a click on it on each of its slices.

        Returns:
            `image` float32 (stack, 3, size, size); `target` uint8 (stack, size, size); `point` float32 (stack, 2);
            `label` int64 (stack,), 1, or -1 for slices without the lesion, which are shown no click.
        """
        click = self.clicked(taught.mask, rng)
        extent = Rectangle(taught.index, *click, click[0] + 1, click[1] + 1)
        crop = self.crop(extent, case.image)
        stack = stack_of(taught.index, case.image.shape[0], self.settings.stack)
        (first, top, left), (last, bottom, right), voxels = taught.lesion
        found = []
        for number in stack:
            mask = np.zeros(case.image.shape[1:], bool)
            if first <= number < last:
                mask[top:bottom, left:right] = voxels[number - first]
            shown = mask[crop.top : crop.bottom, crop.left : crop.right]
            given = (click[0] - crop.top, click[1] - crop.left) if number == taught.index else None
            found.append(self._clicked(shown, given, rng))
        images = shown_stack(self, case.image, stack, crop).numpy()
        return {"image": images, **{name: np.stack([one[name] for one in found]) for name in found[0]}}

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """One loss on the masks of all slices."""
        yield from super().losses({name: values.flatten(0, 1) for name, values in batch.items()})

    def prompted(self, batch: dict[str, Tensor]) -> SlicePrompts:
        """The clicks of a batch; a slice without the lesion has one that does not count."""
        return SlicePrompts(points=batch["point"][:, None], labels=batch["label"][:, None])

    def _clicked(self, mask: NDArray[np.bool_], given: tuple[int, int] | None, rng: np.random.Generator) -> Sample:
        there = bool(mask.any())
        pixel = given or (self.clicked(mask, rng) if there else (0, 0))
        return {
            "target": self.frame.show_mask(torch.from_numpy(np.ascontiguousarray(mask))).numpy(),
            "point": np.asarray(self.frame.point(mask.shape, pixel), np.float32),
            "label": np.int64(1 if there else -1),
        }


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> MedSa:
    """Make a Med-SA.

    Args:
        variant: `paper`, `code` or `3d`; None for the first, or the checkpoint's.
        weights: a checkpoint of `oncoseg train`, which brings its options; SAM's own file of the same size, a beginning
            for training; or a file of the authors' training with all four mask tokens. None gives random weights.
        **options: fields of `Options`.

    Raises:
        UnknownNameError: for another variant.
        ConfigError: for an unknown option, a wrong value, or one that differs from the checkpoint's.
        InputError: when the weights cannot be read or do not fit.
    """
    return built(
        _model, INFOS, Options, variants=VARIANTS, variant=variant, weights=weights, options=options, load=load_official
    )


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str) -> list[str]:
    """Fill a Med-SA from a file of its authors' training, or begin it from a SAM's, whose adapters stay random.

    Returns:
        What the file did not give, in sentences.

    Raises:
        InputError: with what is missing, unexpected or of another shape.
    """
    renamed = {re.sub(r"\.attn\.rel_([hw])$", r".attn.rel_pos_\1", name): tensor for name, tensor in state.items()}
    table, own = "image_encoder.pos_embed", network.state_dict()
    if table in renamed and any("Adapter." in name for name in renamed):
        # The authors keep SAM's 64 x 64 table and resize it this way in every pass.
        grid = F.interpolate(renamed[table].permute(0, 3, 1, 2), size=own[table].shape[1:3], mode="bicubic")
        renamed[table] = grid.permute(0, 2, 3, 1)
    return load_sam(network, renamed, what, new="Adapter.")


def _model(info: ModelInfo, options: Options) -> MedSa:
    return (MedSaStack if options.stack > 1 else MedSa)(info, options)
