"""What prompt-free models share: their options, parameters, loss and the way from classes to a probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import TUMOUR, Case
from oncoseg.config import plain
from oncoseg.contracts import ModelInfo
from oncoseg.dense.computing import Computing
from oncoseg.dense.given import filled, informed, joined, pasted, simulated, widened
from oncoseg.dense.options import DenseOptions
from oncoseg.dense.preparing import axial, prepared
from oncoseg.errors import ConfigError
from oncoseg.inference.accept import accept
from oncoseg.inference.slices import axial_view
from oncoseg.nn.losses import class_probabilities, weighted_loss
from oncoseg.nn.shapes import nearest_size
from oncoseg.preprocess.resample import restore_probability
from oncoseg.prompt import Box, Prompt
from oncoseg.volume import Volume


class DenseModel:
    """A network with its preprocessing; `SliceModel` and `PatchModel` say how a volume goes through it.

    Args:
        info: of the variant.
        options: of preprocessing, sampling and network.
        network: (batch, channels, ...) to logits (batch, outputs, ...) of the same size; in training mode it may
            give a list of them, finest first. Its attribute `multiple` says what sizes must divide by.
    """

    def __init__(self, info: ModelInfo, options: DenseOptions, network: nn.Module) -> None:
        self.info = informed(info, options.given)
        self.settings = options
        self.network = network
        self.computing = Computing(network, options.compute)
        self.noted: list[str] = []

    @property
    def told(self) -> list[str]:
        """What reports repeat about how predictions were computed."""
        return [*self.computing.told, *self.noted]

    @property
    def classes(self) -> tuple[str, ...]:
        """What the model tells apart, as masks of a case are named; class 1 is the first."""
        return self.settings.classes

    def options(self) -> dict[str, Any]:
        """Everything `build` needs to make this model again, as plain data."""
        chosen: dict[str, Any] = plain(self.settings)
        return chosen

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """One group, `network`, with every parameter."""
        return {"network": self.network.parameters()}

    def losses(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """One loss for the whole network: the weighted sum of the options, over every depth."""
        outputs = self.network(self.laid_out(batch["image"]))
        chosen = self.settings
        yield "network", weighted_loss(outputs, batch["classes"], chosen.losses, depth_weights=chosen.depth_weights)

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour, float32 in [0, 1], on the grid of `image`.

        Raises:
            InputError: for a prompt (it takes none), or voxels that are not finite. With boxes as its option `given`
                says: without one, for another prompt, or one that leaves the image.
        """
        wanted = 1 + self.classes.index(TUMOUR)
        return self._restored(image, prompts, [wanted])[0]

    def predict_labels(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Class of every voxel, uint8 on the grid of `image`: 0 background, then as `classes` counts.

        The class of highest probability, where that of the background is what the others leave.

        Raises:
            InputError: as `predict`.
        """
        numbers = list(range(1, 1 + len(self.classes)))
        probabilities = self._restored(image, prompts, numbers)
        left = 1 - np.sum([p.voxels for p in probabilities], axis=0)
        labels = np.zeros(image.shape, np.uint8)
        best = left
        for number, probability in zip(numbers, probabilities, strict=True):
            higher = probability.voxels > best
            labels[higher] = number
            best = np.where(higher, probability.voxels, best)
        return image.with_voxels(labels)

    def validation_prompts(self, case: Case) -> list[Prompt]:
        """Exact boxes from the tumour of a case where the model is given boxes; none otherwise, or without tumour."""
        if self.settings.given == "nothing":
            return []
        return [*simulated(case, self.settings.box_per, 0.0, np.random.default_rng(0))]

    def on_grid(self, image: Volume, wanted: Sequence[int], boxes: Volume | None = None) -> list[Volume]:
        """Probabilities of classes, each on a grid of the model's choice that covers the axial `image`.

        Args:
            image: HU, axial.
            wanted: numbers of classes, from 1.
            boxes: bool, where boxes lie on `image`, for a network that is given them as a channel.
        """
        raise TypeError(f"{type(self).__name__} does not say how a volume goes through the network.")

    def laid_out(self, x: Tensor) -> Tensor:
        """A batch in the memory layout that the network computes fastest in."""
        return x

    def _restored(self, image: Volume, prompts: Sequence[Prompt], wanted: Sequence[int]) -> list[Volume]:
        accept(self.info, image, prompts)
        view = axial_view(image)
        boxes = [view.box(prompt) for prompt in prompts if isinstance(prompt, Box)]
        with evaluating(self.network), torch.inference_mode():
            found = self._looked(view.volume, boxes, wanted)
        return [image.with_voxels(view.restore(voxels)) for voxels in found]

    def _looked(self, image: Volume, boxes: list[Box], wanted: Sequence[int]) -> list[NDArray[np.float32]]:
        """Probabilities of classes on the grid of an axial image, with what the model is given."""
        chosen, through = self.settings, self.info.dimension == "3d"

        def look(part: Volume, inside: Volume | None = None) -> list[NDArray[np.float32]]:
            return [restore_probability(p, part).voxels for p in self.on_grid(part, wanted, inside)]

        if chosen.given == "nothing":
            return look(image)
        regions = joined(boxes) if through else boxes
        regions = [widened(box, image, chosen.box_margin_mm, through=through) for box in regions]
        if chosen.given == "box crop":
            return pasted(image, regions, look, len(wanted))
        found = look(image, image.with_voxels(filled(boxes, (0, 0, 0), image.shape)))
        held = np.zeros(len(image.voxels), bool)
        for box in regions:
            held[box.start[0] : box.stop[0]] = True
        for number, voxels in zip(wanted, found, strict=True):
            if self.classes[number - 1] == TUMOUR:
                voxels[~held] = 0
        return found

    def cut_out(self, case: Case, rng: np.random.Generator) -> Case | None:
        """The part of an axial case that a `box crop` shows, as the network sees it; None without tumour."""
        chosen, through = self.settings, self.info.dimension == "3d"
        boxes = simulated(case, chosen.box_per, chosen.box_jitter_mm, rng)
        boxes = joined(boxes) if through else boxes
        if not boxes:
            return None
        box = widened(boxes[int(rng.random() * len(boxes))], case.image, chosen.box_margin_mm, through=through)
        masks = {name: case.mask(name).crop(box.start, box.stop) for name in chosen.classes}
        image = case.image.crop(box.start, box.stop)
        return prepared(Case(case.name, case.patient, image, masks), self.grid(image), chosen)

    def prepare(self, case: Case) -> Case:
        """The case as `samples` wants it: axial, and on the network's grid with float32 grey values.

        What a `box crop` shows depends on the box, so its cases are turned only.
        """
        turned = axial(case)
        return turned if self.settings.given == "box crop" else prepared(turned, self.grid(turned.image), self.settings)

    def grid(self, image: Volume) -> Volume:
        """The grid on which the network sees an axial image."""
        raise TypeError(f"{type(self).__name__} has no grid.")

    def parts(self, case: Case, rng: np.random.Generator) -> tuple[Case | None, list[Box]]:
        """What a sample of a prepared case is taken from, None where there is nothing, and the boxes for its channel.

        No random number is drawn where nothing is given.
        """
        chosen = self.settings
        if chosen.given == "box crop":
            return self.cut_out(case, rng), []
        boxes = simulated(case, chosen.box_per, chosen.box_jitter_mm, rng) if chosen.given == "box channel" else []
        return case, boxes

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def probabilities(self, logits: Tensor, wanted: Sequence[int]) -> Tensor:
        """Probabilities (batch, len(wanted), ...), float32, of class numbers that count from 1."""
        return class_probabilities(logits)[:, [number - 1 for number in wanted]]


def require_patch(name: str, patch: Sequence[int], multiple: int | Sequence[int]) -> None:
    """Raise unless the network divides the patch.

    Raises:
        ConfigError: with the nearest patch that it does.
    """
    steps = [multiple] * len(patch) if isinstance(multiple, int) else list(multiple)
    nearest = nearest_size(patch, steps)
    if tuple(patch) != nearest:
        shown, held, step = (v[0] if len(set(v)) == 1 else list(v) for v in (nearest, tuple(patch), steps))
        raise ConfigError(f"model {name}: patch must be a multiple of {step}; got {held}. The nearest is {shown}.")


def flips(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of axes to flip, the empty one first.

    Example:
        >>> flips((2, 3))
        [(), (2,), (3,), (2, 3)]
    """
    return [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards in the mode it was in."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
