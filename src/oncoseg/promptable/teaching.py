"""Promptable networks that learn: slices of a lesion with simulated prompts, and the loss on the mask that answers."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import ModelInfo, Sample
from oncoseg.inference.rectangles import Rectangle
from oncoseg.inference.slices import axial_view
from oncoseg.lesions import Per, Region, regions
from oncoseg.nn.losses import weighted_loss
from oncoseg.nn.sam import Sam, SlicePrompts
from oncoseg.prompt import Box, Click, Prompt
from oncoseg.promptable.computing import Embedding
from oncoseg.promptable.frame import Frame
from oncoseg.promptable.options import PromptedOptions
from oncoseg.promptable.slices import PromptedSliceModel, region

#: Embeddings of a frozen image encoder that are kept during a training; 4 MB each for SAM's 256 x 64 x 64.
MOST_EMBEDDINGS = 512

_seen: WeakKeyDictionary[Case, list[Region]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Taught:
    """One lesion on one slice of an axial case, as it becomes a training sample.

    Attributes:
        mask: the lesion on the slice, bool (rows, columns).
        lesion: the whole lesion.
        index: the slice.
    """

    mask: NDArray[np.bool_]
    lesion: Region
    index: int


class TaughtSliceModel(PromptedSliceModel):
    """A promptable network with training slices; the loss is squared Dice plus cross-entropy unless a room differs."""

    #: Weight of each loss on the mask, see `oncoseg.nn.losses.LOSSES`.
    losses_on_mask: dict[str, float]

    def __init__(self, info: ModelInfo, options: PromptedOptions, network: Sam, frame: Frame) -> None:
        super().__init__(info, options, network, frame)
        self.losses_on_mask = {"dice_squared": 1.0, "bce": 1.0}
        # What is fastest differs from run to run, and a training must not.
        compute = "float32" if options.compute == "fastest" else options.compute
        once = Embedding(network, compute, self._in_the_middle)
        self._embedded_once = EmbeddedOnce(once) if options.trained == "decoder" else None
        if self._embedded_once:
            self.network.image_encoder.requires_grad_(False)

    def prepare(self, case: Case) -> Case:
        """The case as `samples` wants it: axial, grey values in [0, 1]."""
        image, mask = axial_view(case.image).volume, axial_view(case.mask(TUMOUR)).volume
        grey = image.with_voxels(self.grey(case.image)(image.voxels))
        return Case(case.name, case.patient, grey, {TUMOUR: mask}, case.facts, case.notes)

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """Slices of lesions of a prepared case, as many as there are.

        Yields:
            `image` float32 (3, size, size); `target` uint8 (size, size), the lesion alone; `box` float32 (4,) corners
            (column, row, column, row); `point` float32 (2,) a click (column, row) on the lesion. All in pixels of the
            network's input.
        """
        lesions = lesions_of(case)
        for _ in range(sum(len(lesion.voxels) for lesion in lesions)):
            yield self.sample(case, self.drawn(case, lesions, rng), rng)

    def drawn(self, case: Case, lesions: list[Region], rng: np.random.Generator) -> Taught:
        """A slice of a lesion, each slice of each lesion equally likely."""
        held = [(lesion, n) for lesion in lesions for n in np.flatnonzero(lesion.voxels.any(axis=(1, 2))).tolist()]
        lesion, number = held[int(rng.random() * len(held))]
        mask = np.zeros(case.image.shape[1:], bool)
        _, rows, columns = (slice(a, b) for a, b in zip(lesion.start, lesion.stop, strict=True))
        mask[rows, columns] = lesion.voxels[number]
        return Taught(mask, lesion, lesion.start[0] + number)

    def sample(self, case: Case, taught: Taught, rng: np.random.Generator) -> Sample:
        """One training sample, see `samples`."""
        rectangle, (row, column) = self.rectangle(taught), self.clicked(taught.mask, rng)
        # A model that is given a click alone looks round the click, not round the tumour it cannot know.
        alone = self.settings.taught_with == "click"
        crop = self.crop(Rectangle(taught.index, row, column, row + 1, column + 1) if alone else rectangle, case.image)
        shape = (crop.bottom - crop.top, crop.right - crop.left)
        grey = np.array(case.image.voxels[region(taught.index, crop)])  # a copy: mapped files cannot be written to
        inside = np.ascontiguousarray(taught.mask[crop.top : crop.bottom, crop.left : crop.right])
        moved = [edge - offset for edge, offset in zip(rectangle[1:], (crop.top, crop.left) * 2, strict=True)]
        return {
            "image": self.frame.show(torch.from_numpy(grey)).numpy(),
            "target": self.frame.show_mask(torch.from_numpy(inside)).numpy(),
            "box": self.jittered(np.asarray(self.frame.corners(shape, moved)), rng).astype(np.float32),
            "point": np.asarray(self.frame.point(shape, (row - crop.top, column - crop.left)), np.float32),
        }

    def clicked(self, mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
        """A random pixel (row, column) of a mask that has some."""
        pixels = np.argwhere(mask)
        row, column = pixels[int(rng.random() * len(pixels))].tolist()
        return row, column

    def rectangle(self, taught: Taught) -> Rectangle:
        """The box that is drawn before it is displaced: round the slice's mask, or the lesion's as on every slice."""
        if self.settings.taught_with == "lesion box":
            (_, top, left), (_, bottom, right) = taught.lesion.start, taught.lesion.stop
            return Rectangle(taught.index, top, left, bottom, right)
        rows, columns = (np.flatnonzero(taught.mask.any(axis=axis)) for axis in (1, 0))
        return Rectangle(taught.index, int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    def jittered(self, box: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Corners (column, row, column, row) displaced as the options say, inside the frame and never crossed."""
        draw, most = rng.uniform(-1, 1, 4), self.settings.jitter_px
        if self.settings.jitter == "outward":
            draw = np.abs(draw) * (-1, -1, 1, 1)
        elif self.settings.jitter == "translate":
            most = min(most, 0.5 * float(min(box[2] - box[0], box[3] - box[1])))
            draw = np.tile(draw[:2], 2)
        moved = np.clip(box + draw * most, 0, self.frame.size - 1)
        low, high = np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])
        return np.concatenate([low, high])

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """One loss on the mask that answers the prompt, at the size of the network's input."""
        logits = self.network.decode(self.embed(batch["image"]), self.prompted(batch)).logits
        whole = F.interpolate(logits.float(), size=batch["target"].shape[1:], mode="bilinear")
        yield "network", weighted_loss(whole, batch["target"], self.losses_on_mask)

    def prompted(self, batch: dict[str, Tensor]) -> SlicePrompts:
        """The prompts of a batch: all boxes or all clicks, as the options say."""
        taught = self.settings.taught_with
        click = taught == "click" or (taught == "box or click" and torch.rand(()).item() < 0.5)
        if click:
            points = batch["point"][:, None]
            return SlicePrompts(points=points, labels=points.new_ones(points.shape[:2], dtype=torch.int64))
        return SlicePrompts(boxes=batch["box"])

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings of a batch, with gradients where the image encoder learns."""
        if self._embedded_once is None:
            return self.network.embed(images)
        self.network.image_encoder.eval()
        return self._embedded_once(images)

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """One group, `network`, with every parameter that learns."""
        return {"network": (p for p in self.network.parameters() if p.requires_grad)}

    def validation_prompts(self, case: Case) -> list[Prompt]:
        """The prompts of the kind it is taught with, exact, from the tumour of a case; none when there is none."""
        taught = self.settings.taught_with
        per: Per = "lesion" if taught == "lesion box" else "slice"
        found = regions(case.mask(TUMOUR), per)
        if taught == "click":
            clicks = [np.argwhere(r.voxels)[np.count_nonzero(r.voxels) // 2] + r.start for r in found]
            return [Click((int(c[0]), int(c[1]), int(c[2])), source="oracle") for c in clicks]
        return [Box(r.start, r.stop, source="oracle") for r in found]


class EmbeddedOnce:
    """Embeddings of a frozen image encoder: each image is embedded once, alone, whatever batch it comes in.

    So a training that is killed and goes on gets the same numbers as one that is not.
    """

    def __init__(self, embed: Callable[[Tensor], Tensor]) -> None:
        self._embed = embed
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings (batch, 256, ...) of images (batch, 3, s, s), without gradients."""
        return torch.cat([self._one(image[None]) for image in images])

    def _one(self, image: Tensor) -> Tensor:
        key = hashlib.sha1(image[0, 0].cpu().numpy().tobytes()).hexdigest()
        if key not in self._kept:
            with torch.no_grad():
                self._kept[key] = self._embed(image)
            if len(self._kept) > MOST_EMBEDDINGS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def lesions_of(case: Case) -> list[Region]:
    """The lesions of a case; found once for every case that is kept."""
    if case not in _seen:
        _seen[case] = regions(case.mask(TUMOUR), "lesion")
    return _seen[case]
