"""Networks prompted on axial slices: objects, crops, embeddings that are reused, and masks put together again."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oncoseg.config import plain
from oncoseg.contracts import ModelInfo
from oncoseg.inference.accept import accept
from oncoseg.inference.rectangles import Crop, Rectangle, crop_round
from oncoseg.inference.slices import axial_view
from oncoseg.nn.sam import Sam, SlicePrompts
from oncoseg.preprocess.window import window
from oncoseg.prompt import Prompt
from oncoseg.promptable.computing import Embedding
from oncoseg.promptable.frame import Frame
from oncoseg.promptable.objects import Asked, by_slice, objects
from oncoseg.promptable.options import WINDOWS, PromptedOptions
from oncoseg.promptable.stepping import Stepping
from oncoseg.volume import Volume

#: A box longer than this share of the crop widens the crop: the network needs to see what lies round it.
LARGEST_SHARE = 0.8
#: Embeddings a session keeps; 4 MB each for SAM's 256 x 64 x 64.
MOST_EMBEDDINGS = 256
#: Logits that stand for a rough mask given as a prompt.
MASK_LOGIT = 10.0
#: Propagation ends where fewer pixels are found, or where a mask is that many times as large as the one before.
FEWEST_PIXELS, LARGEST_GROWTH = 4, 2.5


class Place(NamedTuple):
    """An object on a slice."""

    object: str
    slice: int


@dataclass(frozen=True, eq=False)
class Found:
    """What the network answered for one object on one slice.

    Attributes:
        asked: what it was asked with.
        crop: the part of the slice it looked at.
        logits: its mask in its own frame, (n, n).
        probability: the same on the crop's pixels, float32.
        spread: the slice had no prompt of its own.
    """

    asked: Asked
    crop: Crop
    logits: Tensor
    probability: NDArray[np.float32]
    spread: bool = False


class PromptedSliceModel:
    """A SAM-type network with its preprocessing; a model's file adds its losses.

    Args:
        info: of the variant.
        options: how slices and prompts are shown.
        network: embeds images and answers prompts.
        frame: how a part of a slice becomes its input.
    """

    def __init__(self, info: ModelInfo, options: PromptedOptions, network: Sam, frame: Frame) -> None:
        self.info, self.settings, self.network, self.frame = info, options, network, frame
        self.embedding = Embedding(network, options.compute, self._in_the_middle)
        #: What the user should know of the weights.
        self.noted: list[str] = []

    @property
    def told(self) -> list[str]:
        """What reports repeat about the weights and how predictions were computed."""
        return [*self.embedding.told, *self.noted]

    def options(self) -> dict[str, Any]:
        """Everything `build` needs to make this model again, as plain data."""
        chosen: dict[str, Any] = plain(self.settings)
        return chosen

    def _in_the_middle(self, embedding: Tensor) -> Tensor:
        """Logits for a box in the middle of each embedded image."""
        size = self.network.image_size
        box = embedding.new_tensor([size * 0.3, size * 0.3, size * 0.7, size * 0.7]).expand(len(embedding), 4)
        return self.network.decode(embedding, SlicePrompts(boxes=box)).logits

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour on the grid of `image`; zero on slices without a prompt and outside the crops.

        Slices are axial whatever the order of the stored axes. Where objects overlap, the larger probability counts.

        Raises:
            InputError: without a prompt, with one of a type the model does not take, or one that leaves the image.
        """
        accept(self.info, image, prompts)
        return SliceSession(self, image).all(prompts)

    def session(self, image: Volume) -> SliceSession:
        """Start prompting one image; every slice is embedded once.

        Raises:
            InputError: for voxels that are not finite numbers.
        """
        accept(replace(self.info, prompts=()), image, ())
        return SliceSession(self, image)

    def grey(self, image: Volume) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        """The function from voxels of an image to grey values in [0, 1]."""
        chosen = self.settings.window
        low, high = chosen if isinstance(chosen, tuple) else WINDOWS.get(chosen) or _percentiles(image)
        return lambda voxels: window(voxels, low, high)

    def crop(self, extent: Rectangle, image: Volume) -> Crop:
        """The part of a slice that is shown for an object of an extent."""
        _, rows, columns = image.shape
        if self.settings.crop == "slice":
            return Crop(0, 0, rows, columns)
        wanted = float(self.settings.crop_px)
        if self.settings.crop_mm is not None:
            wanted = self.settings.crop_mm / min(image.spacing[1:])
        return crop_round(extent, rows, columns, math.ceil(max(wanted, extent.longest / LARGEST_SHARE)))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device


class SliceSession(Stepping[dict[Place, Found]]):
    """One image prompted step by step; `add` changes only what the new prompt concerns."""

    def __init__(self, model: PromptedSliceModel, image: Volume) -> None:
        super().__init__(model, image, {})
        self._model = model
        self._axial = axial_view(image)
        self._grey = model.grey(image)
        self._embeddings: OrderedDict[tuple[int, Crop], Tensor] = OrderedDict()

    def _answered(self, prompts: Sequence[Prompt], known: Mapping[Place, Found]) -> dict[Place, Found]:
        """What is found for every object on every slice, as far as it is not known."""
        turned = [self._axial.prompt(prompt) for prompt in prompts]
        said = {
            Place(name, index): asked
            for name, own in objects(turned).items()
            for index, asked in by_slice(own, self._model.settings.taper).items()
        }
        fed = known if self._model.settings.feed else {}
        wanted = {p: a for p, a in said.items() if a.says_where or p in fed}
        found = {p: known[p] for p, a in wanted.items() if p in known and a.same(known[p].asked)}
        new = {p: a for p, a in wanted.items() if p not in found}
        found |= self._looked(new, fed)
        if self._model.settings.spread == "propagate":
            for name in dict.fromkeys(p.object for p in wanted):
                own = {p.slice: f for p, f in found.items() if p.object == name}
                kept = {p: f for p, f in known.items() if p.object == name and f.spread}
                same = {p.slice: f for p, f in known.items() if p.object == name and not f.spread} == own
                found |= kept if same else self._spread(name, own)
        return found

    def _looked(self, wanted: Mapping[Place, Asked], known: Mapping[Place, Found]) -> dict[Place, Found]:
        """Ask the network, slices that are prompted alike in one batch."""
        crops = {p: self._crop(p, asked, known.get(p)) for p, asked in wanted.items()}
        self._embed((p.slice, crop) for p, crop in crops.items())
        alike: dict[Any, list[Place]] = {}
        for place, asked in wanted.items():
            masked = asked.mask is not None or place in known
            alike.setdefault((asked.box is not None, len(asked.dots), masked), []).append(place)
        found: dict[Place, Found] = {}
        for places in alike.values():
            for first in range(0, len(places), self._model.settings.batch):
                batch = places[first : first + self._model.settings.batch]
                found |= self._decoded({p: (wanted[p], crops[p], known.get(p)) for p in batch})
        return {place: found[place] for place in wanted}

    def _crop(self, place: Place, asked: Asked, before: Found | None) -> Crop:
        """The part of the slice to look at; the same as before while it holds everything that is asked about."""
        extent = asked.extent
        if before is not None and _holds(before.crop, extent, before.crop):
            return before.crop
        wanted = self._model.crop(extent, self._axial.volume)
        kept = (crop for index, crop in self._embeddings if index == place.slice)
        return next((crop for crop in kept if _holds(crop, extent, wanted)), wanted)

    def _embed(self, wanted: Iterable[tuple[int, Crop]]) -> None:
        new = list(dict.fromkeys(key for key in wanted if key not in self._embeddings))
        size = self._model.settings.batch
        for first in range(0, len(new), size):
            batch = new[first : first + size]
            for key, embedding in zip(batch, self._embedded(batch), strict=True):
                self._embeddings[key] = embedding
        while len(self._embeddings) > max(MOST_EMBEDDINGS, len(new)):
            self._embeddings.popitem(last=False)

    @torch.inference_mode()
    def _embedded(self, places: Sequence[tuple[int, Crop]]) -> list[Tensor]:
        parts = [self._grey(self._axial.volume.voxels[region(index, crop)]) for index, crop in places]
        images = torch.stack([self._model.frame.show(torch.from_numpy(np.ascontiguousarray(p))) for p in parts])
        images = images.to(self._model.device).contiguous(memory_format=torch.channels_last)
        return list(self._model.embedding(images).split(1))

    @torch.inference_mode()
    def _decoded(self, batch: Mapping[Place, tuple[Asked, Crop, Found | None]]) -> dict[Place, Found]:
        prompts = self._prompts(list(batch.values()))
        embedding = torch.cat([self._embeddings[place.slice, crop] for place, (_, crop, _) in batch.items()])
        chosen = self._model.settings.masks
        alone = prompts.boxes is None and prompts.masks is None and prompts.points is not None
        several = chosen == "best" or (chosen == "auto" and alone and prompts.points.shape[1] == 1)  # type: ignore[union-attr]
        logits = self._model.network.decode(embedding, prompts, multimask=several).best().cpu()
        found = {}
        for (place, (asked, crop, _)), one in zip(batch.items(), logits, strict=True):
            shape = (crop.bottom - crop.top, crop.right - crop.left)
            found[place] = Found(asked, crop, one, self._model.frame.back(one, shape).numpy())
        return found

    def _prompts(self, batch: Sequence[tuple[Asked, Crop, Found | None]]) -> SlicePrompts:
        """The prompts of a batch in the network's frame; all of them are of the same kinds."""
        frame, boxes, points, labels, masks = self._model.frame, [], [], [], []
        margin = self._model.settings.margin_px
        for asked, crop, before in batch:
            shape = (crop.bottom - crop.top, crop.right - crop.left)
            if asked.box is not None:
                moved = [e - o for e, o in zip(asked.box[1:], (crop.top, crop.left) * 2, strict=True)]
                left, top, right, bottom = frame.corners(shape, moved)
                boxes.append([left - margin, top - margin, right + margin, bottom + margin])
            if asked.dots:
                points.append([frame.point(shape, (d.row - crop.top, d.column - crop.left)) for d in asked.dots])
                labels.append([int(d.positive) for d in asked.dots])
            if asked.mask is not None:
                masks.append(self._rough(asked.mask[crop.top : crop.bottom, crop.left : crop.right]))
            elif before is not None:
                masks.append(before.logits)
        device = self._model.device
        return SlicePrompts(
            torch.tensor(boxes, dtype=torch.float32, device=device) if boxes else None,
            torch.tensor(points, dtype=torch.float32, device=device) if points else None,
            torch.tensor(labels, dtype=torch.int64, device=device) if labels else None,
            torch.stack(masks)[:, None].to(device) if masks else None,
        )

    def _rough(self, mask: NDArray[np.bool_]) -> Tensor:
        shown = self._model.frame.show_mask(torch.from_numpy(np.ascontiguousarray(mask))).float()
        network = self._model.network
        side = 4 * network.image_size // network.patch_size
        small = F.interpolate(shown[None, None], size=(side, side), mode="area")[0, 0]
        return (2 * small - 1) * MASK_LOGIT

    def _spread(self, name: str, found: dict[int, Found]) -> dict[Place, Found]:
        """Masks of one object on the slices between and beyond the prompted ones, each from its neighbour's mask."""
        prompted = sorted(found)
        reach = int(self._model.settings.reach_mm / self._axial.volume.spacing[0])
        spread: dict[Place, Found] = {}
        for number, index in enumerate(prompted):
            above = prompted[number + 1] if number + 1 < len(prompted) else None
            below = prompted[number - 1] if number else None
            # Between two prompted slices each of them goes as far as the middle.
            up = self._axial.volume.shape[0] - 1 if above is None else (index + above) // 2
            down = 0 if below is None else (below + index) // 2 + 1
            for step, last in ((1, min(up, index + reach)), (-1, max(down, index - reach))):
                spread |= self._followed(name, found[index], range(index + step, last + step, step))
        return {place: one for place, one in spread.items() if place.slice not in found}

    def _followed(self, name: str, before: Found, slices: range) -> dict[Place, Found]:
        followed: dict[Place, Found] = {}
        for index in slices:
            seen = before.probability > 0.5
            if np.count_nonzero(seen) < FEWEST_PIXELS:
                break
            place = Place(name, index)
            asked = Asked(index, **self._next(before, seen, index))
            [now] = self._looked({place: asked}, {}).values()
            if np.count_nonzero(now.probability > 0.5) > LARGEST_GROWTH * np.count_nonzero(seen):
                break
            followed[place] = before = replace(now, spread=True)
        return followed

    def _next(self, before: Found, seen: NDArray[np.bool_], index: int) -> dict[str, Any]:
        """The prompt on the next slice: the box round the mask, or the mask where no box is taken."""
        whole = np.zeros(self._axial.volume.shape[1:], bool)
        _, rows, columns = region(0, before.crop)
        whole[rows, columns] = seen
        extent = Asked(before.asked.slice, mask=whole).extent
        extent = extent._replace(slice=index)
        return {"box": extent} if "box" in self._model.info.prompts else {"mask": whole}

    def _painted(self) -> Volume:
        stored = np.zeros(self._image.shape, np.float32)
        probability = self._axial.turned(stored)
        for place, found in self.found.items():
            part = probability[region(place.slice, found.crop)]
            np.maximum(part, found.probability, out=part)
        return self._image.with_voxels(stored)


def region(index: int, crop: Crop) -> tuple[int, slice, slice]:
    """A part of a slice as the index of a volume."""
    return index, slice(crop.top, crop.bottom), slice(crop.left, crop.right)


def _holds(crop: Crop, extent: Rectangle, wanted: Crop) -> bool:
    """Whether a crop shows an extent with room round it, at the wanted magnification."""
    height, width = crop.bottom - crop.top, crop.right - crop.left
    if (height, width) != (wanted.bottom - wanted.top, wanted.right - wanted.left):
        return False
    room = (1 - LARGEST_SHARE) / 2
    down, across = room * height, room * width
    # At the border of the slice there is no room to ask for.
    return bool(
        (extent.top - down >= crop.top or crop.top == wanted.top)
        and (extent.bottom + down <= crop.bottom or crop.bottom == wanted.bottom)
        and (extent.left - across >= crop.left or crop.left == wanted.left)
        and (extent.right + across <= crop.right or crop.right == wanted.right)
    )


def _percentiles(image: Volume) -> tuple[float, float]:
    something = image.voxels[image.voxels != 0]
    if not something.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(something, (0.5, 99.5)))
    return (low, high) if low < high else (low, low + 1.0)
