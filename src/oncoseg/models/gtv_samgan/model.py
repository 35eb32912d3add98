"""GTV-SAMGAN: SAM-Med2D in a fixed window, and a critic of its masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oncoseg.case import TUMOUR, Case
from oncoseg.config import fill
from oncoseg.contracts import ModelInfo, Sample
from oncoseg.inference.rectangles import Crop, Rectangle
from oncoseg.inference.slices import axial_view
from oncoseg.models.gtv_samgan.discriminator import Discriminator, discriminator_loss, mean_loss
from oncoseg.models.gtv_samgan.options import Options
from oncoseg.nn.losses import dice_linear, focal, mask_iou
from oncoseg.nn.sam import Sam
from oncoseg.nn.sam_adapters import sam_med2d
from oncoseg.preprocess.fixed_window import Window, following, inside, square, union_window
from oncoseg.preprocess.lungs import lungs, reject_reason
from oncoseg.promptable.iterating import Guess, IteratedSliceModel, PixelFrame, pixel_frame
from oncoseg.volume import Volume

_LUNGS = "lung window"
_MOVED = "On slices whose prompt left the window, the window was moved to hold it."


class WindowFrame(PixelFrame):
    """SAM-Med2D's view of a window; what is asked about outside of it is asked at its border."""

    def corners(self, shape: Sequence[int], rectangle: Sequence[float]) -> list[float]:
        """As in `PixelFrame`, inside the window."""
        place = self.placement(shape)
        left, top, right, bottom = super().corners(shape, rectangle)
        columns, rows = place.left + place.columns, place.top + place.rows
        return [
            min(max(left, place.left), columns - 1),
            min(max(top, place.top), rows - 1),
            max(min(right, columns), place.left + 1),
            max(min(bottom, rows), place.top + 1),
        ]


class GtvSamgan(IteratedSliceModel):
    """The generator predicts; the discriminator is there for training alone.

    The network is a SAM-Med2D with the discriminator as its part `discriminator`; without `gan` it has none.
    """

    settings: Options

    def __init__(self, info: ModelInfo, options: Options, network: Sam) -> None:
        shown = pixel_frame(options)
        frame = WindowFrame(**{field.name: getattr(shown, field.name) for field in fields(shown)})
        super().__init__(info, options, network, frame)
        self._watched: dict[str, float] = {}
        self._windows: WeakKeyDictionary[Volume, Window] = WeakKeyDictionary()

    @property
    def discriminator(self) -> Discriminator | None:
        """The critic; None without `gan`."""
        found: Discriminator | None = getattr(self.network, "discriminator", None)
        return found

    @property
    def watched(self) -> Mapping[str, float]:
        """Of the first answer of the newest step: parts of the loss, mean judgement of real and of predicted masks."""
        return self._watched

    def survey(self, training: Iterable[Case]) -> dict[str, Any]:
        """The window round the tumours of the training cases, where the options ask for it.

        Raises:
            InputError: when no case holds tumour, or their slices differ in shape.
        """
        chosen = self.settings
        if chosen.crop != "training":
            return {}
        masks = ((case.name, axial_view(case.mask(TUMOUR)).volume.voxels) for case in training)
        found = union_window(masks, smallest=chosen.crop_smallest, margin=chosen.crop_margin)
        return {"crop": list(chosen.as_option(found.window)), "crop_on": list(found.shape)}

    def take(self, found: Mapping[str, Any]) -> None:
        """Show the window that was found from now on."""
        self.settings = fill(Options, {**self.options(), **found}, f"model {self.info.full_name}")

    def prepare(self, case: Case) -> Case:
        """As of every prompted model; a window round the lungs is found here, on HU, and becomes a fact of the case."""
        prepared = super().prepare(case)
        if self.settings.crop != "lungs":
            return prepared
        window = self._round_lungs(axial_view(case.image).volume)
        return replace(prepared, facts={**prepared.facts, _LUNGS: ",".join(map(str, window))})

    def samples(self, case: Case, rng: np.random.Generator) -> Iterator[Sample]:
        """As of SAM-Med2D, in the window."""
        if _LUNGS in case.facts:
            self._windows[case.image] = Window(*(int(edge) for edge in str(case.facts[_LUNGS]).split(",")))
        return super().samples(case, rng)

    def crop(self, extent: Rectangle, image: Volume) -> Crop:
        """The window of an axial image, moved where a prompt leaves it; along an axis it is too short on it stays."""
        window = self.window(image)
        moved = following(window, extent[1:3], extent[3:5], image.shape[1:])
        if moved != window:
            self._tell(_MOVED)
        return Crop(*moved)

    def window(self, image: Volume) -> Window:
        """The window of an axial image; all of its slices until one is known."""
        shape, chosen = image.shape[1:], self.settings
        whole = Window(0, 0, *shape)
        if chosen.crop == "lungs":
            if image not in self._windows:
                self._windows[image] = self._round_lungs(image)
            return self._windows[image]
        if chosen.fixed is None:
            if chosen.crop == "training":
                self._tell("No training has found a window yet: whole slices were shown.")
            return whole
        told = "{}, {}, {}, {}".format(*chosen.as_option(chosen.fixed))
        named = f" ({chosen.crop}, published)" if isinstance(chosen.crop, str) else ""
        self._tell(f"The fixed window is [{told}] in the order {chosen.crop_order}{named}.")
        if chosen.crop_on is not None and shape != chosen.crop_on:
            rows, columns = chosen.crop_on
            self._tell(f"The window was found on slices of {rows} x {columns} pixels, and used on some of other size.")
        return inside(chosen.fixed, shape)

    def window_on(self, image: Volume) -> NDArray[np.bool_] | None:
        """Voxels of the window, before any prompt moves it; None without one."""
        if self.settings.crop == "slice":
            return None
        view = axial_view(image)
        return view.restore(self.window(view.volume).mask(view.volume.shape))

    def turns(self, guess: Guess) -> Iterator[tuple[str, Tensor]]:
        """First the discriminator learns from the first answer, then the generator from every answer."""
        if guess.number == 0 and self.discriminator is not None:
            judged = self.discriminator
            real, fake = judged(guess.target.float()), judged(guess.logits.detach().sigmoid())
            self._watched = {"judged real": real.mean().item(), "judged predicted": fake.mean().item()}
            yield "discriminator", discriminator_loss(real, fake)
        yield "generator", self.loss(guess)

    def loss(self, guess: Guess) -> Tensor:
        """Weighted focal loss, Dice, error of the expected IoU and, where the critic takes part, `mean_loss`."""
        logits, chosen = guess.logits[:, None], self.settings
        parts = {
            "focal loss": (chosen.focal, focal(logits, guess.target)),
            "Dice loss": (chosen.dice, dice_linear(logits, guess.target)),
            "IoU loss": (chosen.iou, mask_iou(logits, guess.target, guess.quality)),
        }
        if self.discriminator is not None and (guess.number == 0 or chosen.gan_in_iterations):
            parts["mean loss"] = (chosen.adversarial, mean_loss(self.discriminator(guess.logits.sigmoid())))
        if guess.number == 0:
            self._watched |= {name: part.item() for name, (_, part) in parts.items()}
        return torch.stack([weight * part for weight, part in parts.values()]).sum()

    def parameter_groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """`generator`: what learns of SAM-Med2D; `discriminator`, where there is one."""
        critic = [] if self.discriminator is None else list(self.discriminator.parameters())
        known = {id(parameter) for parameter in critic}
        rest = (p for p in self.network.parameters() if p.requires_grad and id(p) not in known)
        return {"generator": rest, **({"discriminator": iter(critic)} if critic else {})}

    def _round_lungs(self, image: Volume) -> Window:
        shape, found, chosen = image.shape[1:], lungs(image), self.settings
        reason = reject_reason(found)
        flat = (found.right.voxels | found.left.voxels).any(axis=0)
        if reason is not None or not flat.any():
            self._tell(f"Whole slices were shown in place of a window round the lungs: {reason}.")
            return Window(0, 0, *shape)
        rows, columns = (np.flatnonzero(flat.any(axis=axis)) for axis in (1, 0))
        low = [int(held[0]) - chosen.crop_margin for held in (rows, columns)]
        high = [int(held[-1]) + 1 + chosen.crop_margin for held in (rows, columns)]
        return square(low, high, shape, smallest=chosen.crop_smallest)

    def _tell(self, sentence: str) -> None:
        if sentence not in self.noted:
            self.noted.append(sentence)


def network_of(options: Options) -> Sam:
    """The generator, with the discriminator as a part of it where it takes part in training."""
    network = sam_med2d(options.size, image_size=options.image_size, adapters=options.adapters)
    if options.gan:
        network.add_module("discriminator", Discriminator(options.image_size, last_leaky=options.last_leaky))
    return network
