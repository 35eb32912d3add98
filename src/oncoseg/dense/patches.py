"""Networks that see three-dimensional patches: training patches out of cases, and volumes by sliding windows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import Case
from oncoseg.contracts import ModelInfo, Sample
from oncoseg.dense.given import filled, marked, unmarked
from oncoseg.dense.looking import looked_at
from oncoseg.dense.model import DenseModel, require_patch
from oncoseg.dense.options import PatchOptions
from oncoseg.dense.preparing import class_map, grey_on, lowest, mask_on, patch_corner, tumour_voxels
from oncoseg.inference.windows import slide
from oncoseg.preprocess.augment import augmenter
from oncoseg.preprocess.crop import crop_or_pad
from oncoseg.preprocess.resample import grid_at
from oncoseg.prompt import Box
from oncoseg.volume import Volume


class PatchModel(DenseModel):
    """A 3D network with its preprocessing: axial order, resampling, window, patches with the tumour oversampled."""

    settings: PatchOptions

    def __init__(self, info: ModelInfo, options: PatchOptions, network: nn.Module) -> None:
        super().__init__(info, options, network)
        require_patch(info.full_name, options.patch, getattr(network, "multiple", 1))
        self._augment = augmenter(options.augment, 3)

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """Training patches of a prepared case, endlessly; none of a case without tumour in a `box crop`.

        Yields:
            `image` float32 (channels, *patch), the last channel being that of boxes where they are given so, and
            `classes` uint8 (patch).
        """
        while True:
            part, boxes = self.parts(case, rng)
            if part is None:
                return
            yield self._sample(part, boxes, rng)

    def on_grid(self, image: Volume, wanted: Sequence[int], boxes: Volume | None = None) -> list[Volume]:
        """Probabilities of classes at the network's spacing."""
        grey = grey_on(image, self.grid(image), self.settings)
        chosen = self.settings
        # A small image lies in the middle of the patch with air round it, as in training.
        room = [max(n, p) for n, p in zip(grey.shape, chosen.patch, strict=True)]
        start = [(n - size) // 2 for n, size in zip(grey.shape, room, strict=True)]
        stop = [a + size for a, size in zip(start, room, strict=True)]
        padded = crop_or_pad(grey, start, stop, fill=float(grey.voxels.min()))
        x = torch.from_numpy(padded.voxels)[None].expand(chosen.channels, *room)
        if boxes is not None:
            held = crop_or_pad(mask_on(boxes, grey), start, stop).voxels
            x = torch.cat([x, torch.from_numpy(held)[None].to(x.dtype)])
        inside = tuple(slice(-a, n - a) for a, n in zip(start, grey.shape, strict=True))
        seen, more = looked_at(image, grey, chosen.within)
        where = None
        if seen is not None:
            where = np.zeros(room, bool)
            where[inside] = seen
        if more is not None and more not in self.noted:
            self.noted.append(more)
        found = slide(
            self.computing.run(_windows(x, chosen.patch)),
            x,
            window=chosen.patch,
            overlap=chosen.overlap,
            weighting=chosen.weighting,
            mirror=(0, 1, 2) if chosen.mirror else (),
            batch=chosen.batch,
            where=where,
            finish=lambda logits: self.probabilities(logits[None], wanted)[0].cpu(),
        )
        return [grey.with_voxels(channel.numpy()[inside]) for channel in found]

    def grid(self, image: Volume) -> Volume:
        """Voxels of the spacing that the options say."""
        return grid_at(image, self.settings.spacing or image.spacing)

    def _sample(self, case: Case, boxes: Sequence[Box], rng: np.random.Generator) -> Sample:
        chosen = self.settings
        start = patch_corner(case.image.shape, chosen.patch, self._target(case, rng), rng.random(3))
        stop = [a + size for a, size in zip(start, chosen.patch, strict=True)]
        grey = crop_or_pad(case.image, start, stop, fill=lowest(case))
        masks = {name: crop_or_pad(mask, start, stop) for name, mask in case.masks.items()}
        patch = Case(case.name, case.patient, grey, masks)
        image = np.repeat(grey.voxels[None], chosen.channels, axis=0)
        classes = class_map(patch, chosen)
        if chosen.given == "box channel":
            classes = marked(classes, filled(boxes, start, stop))
        image, classes = self._augment(image, classes, rng)
        if chosen.given == "box channel":
            image, classes = unmarked(image, classes)
        return {"image": np.ascontiguousarray(image), "classes": np.ascontiguousarray(classes)}

    def _target(self, case: Case, rng: np.random.Generator) -> NDArray[np.intp] | None:
        """The tumour voxel that the patch must hold, if any."""
        tumour = tumour_voxels(case)
        wanted, pick = rng.random(2)
        if wanted < self.settings.tumour_share and len(tumour):
            voxel: NDArray[np.intp] = tumour[int(pick * len(tumour))]
            return voxel
        return None


def _windows(x: Tensor, patch: Sequence[int]) -> Iterator[Tensor]:
    """Windows of an image as batches of one, side by side, the middle one first."""
    places = [range(0, max(1, size - wanted + 1), wanted) for size, wanted in zip(x.shape[1:], patch, strict=True)]
    middle = tuple((size - wanted) // 2 for size, wanted in zip(x.shape[1:], patch, strict=True))
    for place in [middle, *itertools.product(*places)]:
        region = tuple(slice(a, a + wanted) for a, wanted in zip(place, patch, strict=True))
        yield x[(slice(None), *region)][None].contiguous()
