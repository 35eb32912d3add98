"""Networks that follow objects and learn: clips of slices with the object's mask, from which prompts are drawn."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import ModelInfo, Sample
from oncoseg.inference.slices import axial_view
from oncoseg.lesions import Region, regions
from oncoseg.nn.sam2.memory import MemoryBank
from oncoseg.nn.sam2.network import Features, Sam2
from oncoseg.promptable.teaching import lesions_of
from oncoseg.promptable.video import VideoModel
from oncoseg.promptable.video_options import VideoOptions


class TaughtVideoModel(VideoModel):
    """A network with training clips; a room says which slices a clip has and what is descended.

    Args:
        info, options, network, bank: as `VideoModel`.
        frozen: parts of the network (first part of their parameters' names) that do not learn. Where the image
            encoder is among them, slices are embedded once.
    """

    def __init__(
        self,
        info: ModelInfo,
        options: VideoOptions,
        network: Sam2,
        bank: Callable[[], MemoryBank],
        *,
        frozen: tuple[str, ...] = (),
    ) -> None:
        super().__init__(info, options, network, bank)
        for name, parameter in network.named_parameters():
            if name.partition(".")[0] in frozen:
                parameter.requires_grad_(False)
        self._once = FramesOnce(network, options) if "vision_encoder" in frozen else None

    def prepare(self, case: Case) -> Case:
        """The case as `samples` wants it: axial, grey values in [0, 1]."""
        image, mask = axial_view(case.image).volume, axial_view(case.mask(TUMOUR)).volume
        return Case(case.name, case.patient, image.with_voxels(self.grey(image.voxels)), {TUMOUR: mask})

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """Clips of a prepared case, as many as there are slices with tumour.

        Yields:
            `image` float32 (slices, 3, s, s); `target` uint8 (slices, s, s), one object; `click` float32 (slices, 2),
            column and row of a random pixel of it, zeros where it is not.
        """
        found = self.taught(case)
        for _ in range(sum(len(region.voxels) for region in found)):
            region = found[int(rng.random() * len(found))]
            yield self._clip(case, region, self.slices(region, case, rng), rng)

    def taught(self, case: Case) -> list[Region]:
        """The objects that clips are made of: lesions."""
        return lesions_of(case)

    def slices(self, region: Region, case: Case, rng: np.random.Generator) -> list[int]:
        """The slices of a clip round an object, `video_length` of them; beyond an end of the volume its last one.

        The first slice holds the object; half of the clips run downwards (Ravi et al. 2024, appendix D.2).
        """
        pick, way = rng.random(2)
        held = region.start[0] + np.flatnonzero(region.voxels.any(axis=(1, 2)))
        first = int(held[int(pick * len(held))])
        step = 1 if way < 0.5 else -1
        wanted = first + step * np.arange(self.settings.video_length)
        return [int(n) for n in np.clip(wanted, 0, case.image.shape[0] - 1)]

    def _clip(self, case: Case, region: Region, slices: list[int], rng: np.random.Generator) -> Sample:
        images, targets, clicks = [], [], []
        whole = {n: self._mask(region, n, case.image.shape[1:]) for n in set(slices)}
        for index, draw in zip(slices, rng.random(len(slices)), strict=True):
            grey = torch.from_numpy(np.ascontiguousarray(case.image.voxels[index]))
            target = self.frame.show_mask(torch.from_numpy(whole[index])).numpy()
            pixels = np.argwhere(target)
            row, column = pixels[int(draw * len(pixels))] if len(pixels) else (0, 0)
            images.append(self.frame.show(grey).numpy())
            targets.append(target)
            clicks.append((column, row))
        return {"image": np.stack(images), "target": np.stack(targets), "click": np.array(clicks, np.float32)}

    def _mask(self, region: Region, index: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        mask = np.zeros(shape, bool)
        if region.start[0] <= index < region.stop[0]:
            _, rows, columns = (slice(a, b) for a, b in zip(region.start, region.stop, strict=True))
            mask[rows, columns] = region.voxels[index - region.start[0]]
        return mask

    def features(self, images: Tensor) -> Features:
        """Embeddings of a clip (slices, 3, s, s), with gradients as far as the image encoder learns."""
        return self._once(images) if self._once else self.network.embed(images)

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """One group, `network`, with every parameter that learns."""
        return {"network": (p for p in self.network.parameters() if p.requires_grad)}


class FramesOnce:
    """Embeddings by a frozen image encoder: each slice goes through it once, alone, as long as there is room.

    So a training that is killed and goes on gets the same numbers as one that is not. What is kept comes before the
    two convolutions that belong to the mask decoder, which learns.
    """

    def __init__(self, network: Sam2, options: VideoOptions) -> None:
        self._network, self._options = network, options
        self._kept: OrderedDict[str, Features] = OrderedDict()

    def __call__(self, images: Tensor) -> Features:
        """Embeddings of frames (batch, 3, s, s); gradients go no further than the decoder's convolutions."""
        each = [self._one(image[None]).to(torch.float32) for image in images]
        stacked = Features(*(torch.cat(parts) for parts in zip(*each, strict=True)))
        return self._network.features(stacked)

    def _one(self, image: Tensor) -> Features:
        key = hashlib.sha1(image[0, 0].cpu().numpy().tobytes()).hexdigest()
        if key not in self._kept:
            with torch.no_grad():
                made = self._network.pyramid(image)
            self._kept[key] = made.to(torch.float16) if self._options.half else made
            room = int(self._options.keep_megabytes * 1e6 / self._kept[key].bytes)
            while len(self._kept) > max(1, room):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def box_of(target: Tensor) -> Tensor:
    """The tight box (1, 4) round a mask (s, s): first and last pixel inside, as (column, row, column, row)."""
    columns, rows = (torch.nonzero(target.any(dim=axis)).flatten() for axis in (0, 1))
    return torch.stack([columns[0], rows[0], columns[-1], rows[-1]]).float()[None]


def tumour(case: Case) -> list[Region]:
    """The tumour of a case as one object; none for an empty mask."""
    return regions(case.mask(TUMOUR), "volume")


def held_slices(region: Region, every: int) -> list[Any]:
    """Slices of an object, each n-th of its extent from the first, with the mask there (None where it has none)."""
    return [
        (region.start[0] + n, region.voxels[n] if region.voxels[n].any() else None)
        for n in range(0, len(region.voxels), every)
    ]
