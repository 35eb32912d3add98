"""MedSAM2 (Ma et al. 2025): SAM 2.1 tiny at 512 pixels, followed both ways from a box on the middle slice.

Not the "MedSAM-2" of Zhu et al., which is `medical_sam2`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import ModelInfo, Recipe
from oncoseg.lesions import regions
from oncoseg.nn.losses_sam2 import sam2_loss
from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam2.memory import Fifo
from oncoseg.nn.sam2.network import Decoded, Sam2
from oncoseg.nn.sam2.sizes import SIZES
from oncoseg.nn.sam2.tracking import Seen, Track
from oncoseg.prompt import Box, Prompt
from oncoseg.promptable.building import built
from oncoseg.promptable.options import require
from oncoseg.promptable.video_options import VideoOptions
from oncoseg.promptable.video_teaching import TaughtVideoModel, box_of
from oncoseg.weights.loading import load_strictly
from oncoseg.weights.sam2 import sam2_state

INFOS = (
    ModelInfo(
        name="medsam2",
        variant="",
        title="MedSAM2",
        summary="One 3D box, or a box on the middle slice, is followed through all slices; SAM 2.1 Hiera-tiny at 512.",
        parameters=38_962_498,
        trainable_parameters=38_962_498,
        dimension="2d",
        prompts=("box", "click", "scribble", "mask"),
        doi="10.48550/arXiv.2504.03600",
        licence="Apache-2.0",
        fidelity="verified",
        trainable=True,
        recipe={"optimiser": "adamw", "learning_rate": 5e-5, "weight_decay": 0.1, "epochs": 75, "batch": 8},
        reference_use="one 3D box, or a prompt on one or more slices of the tumour",
    ),
)


@dataclass(frozen=True)
class Options(VideoOptions):
    """How MedSAM2 is prompted in training.

    Attributes:
        prompted_share: share of clips that begin with a box; the others begin with the mask itself.
        starts: most slices of a clip that are prompted at first.
        corrected: most slices of a clip that get correcting clicks, which clips that begin with a mask never do.
        corrections: clicks on each of them, one after the other, on pixels that are wrong.
        from_reference: share of these clicks that fall on the object wherever it is.
    """

    image_size: int = 512
    prompted_share: float = 0.5
    starts: int = 2
    corrected: int = 2
    corrections: int = 7
    from_reference: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = (self.prompted_share, self.from_reference)
        require(
            self,
            {
                "prompted_share and from_reference must lie from 0 to 1": min(shares) >= 0 and max(shares) <= 1,
                "starts must be at least 1 and at most video_length": 1 <= self.starts <= self.video_length,
                "corrected must be at least starts and at most video_length": self.starts
                <= self.corrected
                <= self.video_length,
                "corrections must not be negative": self.corrections >= 0,
            },
        )


RECIPES = {
    "smoke": Recipe(
        source="none: the smallest network from random weights, to see on a CPU that everything runs",
        options={
            "size": "smallest",
            "image_size": 128,
            "video_length": 4,
            "corrections": 1,
            "stability": False,
        },
        training={"steps": 150, "batch": 1, "learning_rate": 3e-3, "weight_decay": 0.0, "validate_every": 50},
    ),
    "paper": Recipe(
        source="Ma et al. 2025 (arXiv 2504.03600), released configuration sam2.1_hiera_tiny_finetune512",
        training={
            "epochs": 75,
            "batch": 8,
            "optimiser": "adamw",
            "learning_rate": 5e-5,
            "weight_decay": 0.1,
            "schedule": "cosine",
            "clip": 0.1,
            "precision": "bfloat16",
        },
        assumed=("window",),
        notes="One object of a clip, of up to five there. Left out: the lower rate of the image encoder (3e-5, smaller "
        "from layer to layer), the cosine's end at a tenth of the rate, biases without weight decay, and augmentation "
        "(flips, affine, brightness and contrast).",
    ),
}


def build(variant: str | None = None, *, weights: Path | None = None, **options: Any) -> MedSam2:
    """Make a MedSAM2.

    Args:
        variant: there is none.
        weights: a checkpoint written by `oncoseg train`, or an official file of MedSAM2 or SAM 2.1 tiny. None gives
            random weights from torch's generator.
        **options: fields of `Options`.

    Raises:
        InputError: for a variant, an option, or a weights file that does not fit.
    """
    return built(
        _model, INFOS, Options, variants={}, variant=variant, weights=weights, options=options, load=load_official
    )


def load_official(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Fill the network from a file with official SAM 2.1 names, or with transformers' own.

    Raises:
        InputError: when tensors are missing, left over or of another shape.
    """
    load_strictly(network, sam2_state(state), what)


class MedSam2(TaughtVideoModel):
    """SAM 2.1 taught as SAM 2 is: clips that begin with a mask or a box, corrected by clicks."""

    settings: Options

    def __init__(self, info: ModelInfo, options: Options, network: Sam2) -> None:
        super().__init__(info, options, network, lambda: Fifo(network.memories, network.pointers))

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """SAM 2's loss, summed over the answers on all slices of a clip, mean over clips."""
        clips = zip(batch["image"], batch["target"], strict=True)
        yield "network", torch.stack([self._clip_loss(image, target) for image, target in clips]).mean()

    def _clip_loss(self, image: Tensor, target: Tensor) -> Tensor:
        chosen, features = self._drawn(len(image)), self.features(image)
        track = Track(self.network, self.bank(), features.of, frames=len(image), kept_as=None)
        total = image.new_zeros((), dtype=torch.float32)
        for frame in (*chosen.starts, *(n for n in range(len(image)) if n not in chosen.starts)):
            mask = target[frame]
            first = frame in chosen.starts
            # A box cannot say that there is nothing, an empty mask can.
            if first and (not chosen.boxes or not mask.any()):
                track.give(frame, mask[None, None].float())
                continue
            seen = track.look(frame, initial=first)
            answers = self._answers(seen, mask, box=first, clicks=frame in chosen.corrected)
            total = total + torch.stack([self._loss(answer, mask) for answer in answers]).sum()
            track.remember(frame, seen, answers[-1], prompted=first or frame in chosen.corrected)
        return total

    def _answers(self, seen: Seen, mask: Tensor, *, box: bool, clicks: bool) -> list[Decoded]:
        """The answer to a box or to nothing, then one after each correcting click."""
        prompts = SlicePrompts(boxes=box_of(mask)) if box else SlicePrompts()
        answers = [self.network.decode(seen.conditioned, seen.features, prompts if box else None)]
        for _ in range(self.settings.corrections if clicks else 0):
            point, label = self._click(answers[-1], mask)
            old_points, old_labels = prompts.points, prompts.labels
            points = point if old_points is None else torch.cat([old_points, point], dim=1)
            labels = label if old_labels is None else torch.cat([old_labels, label], dim=1)
            prompts = SlicePrompts(prompts.boxes, points, labels, answers[-1].logits)
            answers.append(self.network.decode(seen.conditioned, seen.features, prompts))
        return answers

    def _click(self, answer: Decoded, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A random wrong pixel as (1, 1, 2), with the label it should have (1, 1); any pixel where none is wrong."""
        wanted = mask > 0
        found = self.network.whole(answer.logits)[0, 0] > 0
        wrong = found != wanted
        if torch.rand(()).item() < self.settings.from_reference:
            wrong = wanted
        places = torch.nonzero(wrong if wrong.any() else torch.ones_like(wrong))
        row, column = places[int(torch.randint(len(places), ()).item())]
        point = torch.stack([column, row]).float()[None, None]
        return point, wanted[row, column].long()[None, None]

    def _loss(self, answer: Decoded, mask: Tensor) -> Tensor:
        return sam2_loss(self.network.whole(answer.all_logits), answer.all_quality, answer.presence, mask[None])

    def _drawn(self, frames: int) -> _Chosen:
        """How a clip begins and where it is corrected: training/model/sam2.py of SAM 2."""
        settings = self.settings
        boxes = torch.rand(()).item() < settings.prompted_share
        count = _whole(1, settings.starts)
        others = (1 + torch.randperm(frames - 1)).tolist() if frames > 1 else []
        starts = (0, *others[: count - 1])
        corrected = _whole(len(starts), settings.corrected)
        return _Chosen(boxes, starts, (0, *others[: corrected - 1]) if boxes else ())

    def validation_prompts(self, case: Case) -> list[Prompt]:
        """One tight 3D box for each lesion; where every slice of a box is prompted, a tight box on each."""
        if self.settings.thick_box == "middle":
            return [Box(region.start, region.stop, source="oracle") for region in regions(case.mask(TUMOUR), "lesion")]
        return [Box(r.start, r.stop, source="oracle", lesion=1) for r in regions(case.mask(TUMOUR), "slice")]


@dataclass(frozen=True)
class _Chosen:
    """Whether a clip begins with boxes (else with masks), on which slices, and on which clicks correct."""

    boxes: bool
    starts: tuple[int, ...]
    corrected: tuple[int, ...]


def _whole(low: int, high: int) -> int:
    """A random whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, ()).item())


def _model(info: ModelInfo, options: Options) -> MedSam2:
    network = Sam2(
        SIZES[options.size],
        image_size=options.image_size,
        version="2.1",
        gated=options.gated,
        stability=options.stability,
    )
    return MedSam2(info, options, network)
