"""Networks prompted in volumes that learn: cubes of tumour, and rounds of clicks on what the mask got wrong.

Wang et al., SAM-Med3D, 2023 (arXiv 2310.15161), `train.py`; Shi et al., M-SAM, 2024 (arXiv 2403.05912).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import Sample
from oncoseg.lesions import deepest, regions
from oncoseg.nn.losses import weighted_loss
from oncoseg.nn.sam3d.prompts import VolumePrompts
from oncoseg.preprocess.crop import crop_or_pad
from oncoseg.preprocess.resample import resample_like
from oncoseg.prompt import Click, Prompt
from oncoseg.promptable.teaching import lesions_of
from oncoseg.promptable.volume_grid import canonical, clamped, standardised, working_grid
from oncoseg.promptable.volumes import VolumeModel

#: Rounds, counted from 0, one of which has no click: numpy's `randint(2, 9)` in the released training.
WITHOUT_CLICK = range(2, 9)
#: Parameter group of each part of a network; other parts are in the group `network`.
GROUPS = {
    "image_encoder": "network.encoder",
    "prompt_encoder": "network.decoder",
    "mask_decoder": "network.decoder",
}


class TaughtVolumeModel(VolumeModel):
    """A network prompted in volumes with training cubes and SAM-Med3D's click training."""

    #: Weight of each loss of a round, see `oncoseg.nn.losses.LOSSES`.
    losses_of_round: ClassVar[dict[str, float]] = {"dice_squared": 1.0, "bce": 1.0}

    def prepare(self, case: Case) -> Case:
        """The case as `samples` wants it: canonical orientation, the network's spacing, limited values."""
        volume, mask = canonical(case.image), canonical(case.mask(TUMOUR))
        grid = working_grid(volume, self.settings.spacing_mm)
        image = resample_like(volume, grid, order=1)
        image = image.with_voxels(clamped(image.voxels, self.settings.clamp))
        found = resample_like(mask, grid, order=1)
        return Case(case.name, case.patient, image, {TUMOUR: found}, case.facts, case.notes)

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """Cubes of a prepared case, as many as it has lesions; they are cut round the reference.

        None where the cube holds too little of it, see the option `label_above`.

        Yields:
            `image` float32 (1, s, s, s), standardised; `target` uint8 (s, s, s), all tumour in the cube, or the lesion
            that it is cut round.
        """
        lesions = lesions_of(case)
        for _ in lesions:
            drawn = lesions[int(rng.random() * len(lesions))]
            target = case.mask(TUMOUR)
            low, high = np.min([r.start for r in lesions], axis=0), np.max([r.stop for r in lesions], axis=0)
            if self.settings.taught_crop == "lesion":
                low, high = np.array(drawn.start), np.array(drawn.stop)
                alone = np.zeros(target.shape, bool)
                alone[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = drawn.voxels
                target = target.with_voxels(alone)
            shift = np.rint(rng.uniform(-1, 1, 3) * self.settings.shift).astype(int)
            mirrored = [axis for axis, draw in enumerate(rng.random(3)) if draw < 0.5 and self.settings.flips]
            start = (low + high) // 2 + shift - self.settings.image_size // 2
            stop = (start + self.settings.image_size).tolist()
            image = crop_or_pad(case.image, start.tolist(), stop).voxels
            inside = crop_or_pad(target, start.tolist(), stop).voxels
            if self.settings.label_above and np.count_nonzero(inside) <= self.settings.label_above:
                continue
            yield {
                "image": _flipped(standardised(image), mirrored)[None],
                "target": _flipped(inside.astype(np.uint8), mirrored),
            }

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Squared Dice + cross-entropy of every round: their sum, or one after the other where `descended` says so."""
        each = (
            weighted_loss(logits, batch["target"], self.losses_of_round)
            for logits in self.rounds(batch["image"], batch["target"])
        )
        if self.settings.descended == "round":
            for loss in each:
                yield "network", loss
        else:
            yield "network", torch.stack(list(each)).sum()

    def rounds(self, images: Tensor, target: Tensor, *, count: int | None = None) -> Iterator[Tensor]:
        """Logits (batch, 1, s, s, s) round by round: one new click on an error, beside the mask before.

        Args:
            images: (batch, 1, s, s, s), standardised.
            target: (batch, s, s, s), 0 or 1; the clicks come from it.
            count: of rounds; None for the options'.
        """
        chosen = self.settings
        rounds = count or chosen.rounds
        # A generator of its own: every round has other clicks, whatever is seeded between the turns.
        chance = torch.Generator().manual_seed(int(torch.randint(2**31 - 1, ())))
        without = self._without_click(rounds, chance)
        embedding = self.network.embed(images)
        fine = 4 * chosen.image_size // chosen.patch_size
        low, found = images.new_zeros((len(images), 1, fine, fine, fine)), torch.zeros_like(target, dtype=torch.bool)
        for number in range(rounds):
            prompts = VolumePrompts(masks=low)
            if number not in without:
                points, labels = error_click(found, target, chance)
                prompts = prompts._replace(points=points, labels=labels)
            low, _, embedding = self.network.decode(embedding, prompts)
            whole = self.network.whole(low.float())
            found = whole.detach()[:, 0] > chosen.wrong_above
            yield whole
            if chosen.descended == "round":
                low, embedding = low.detach(), embedding.detach()

    def _without_click(self, rounds: int, chance: torch.Generator) -> set[int]:
        if not self.settings.mask_only or rounds < 2:
            return set()
        drawn = WITHOUT_CLICK[int(torch.randint(len(WITHOUT_CLICK), (), generator=chance))]
        return {drawn, rounds - 1}

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """Every parameter that learns, so that each part may have a rate of its own.

        `network.encoder` is the image encoder with what M-SAM adds to its queries and values, `network.decoder` the
        prompt encoder and the mask decoder, `network` the rest, which is M-SAM's adapter.
        """
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(GROUPS.get(name.partition(".")[0], "network"), []).append(parameter)
        return {name: iter(group) for name, group in groups.items()}

    def validation_prompts(self, case: Case) -> list[Prompt]:
        """One click for each lesion, on its deepest voxel; none for an empty mask."""
        mask = case.mask(TUMOUR)
        return [
            Click(deepest(region, mask.spacing), source="oracle", lesion=number)
            for number, region in enumerate(regions(mask, "lesion"), start=1)
        ]


def error_click(found: Tensor, target: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """A click on a wrong voxel of each mask, every such voxel equally likely; any voxel where none is wrong.

    Args:
        found: masks (n, s, s, s), bool.
        target: what they should be, (n, s, s, s), 0 or 1.
        chance: a generator on the CPU.

    Returns:
        Places (n, 1, 3) float32 in the order of the axes, and labels (n, 1) int64, 1 for tumour.
    """
    wanted = target.bool()
    points, labels = [], []
    for wrong, inside in zip((found != wanted).cpu(), wanted.cpu(), strict=True):
        places = torch.nonzero(wrong.flatten()).flatten()
        among = len(places) or wrong.numel()
        drawn = int(torch.randint(among, (), generator=chance))
        voxel = torch.unravel_index(places[drawn] if len(places) else torch.tensor(drawn), wrong.shape)
        points.append(torch.stack(voxel))
        labels.append(inside[voxel])
    return torch.stack(points)[:, None].float().to(target.device), torch.stack(labels)[:, None].long().to(target.device)


def _flipped(voxels: NDArray[Any], axes: list[int]) -> NDArray[Any]:
    return np.ascontiguousarray(np.flip(voxels, tuple(axes)))
