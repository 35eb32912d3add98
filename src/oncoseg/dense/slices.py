"""Networks that see axial slices: training slices out of cases, and volumes predicted slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import Case
from oncoseg.contracts import ModelInfo, Sample
from oncoseg.dense.given import filled, marked, unmarked
from oncoseg.dense.model import DenseModel, flips, require_patch
from oncoseg.dense.options import SliceOptions
from oncoseg.dense.preparing import (
    class_map,
    grey_on,
    labelled_slices,
    lowest,
    mask_on,
    patch_corner,
    tumour_voxels,
)
from oncoseg.inference.running import Runner
from oncoseg.preprocess.augment import augmenter
from oncoseg.preprocess.resample import grid_at, grid_of_shape
from oncoseg.prompt import Box
from oncoseg.volume import Volume

T = TypeVar("T", bound=np.generic)


class SliceModel(DenseModel):
    """A 2D network with its preprocessing: axial slices, in-plane resampling, HU window, fit."""

    settings: SliceOptions

    def __init__(self, info: ModelInfo, options: SliceOptions, network: nn.Module) -> None:
        super().__init__(info, options, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        self.multiple = int(getattr(network, "multiple", 1))
        require_patch(info.full_name, [options.patch], self.multiple)
        self._augment = augmenter(options.augment, 2)

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """Training slices of a prepared case, as many as it has slices; none of a case without tumour in a `box crop`.

        Yields:
            `image` float32 (channels, patch, patch), the last channel being that of boxes where they are given so, and
            `classes` uint8 (patch, patch).
        """
        for _ in range(case.image.shape[0]):
            part, boxes = self.parts(case, rng)
            if part is None:
                return
            yield self._sample(part, boxes, rng)

    def on_grid(self, image: Volume, wanted: Sequence[int], boxes: Volume | None = None) -> list[Volume]:
        """Probabilities of classes at the network's in-plane spacing."""
        grid = self.grid(image)
        grey = grey_on(image, grid, self.settings).voxels
        inside = None if boxes is None else mask_on(boxes, grid).voxels.astype(np.float32)
        firsts = range(0, len(grey), self.settings.batch)
        parts = [slice(first, first + self.settings.batch) for first in firsts]
        if inside is not None and self.settings.labels == "tumour":
            # What lies on slices without a box is not asked for. A thin box may fall between resampled slices.
            parts = [part for part in parts if inside[part].any()] or parts
        air = float(grey.min())
        examples = (self._batch(grey, inside, part, air) for part in [parts[len(parts) // 2], *parts])
        run = self.computing.run(examples)
        found = np.zeros((len(wanted), *grid.shape), np.float32)
        for part in parts:
            batch = self._batch(grey, inside, part, air)
            found[:, part] = self._predicted(run, batch, grid.shape[1:], wanted).swapaxes(0, 1)
        return [grid.with_voxels(channel) for channel in found]

    def laid_out(self, x: Tensor) -> Tensor:
        """A batch with its channels last, as convolutions on CPUs want it."""
        return x.contiguous(memory_format=torch.channels_last)

    def grid(self, image: Volume) -> Volume:
        """In-plane pixels as the options say, slices too where they are resampled."""
        chosen = self.settings
        thickness, *in_plane = image.spacing
        if chosen.fit == "resize":
            slices = image.shape[0] if chosen.through is None else round(image.shape[0] * thickness / chosen.through)
            return grid_of_shape(image, (max(1, slices), chosen.patch, chosen.patch))
        rows, columns = (chosen.spacing or s for s in in_plane)
        spacing = (chosen.through or thickness, rows, columns)
        return grid_at(image, spacing)

    def _batch(self, grey: NDArray[np.float32], inside: NDArray[np.float32] | None, part: slice, air: float) -> Tensor:
        """Slices as the network takes them: (slices, channels, rows, columns), fitted and padded with air."""
        x = self._fitted(grey[part], air).expand(-1, self.settings.channels, -1, -1)
        return self.laid_out(x if inside is None else torch.cat([x, self._fitted(inside[part], 0.0)], dim=1))

    def _fitted(self, planes: NDArray[np.float32], fill: float) -> Tensor:
        fitted = _middle(planes, self.settings.patch, fill) if self.settings.fit == "crop" else planes
        x = torch.from_numpy(np.ascontiguousarray(fitted))[:, None]
        height, width = x.shape[2:]
        return F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), value=fill)

    def _predicted(self, run: Runner, x: Tensor, shape: Sequence[int], wanted: Sequence[int]) -> NDArray[np.float32]:
        """Probabilities (slices, wanted, *shape) of a batch."""
        turns = flips((2, 3)) if self.settings.mirror else [()]
        each = [self.probabilities(run(x.flip(t) if t else x), wanted).flip(t) for t in turns]
        found: NDArray[np.float32] = (sum(each[1:], each[0]) / len(turns)).cpu().numpy()
        if self.settings.fit != "crop":
            return found[..., : shape[0], : shape[1]]
        whole = np.zeros((*found.shape[:2], *shape), np.float32)
        _paste_middle(found, whole)
        return whole

    def _sample(self, case: Case, boxes: Sequence[Box], rng: np.random.Generator) -> Sample:
        chosen = self.settings
        index, target = self._place(case, rng)
        corner = rng.random(2)
        grey = case.image.voxels[index]
        classes = class_map(_slice_of(case, index), chosen)[0]
        if chosen.given == "box channel":
            classes = marked(classes, filled(boxes, (index, 0, 0), (index + 1, *grey.shape))[0])
        air = lowest(case)
        if chosen.fit == "crop":
            grey, classes = (_middle(plane[None], chosen.patch, fill)[0] for plane, fill in ((grey, air), (classes, 0)))
        elif chosen.fit == "pad":
            place = patch_corner(grey.shape, (chosen.patch, chosen.patch), target, corner)
            grey, classes = (_cut(plane, place, chosen.patch, fill=fill) for plane, fill in ((grey, air), (classes, 0)))
        image = np.repeat(np.asarray(grey, np.float32)[None], chosen.channels, axis=0)
        image, classes = self._augment(image, classes, rng)
        if chosen.given == "box channel":
            image, classes = unmarked(image, classes)
        return {"image": np.ascontiguousarray(image), "classes": np.ascontiguousarray(classes)}

    def _place(self, case: Case, rng: np.random.Generator) -> tuple[int, NDArray[np.intp] | None]:
        """Which slice, and the tumour pixel (row, column) that the patch must hold, if any."""
        tumour = tumour_voxels(case)
        wanted = rng.random() < self.settings.tumour_share
        pick, pixel = rng.random(2)
        if wanted and len(tumour):
            held = np.unique(tumour[:, 0])
            index = int(held[int(pick * len(held))])
        else:
            allowed = np.arange(case.image.shape[0])
            if self.settings.slices == "labelled":
                labelled = labelled_slices(case, self.settings)
                allowed = labelled if len(labelled) else allowed
            index = int(allowed[int(pick * len(allowed))])
        inside = tumour[np.searchsorted(tumour[:, 0], index) : np.searchsorted(tumour[:, 0], index + 1), 1:]
        return index, inside[int(pixel * len(inside))] if len(inside) else None


def _slice_of(case: Case, index: int) -> Case:
    start, stop = (index, 0, 0), (index + 1, *case.image.shape[1:])
    masks = {name: mask.crop(start, stop) for name, mask in case.masks.items()}
    return Case(case.name, case.patient, case.image.crop(start, stop), masks)


def _cut(plane: NDArray[T], place: Sequence[int], patch: int, *, fill: float) -> NDArray[T]:
    """A patch of a slice; what lies outside the slice is `fill`."""
    result = np.full((patch, patch), fill, plane.dtype)
    rows, columns = (slice(max(0, p), max(0, p + patch)) for p in place)
    part = plane[rows, columns]
    row, column = (max(0, -p) for p in place)
    result[row : row + part.shape[0], column : column + part.shape[1]] = part
    return result


def _middle(planes: NDArray[T], patch: int, fill: float) -> NDArray[T]:
    """The middle `patch` rows and columns of slices, padded with `fill`."""
    place = [(size - patch) // 2 for size in planes.shape[1:]]
    return np.stack([_cut(plane, place, patch, fill=fill) for plane in planes])


def _paste_middle(found: NDArray[np.float32], whole: NDArray[np.float32]) -> None:
    """Put planes (..., patch, patch) back to where `_middle` took them from, in place."""
    spans = []
    for size, patch in zip(whole.shape[-2:], found.shape[-2:], strict=True):
        first = (size - patch) // 2
        spans.append((slice(max(0, first), min(size, first + patch)), slice(max(0, -first), min(patch, size - first))))
    (rows, from_rows), (columns, from_columns) = spans
    whole[..., rows, columns] = found[..., from_rows, from_columns]
