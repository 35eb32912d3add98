"""Medical SAM 2: what it does beside SAM 2 - two losses for two optimisers, one-prompt clips, six passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from oncoseg.case import Case
from oncoseg.contracts import ModelInfo
from oncoseg.inference.accept import accept
from oncoseg.inference.slices import AxialView, axial_view
from oncoseg.lesions import Region
from oncoseg.models.medical_sam2.banks import SelfSortCode, SelfSortPaper
from oncoseg.models.medical_sam2.options import MedicalSam2Options
from oncoseg.nn.losses import binary_cross_entropy
from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam2.memory import Fifo, MemoryBank
from oncoseg.nn.sam2.network import Sam2
from oncoseg.nn.sam2.tracking import Track
from oncoseg.prompt import Box, Click, Index, Prompt
from oncoseg.promptable.objects import objects
from oncoseg.promptable.video import VideoSession
from oncoseg.promptable.video_teaching import TaughtVideoModel, box_of, held_slices, tumour
from oncoseg.volume import Volume

#: Parts of the network that follow an object, and have an optimiser of their own.
MEMORY = ("memory_attention", "memory_encoder", "object_pointer_proj", "mask_downsample")
#: Parts in no optimiser of the released code.
FROZEN = (
    "vision_encoder",
    "prompt_encoder",
    "no_memory_embedding",
    "no_memory_positional_encoding",
    "no_object_pointer",
    "memory_temporal_positional_encoding",
)
#: Weight of tumour pixels in the cross-entropy.
POSITIVE_WEIGHT = 2.0


class MedicalSam2(TaughtVideoModel):
    """SAM 2.0 on CT with an exchangeable memory."""

    settings: MedicalSam2Options

    def __init__(self, info: ModelInfo, options: MedicalSam2Options, network: Sam2) -> None:
        frozen = FROZEN if options.trained == "published" else ()
        super().__init__(info, options, network, lambda: bank_of(options, network), frozen=frozen)

    @property
    def told(self) -> Sequence[str]:
        """What leaves the published way."""
        if self.settings.passes == "three axes":
            return (
                *super().told,
                "sagittal and coronal slices are prompted with a box round all boxes of an object; objects whose boxes "
                "span fewer than two slices, and sessions, are followed through axial slices only.",
            )
        return super().told

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour on the grid of `image`; zero where no object was followed to.

        Raises:
            InputError: without a prompt, with one of a type the model does not take, or one that leaves the image.
        """
        if self.settings.passes == "axial":
            return super().predict(image, prompts)
        accept(self.info, image, prompts)
        axial = axial_view(image)
        turned = [axial.prompt(prompt) for prompt in prompts]
        found = [VideoSession(self, axial.volume).all(turned).voxels]
        everywhere = _everywhere(turned)
        for axes in ((1, 0, 2), (2, 0, 1)) if everywhere else ():
            view = AxialView(_transposed(axial.volume, axes), axes, (False, False, False))
            found.append(VideoSession(self, axial.volume, view).all(everywhere).voxels)
        return image.with_voxels(axial.restore(np.stack(found).mean(axis=0, dtype=np.float32)))

    def taught(self, case: Case) -> list[Region]:
        """The tumour as one object, as a label of the released code is."""
        return tumour(case)

    def slices(self, region: Region, case: Case, rng: np.random.Generator) -> list[int]:
        """The slices of a clip: so many from a random one on, inside the tumour's extent where that is long enough."""
        length, extent = self.settings.video_length, len(region.voxels)
        draws = rng.random(length)
        if self.settings.clip == "random":
            held = region.start[0] + np.flatnonzero(region.voxels.any(axis=(1, 2)))
            return [int(held[int(draw * len(held))]) for draw in draws]
        first = region.start[0] + int(draws[0] * max(1, extent - length + 1))
        return [min(first + n, case.image.shape[0] - 1) for n in range(length)]

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Slices without a prompt move the memory, then the mask decoder is moved; Zhu's released func_3d.

        Every loss is the mean over slices of the cross-entropy with weight 2 on tumour, at the size of the network's
        input. The gradients are those of one pass; it is repeated because the memory has been moved meanwhile.
        """
        prompted, followed = self._answered(batch)
        if followed:
            yield "memory", torch.stack(followed).mean()
            prompted, followed = self._answered(batch)
        share = torch.stack(prompted).mean()
        if followed and self.settings.decoder_learns_from == "all":
            share = share + torch.stack(followed).mean()
        yield "decoder", share

    def _answered(self, batch: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Losses of prompted and of other slices, of all clips."""
        prompted: list[Tensor] = []
        followed: list[Tensor] = []
        for image, target, click in zip(batch["image"], batch["target"], batch["click"], strict=True):
            features = self.features(image)
            track = Track(self.network, self.bank(), features.of, frames=len(image), kept_as=None)
            every = len(image) if self.settings.clip == "random" else self.settings.prompt_freq
            starts = range(0, len(image), every)
            prompted += [self._prompted(track, n, target[n], click[n]) for n in starts]
            for n in range(len(image)):
                if n not in starts:
                    decoded = track.follow(n)
                    followed.append(self._loss(decoded.logits, target[n]))
        return prompted, followed

    def _prompted(self, track: Track, frame: int, target: Tensor, click: Tensor) -> Tensor:
        if not target.any():  # the released code gives an empty mask
            return self._loss(track.give(frame, target[None, None].float()).logits, target)
        if self.settings.taught_with == "click":
            prompts = SlicePrompts(points=click[None, None], labels=torch.ones(1, 1, dtype=torch.long).to(click.device))
        else:
            prompts = SlicePrompts(boxes=box_of(target))
        return self._loss(track.prompt(frame, prompts).logits, target)

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(
            self.network.whole(logits), target[None, None].float(), positive_weight=POSITIVE_WEIGHT
        )

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """`memory`, and `decoder` with everything else that learns."""
        learning = [(name.partition(".")[0], p) for name, p in self.network.named_parameters() if p.requires_grad]
        return {
            "memory": (p for part, p in learning if part in MEMORY),
            "decoder": (p for part, p in learning if part not in MEMORY),
        }

    def validation_prompts(self, case: Case) -> list[Prompt]:
        """A tight box, or a click on the middlemost pixel, on each `prompt_freq`-th slice of the tumour's extent."""
        prompts: list[Prompt] = []
        for region in tumour(case):
            for index, mask in held_slices(region, self.settings.prompt_freq):
                if mask is not None:
                    prompts.append(_prompt(mask, (index, *region.start[1:]), self.settings.taught_with))
        return prompts


def bank_of(options: MedicalSam2Options, network: Sam2) -> MemoryBank:
    """An empty memory of the kind that is asked for; while learning its draws come from torch's generator."""
    seed = int(torch.randint(2**31, ()).item()) if network.training else 0
    if options.memory == "selfsort_code":
        return SelfSortCode(options.memory_size, options.memory_draws, draw=options.draw, seed=seed)
    if options.memory == "selfsort_paper":
        return SelfSortPaper(options.memory_size, options.memory_threshold, draw=options.draw, seed=seed)
    return Fifo(network.memories, network.pointers)


def _prompt(mask: np.ndarray, corner: Index, kind: str) -> Prompt:
    slice_, top, left = corner
    if kind == "click":
        pixels = np.argwhere(mask)
        row, column = pixels[len(pixels) // 2].tolist()
        return Click((slice_, top + row, left + column), source="oracle", lesion=1)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    start = (slice_, top + int(rows[0]), left + int(columns[0]))
    return Box(start, (slice_ + 1, top + int(rows[-1]) + 1, left + int(columns[-1]) + 1), source="oracle", lesion=1)


def _everywhere(prompts: Sequence[Prompt]) -> list[Prompt]:
    """What can be shown along any axis: a 3D box round all boxes of each object, where it spans several slices."""
    found: list[Prompt] = []
    for own in objects(prompts).values():
        boxes = [p for p in own if isinstance(p, Box)]
        if boxes:
            start = np.min([box.start for box in boxes], axis=0)
            stop = np.max([box.stop for box in boxes], axis=0)
            if stop[0] - start[0] > 1:
                found.append(Box(tuple(start.tolist()), tuple(stop.tolist()), source=boxes[0].source))
    return found


def _transposed(volume: Volume, axes: tuple[int, int, int]) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = volume.affine[:3, list(axes)]
    affine[:3, 3] = volume.affine[:3, 3]
    return Volume(volume.voxels.transpose(axes), affine)
