"""Iterative prompt training: clicks on what the mask got wrong, round after round, each with a step of its own.

Cheng et al., SAM-Med2D, 2023 (arXiv 2308.16184), section 3.3; GTV-SAMGAN adds a term to the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import cc3d
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import Case
from oncoseg.contracts import Sample
from oncoseg.nn.losses import dice_linear, focal, mask_iou
from oncoseg.nn.sam import SlicePrompts
from oncoseg.promptable.frame import Frame, Placement
from oncoseg.promptable.options import require
from oncoseg.promptable.slices import region
from oncoseg.promptable.teaching import Taught, TaughtSliceModel, lesions_of
from oncoseg.promptable.vits import VitOptions


@dataclass(frozen=True)
class IteratedOptions(VitOptions):
    """Network and training of SAM-Med2D, and of what builds on it.

    Attributes:
        adapters: use the adapters of the image encoder; without them it is SAM's own.
        slice_range: minimum and maximum of what is shown become 0 and 255 before it is rounded to whole numbers.
        iterations: steps of correction behind the first one; in one of them and in the last there are no clicks.
        clicks: numbers of clicks of a correction, each equally likely.
        mask_num: masks of each image, drawn with replacement from the lesions it shows.
        focal, dice, iou: weights of the three parts of the loss.
    """

    FREE: ClassVar[frozenset[str]] = VitOptions.FREE | {"adapters"}

    masks: Literal["single", "best", "auto"] = "best"
    taught_with: Literal["box", "lesion box", "click", "box or click"] = "box or click"
    jitter: Literal["outward", "sides", "translate"] = "translate"
    image_size: int = 256
    adapters: bool = True
    slice_range: bool = False
    iterations: int = 8
    clicks: tuple[int, ...] = (1, 3, 5, 9)
    mask_num: int = 5
    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "iterations must not be negative": self.iterations >= 0,
                "clicks must be numbers of at least 1": bool(self.clicks) and min(self.clicks) >= 1,
                "mask_num must be at least 1": self.mask_num >= 1,
                "focal , dice and iou must not be negative": min(self.focal, self.dice, self.iou) >= 0,
            },
        )


@dataclass(frozen=True)
class PixelFrame(Frame):
    """SAM-Med2D's view: nearest pixels, ends of boxes behind the last pixel, zeros round what is smaller.

    What touches the size of the frame with one side fills it with both.

    Attributes:
        slice_range: minimum and maximum of what is shown become 0 and 1 before anything else.
    """

    slice_range: bool = False

    def placement(self, shape: Sequence[int]) -> Placement:
        """Where a part of (rows, columns) lies."""
        return Placement(0, 0, self.size, self.size) if max(shape) >= self.size else super().placement(shape)

    def show(self, grey: Tensor) -> Tensor:
        """Grey values (rows, columns) in [0, 1] as the network's input (3, size, size)."""
        if self.slice_range:
            low, high = grey.min(), grey.max()
            grey = (grey - low) / (high - low).clamp(min=1e-8)
        return super().show(grey)

    def show_mask(self, mask: Tensor) -> Tensor:
        """A mask (rows, columns) in the frame: uint8 (size, size), the pixels that `show` takes."""
        place = self.placement(mask.shape)
        small = F.interpolate(mask[None, None].float(), size=place[2:], mode="nearest")
        return self._padded(small, place)[0, 0].to(torch.uint8)

    def corners(self, shape: Sequence[int], rectangle: Sequence[float]) -> list[float]:
        """A half-open rectangle (top, left, bottom, right) of the part as (column, row, column, row), half open too."""
        left, top, right, bottom = super().corners(shape, rectangle)
        return [left, top, right + 1, bottom + 1]


def pixel_frame(options: IteratedOptions) -> PixelFrame:
    """The view that SAM-Med2D's weights were trained with, at the size of the options."""
    return PixelFrame(
        options.image_size,
        fit="centre",
        interpolation="nearest",
        whole=True,
        colours=True,
        slice_range=options.slice_range,
    )


class Guess(NamedTuple):
    """Masks that the network answered in one round, n of a batch; the best of its three for each prompt.

    Attributes:
        images: (n, 3, s, s), as shown.
        target: (n, s, s), 0 or 1.
        low: logits (n, s/4, s/4), which go back into the network in the next round.
        logits: the same at full size, (n, s, s).
        quality: (n,), the IoU that the network expects.
        number: of the round; 0 for the first prompt, in which the image encoder learns.
    """

    images: Tensor
    target: Tensor
    low: Tensor
    logits: Tensor
    quality: Tensor
    number: int


class IteratedSliceModel(TaughtSliceModel):
    """A network taught with a box or click and then with corrections of its own masks.

    A subclass changes `loss`, or `turns` where other parameters learn too.
    """

    settings: IteratedOptions

    def sample(self, case: Case, taught: Taught, rng: np.random.Generator) -> Sample:
        """One image with `mask_num` masks, each with a box and a click of its own.

        Returns:
            `image` float32 (3, size, size); `target` uint8 (masks, size, size); `box` float32 (masks, 4) corners
            (column, row, column, row); `point` float32 (masks, 2) a click (column, row); `label` int64 (masks,), 1,
            or 0 for a click on nothing where the frame's pixels miss the lesion. In pixels of the network's input.
        """
        rectangle = self.rectangle(taught)
        crop = self.crop(rectangle, case.image)
        _, rows, columns = part = region(taught.index, crop)
        shape = (crop.bottom - crop.top, crop.right - crop.left)
        moved = [edge - offset for edge, offset in zip(rectangle[1:], (crop.top, crop.left) * 2, strict=True)]
        drawn = self.frame.corners(shape, moved)
        masks = self._beside(case, taught) if self.settings.crop == "slice" else [taught.mask]
        inside = [self.frame.show_mask(torch.from_numpy(np.ascontiguousarray(m[rows, columns]))).numpy() for m in masks]
        prompted = [
            self._prompted(inside[n], drawn, rng) for n in rng.integers(len(inside), size=self.settings.mask_num)
        ]
        grey = np.array(case.image.voxels[part])  # prepared cases may be read-only
        columned = {name: np.stack([one[name] for one in prompted]) for name in prompted[0]}
        return {"image": self.frame.show(torch.from_numpy(grey)).numpy(), **columned}

    def jittered(self, box: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Corners displaced; `translate` by whole pixels and at most half of the shorter side, as published."""
        if self.settings.jitter != "translate":
            return super().jittered(box, rng)
        most = int(min(self.settings.jitter_px, 0.5 * min(box[2] - box[0], box[3] - box[1])))
        shift = rng.integers(-most, most, 2) if most else np.zeros(2)
        moved: NDArray[np.float64] = box + np.tile(shift, 2)
        return moved

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The loss of every round; the step of each is made before the next round."""
        for guess in self.guesses(batch):
            yield from self.turns(guess)

    def turns(self, guess: Guess) -> Iterator[tuple[str, Tensor]]:
        """What is descended for one round."""
        yield "network", self.loss(guess)

    def loss(self, guess: Guess) -> Tensor:
        """Weighted focal loss, Dice and error of the expected IoU, each of the whole batch."""
        logits, chosen = guess.logits[:, None], self.settings
        parts = focal(logits, guess.target), dice_linear(logits, guess.target)
        error = mask_iou(logits, guess.target, guess.quality)
        return chosen.focal * parts[0] + chosen.dice * parts[1] + chosen.iou * error

    def guesses(self, batch: dict[str, Tensor]) -> Iterator[Guess]:
        """Round by round what the network answers; it may have learnt between them.

        From the second round on image encoder and prompt encoder get no gradients.
        """
        # A generator of its own: every round has other clicks, whatever is seeded between the turns.
        chance = torch.Generator().manual_seed(int(torch.randint(2**31 - 1, ())))
        flat = {name: values.flatten(0, 1) for name, values in batch.items() if name != "image"}
        images = batch["image"].repeat_interleave(self.settings.mask_num, dim=0)
        embedding = self.embed(batch["image"]).repeat_interleave(self.settings.mask_num, dim=0)
        guess = self._guess(embedding, self.prompted(flat), images, flat["target"], 0)
        yield guess
        embedding, last = embedding.detach(), self.settings.iterations
        without_clicks = {last, int(torch.randint(2, last, (), generator=chance)) if last > 2 else last}
        for number in range(1, last + 1):
            prompts = SlicePrompts(masks=guess.low.detach()[:, None])
            if number not in without_clicks:
                count = self.settings.clicks[int(torch.randint(len(self.settings.clicks), (), generator=chance))]
                points, labels = error_clicks(guess.logits.detach() > 0, guess.target, count, chance)
                prompts = prompts._replace(points=points, labels=labels)
            with frozen(self.network.prompt_encoder):
                guess = self._guess(embedding, prompts, images, guess.target, number)
            yield guess

    def prompted(self, batch: dict[str, Tensor]) -> SlicePrompts:
        """The prompts of a batch: all boxes or all clicks, as the options say."""
        prompts = super().prompted(batch)
        return prompts if prompts.points is None else prompts._replace(labels=batch["label"][:, None])

    def _guess(self, embedding: Tensor, prompts: SlicePrompts, images: Tensor, target: Tensor, number: int) -> Guess:
        answer = self.network.decode(embedding, prompts, multimask=self.settings.masks == "best")
        low = answer.best()
        whole = F.interpolate(low[:, None].float(), size=target.shape[1:], mode="bilinear")[:, 0]
        return Guess(images, target, low, whole, answer.quality.max(dim=1).values, number)

    def _beside(self, case: Case, taught: Taught) -> list[NDArray[np.bool_]]:
        """Every lesion of the slice as a mask of it."""
        found = []
        for start, stop, voxels in lesions_of(case):
            if start[0] <= taught.index < stop[0] and voxels[taught.index - start[0]].any():
                mask = np.zeros(case.image.shape[1:], bool)
                mask[start[1] : stop[1], start[2] : stop[2]] = voxels[taught.index - start[0]]
                found.append(mask)
        return found

    def _prompted(self, target: NDArray[np.uint8], drawn: Sequence[float], rng: np.random.Generator) -> dict[str, Any]:
        """A mask in the frame with its box and click; `drawn` is the box where the mask has none."""
        box, found = np.asarray(drawn), bool(target.any())
        if found and self.settings.taught_with != "lesion box":
            box = _largest_box(target)
        places = np.argwhere(target if found else target == 0)
        row, column = places[int(rng.random() * len(places))]
        return {
            "target": target,
            "box": self.jittered(box, rng).astype(np.float32),
            "point": np.array([column, row], np.float32),
            "label": np.int64(found),
        }


def error_clicks(found: Tensor, target: Tensor, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clicks on wrong pixels, drawn with replacement, each equally likely.

    Args:
        found: masks (n, s, s), bool.
        target: what they should be, (n, s, s), 0 or 1.
        count: clicks on each.
        chance: a generator on the CPU.

    Returns:
        Places (n, count, 2) float32 (column, row), and labels (n, count) int64: 1 where the mask lacks something, 0
        where it has too much; -1, which does not count, anywhere on a mask without an error.
    """
    wanted = target.bool()
    wrong = (found != wanted).flatten(1).cpu()
    none = ~wrong.any(dim=1, keepdim=True)
    drawn = torch.multinomial((wrong | none).float(), count, replacement=True, generator=chance)
    labels = torch.where(none, -1, wanted.flatten(1).cpu().gather(1, drawn).long())
    points = torch.stack([drawn % target.shape[2], drawn // target.shape[2]], dim=-1).float()
    return points.to(target.device), labels.to(target.device)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside the block what the module computes has no gradients for its parameters."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _largest_box(target: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Corners (column, row, column, row), half open, round the largest 8-connected part of a mask."""
    labels = cc3d.connected_components(np.ascontiguousarray(target), connectivity=8)
    statistics = cc3d.statistics(labels)
    number = 1 + int(np.argmax(statistics["voxel_counts"][1:]))
    rows, columns = statistics["bounding_boxes"][number]
    return np.array([columns.start, rows.start, columns.stop, rows.stop], np.float64)
