"""Networks that follow an object through the slices of a volume as through a video."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oncoseg.config import plain
from oncoseg.contracts import ModelInfo
from oncoseg.inference.accept import accept
from oncoseg.inference.slices import AxialView, axial_view
from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam2.memory import MemoryBank
from oncoseg.nn.sam2.network import SCALE, SHIFT, Decoded, Features, Sam2
from oncoseg.nn.sam2.tracking import Track
from oncoseg.preprocess.window import window
from oncoseg.prompt import Prompt
from oncoseg.promptable.frame import Frame
from oncoseg.promptable.objects import Asked, objects
from oncoseg.promptable.options import WINDOWS
from oncoseg.promptable.stepping import Stepping
from oncoseg.promptable.video_options import VideoOptions
from oncoseg.promptable.video_prompts import Wanted, wanted
from oncoseg.volume import Volume

#: Logits of an earlier mask go no further when they are shown again.
MOST = 32.0


def video_frame(image_size: int) -> Frame:
    """How SAM 2's heirs look at a slice: 8-bit grey values squashed to a square and normalised as natural images."""
    return Frame(image_size, fit="squash", interpolation="bicubic", antialias=True, whole=True, colours=True)


@dataclass(frozen=True, eq=False)
class Found:
    """What is known about one object.

    Attributes:
        wanted: what it was asked with.
        answers: the network's answer on every slice that it was looked for on.
    """

    wanted: Wanted
    answers: Mapping[int, Decoded]


class VideoModel:
    """A SAM 2 with its preprocessing; a model's room adds its memory and its losses.

    Args:
        info: of the variant.
        options: how slices become a video.
        network: SAM 2.
        bank: makes an empty memory for one object.
    """

    def __init__(self, info: ModelInfo, options: VideoOptions, network: Sam2, bank: Callable[[], MemoryBank]) -> None:
        self.info, self.settings, self.network, self.bank = info, options, network, bank
        self.frame = video_frame(options.image_size)
        #: What the user should know of the weights.
        self.noted: list[str] = []

    @property
    def told(self) -> Sequence[str]:
        """What reports repeat about the weights and how predictions were computed."""
        return self.noted

    def options(self) -> dict[str, Any]:
        """Everything `build` needs to make this model again, as plain data."""
        chosen: dict[str, Any] = plain(self.settings)
        return chosen

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour on the grid of `image`; zero where no object was followed to.

        Slices are axial whatever the order of the stored axes. Where objects overlap, the larger probability counts.

        Raises:
            InputError: without a prompt, with one of a type the model does not take, or one that leaves the image.
        """
        accept(self.info, image, prompts)
        return VideoSession(self, image).all(prompts)

    def session(self, image: Volume) -> VideoSession:
        """Start prompting one image; every slice is embedded once.

        Raises:
            InputError: for voxels that are not finite numbers.
        """
        accept(replace(self.info, prompts=()), image, ())
        return VideoSession(self, image)

    def grey(self, voxels: NDArray[Any]) -> NDArray[np.float32]:
        """Voxels as grey values in [0, 1]."""
        chosen = self.settings.window
        low, high = chosen if isinstance(chosen, tuple) else WINDOWS[chosen]
        return window(voxels, low, high)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device


class VideoSession(Stepping[dict[str, Found]]):
    """One image prompted step by step; `add` follows only the objects that the new prompt concerns.

    Args:
        model: answers.
        image: to segment.
        view: its slices in another direction than the axial one.
    """

    def __init__(self, model: VideoModel, image: Volume, view: AxialView | None = None) -> None:
        super().__init__(model, image, {})
        self._model = model
        self._view = view or axial_view(image)
        self._embeddings: OrderedDict[int, Features] = OrderedDict()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        _, rows, columns = self._view.volume.shape
        return rows, columns

    @torch.no_grad()
    def _answered(self, prompts: Sequence[Prompt], known: Mapping[str, Found]) -> dict[str, Found]:
        """Every object, as far as nothing new is said about it the way it was found before."""
        turned = [self._view.prompt(prompt) for prompt in prompts]
        asked = {
            name: wanted(own, self._view.volume.shape[0], thick=self._model.settings.thick_box)
            for name, own in objects(turned).items()
        }
        self._model.network.eval()
        found: dict[str, Found] = {}
        for name, each in asked.items():
            before = known.get(name)
            if before is not None and each.same(before.wanted):
                found[name] = before
            elif each.starts or (before is not None and before.answers):
                found[name] = _Following(self, each, before if self._model.settings.feed else None).found()
        return found

    def _painted(self) -> Volume:
        stored = np.zeros(self._image.shape, np.float32)
        probability = self._view.turned(stored)
        for found in self.found.values():
            for index, decoded in found.answers.items():
                if is_there(decoded):
                    seen = self._model.frame.back(decoded.logits[0, 0].float(), self.shape).cpu().numpy()
                    np.maximum(probability[index], seen, out=probability[index])
        return self._image.with_voxels(stored)

    def features(self, index: int, others: Sequence[int] = ()) -> Features:
        """Embedding of a slice; `others` will be asked for next and are embedded with it where slices go in batches."""
        if index not in self._embeddings:
            new = [index, *(n for n in others if n not in self._embeddings)][: self._model.settings.batch]
            self._embed(new)
        self._embeddings.move_to_end(index)
        return self._embeddings[index].to(torch.float32)

    def _embed(self, indices: Sequence[int]) -> None:
        model = self._model
        parts = [model.grey(self._view.volume.voxels[index]) for index in indices]
        images = torch.stack([model.frame.show(torch.from_numpy(np.ascontiguousarray(part))) for part in parts])
        embedded = model.network.embed(images.to(model.device))
        for number, index in enumerate(indices):
            features = embedded.of(number)
            self._embeddings[index] = features.to(torch.float16) if model.settings.half else features
        room = max(1, int(model.settings.keep_megabytes * 1e6 / features.bytes))
        while len(self._embeddings) > max(room, len(indices)):
            self._embeddings.popitem(last=False)

    def given(self, asked: Asked, before: Tensor | None) -> SlicePrompts:
        """What is said on a slice, in pixels of the network's input.

        Args:
            asked: in voxels.
            before: logits (1, 1, s/4, s/4) of an earlier mask.
        """
        frame, device = self._model.frame, self._model.device
        box = None if asked.box is None else frame.corners(self.shape, asked.box[1:])
        dots = [frame.point(self.shape, (dot.row, dot.column)) for dot in asked.dots]
        mask = before
        if asked.mask is not None:
            rough = self.mask(asked) * SCALE + SHIFT
            side = self._model.settings.image_size // 4
            mask = F.interpolate(rough, size=(side, side), mode="bilinear", antialias=True)
        return SlicePrompts(
            None if box is None else torch.tensor([box], dtype=torch.float32, device=device),
            torch.tensor([dots], dtype=torch.float32, device=device) if dots else None,
            torch.tensor([[int(dot.positive) for dot in asked.dots]], device=device) if dots else None,
            mask,
        )

    def mask(self, asked: Asked) -> Tensor:
        """The mask that is said on a slice, (1, 1, s, s) of 0 and 1; empty where the object is said to be absent."""
        drawn = np.zeros(self.shape, bool) if asked.mask is None else asked.mask
        shown = self._model.frame.show_mask(torch.from_numpy(np.ascontiguousarray(drawn)))
        return shown[None, None].float().to(self._model.device)

    def track(self) -> Track:
        """An object that nothing is known about yet."""
        network, slices = self._model.network, self._view.volume.shape[0]
        return Track(network, self._model.bank(), self.features, frames=slices)

    def reach(self, each: Wanted) -> range:
        """The slices on which an object is looked for."""
        most = int(self._model.settings.reach_mm / self._view.volume.spacing[0])
        prompted = sorted(each.asked)
        low, high = max(0, prompted[0] - most), min(self._view.volume.shape[0], prompted[-1] + most + 1)
        if each.within is not None:
            low = max(low, min(each.within.start, prompted[0]))
            high = min(high, max(each.within.stop, prompted[-1] + 1))
        return range(low, high)

    @property
    def settings(self) -> VideoOptions:
        """Of the model."""
        return self._model.settings


@dataclass(eq=False)
class _Following:
    """One object on its way through the slices of a session."""

    session: VideoSession
    wanted: Wanted
    before: Found | None
    answers: dict[int, Decoded] = field(default_factory=dict)

    def found(self) -> Found:
        """Prompted slices first, then what corrects followed ones, then the others, up and down from all of these."""
        track = self.session.track()
        corrected = self._corrected()
        for index, asked in self.wanted.starts.items():
            if index not in corrected:
                self.answers[index] = self._prompted(track, index, asked)
        if corrected:
            self._correct(track, corrected)
        if self.answers:
            self._followed(track)
        return Found(self.wanted, dict(sorted(self.answers.items())))

    def _corrected(self) -> dict[int, Asked]:
        """What is said on slices that were, or first must be, followed: what points away, and new clicks on a mask."""
        starts, before = self.wanted.starts, self.before
        later = {n: asked for n, asked in self.wanted.asked.items() if n not in starts}
        if before is not None:
            on_masks = {n: a for n, a in starts.items() if n in before.answers and n not in before.wanted.starts}
            if len(on_masks) < len(starts):
                later |= on_masks
        return dict(sorted(later.items()))

    def _correct(self, track: Track, corrected: Mapping[int, Asked]) -> None:
        masks = dict(self.before.answers) if self.before else {}
        if self.answers and any(index not in masks for index in corrected):
            prompted = dict(self.answers)
            self._followed(track)
            masks, self.answers = self.answers | masks, prompted
            track.afresh()
        for index, asked in corrected.items():
            if self._same(index, asked):
                self.answers[index] = self._again(track, index)
            elif index in masks:
                prompts = self.session.given(asked, masks[index].logits.clamp(-MOST, MOST))
                self.answers[index] = slim(track.prompt(index, prompts, initial=not self.answers))

    def _prompted(self, track: Track, index: int, asked: Asked) -> Decoded:
        if index in self.wanted.absent or (asked.mask is not None and asked.box is None and not asked.dots):
            return slim(track.give(index, self.session.mask(asked)))
        if self._same(index, asked):
            return self._again(track, index)
        known = self.before.answers.get(index) if self.before else None
        logits = None if known is None else known.logits.clamp(-MOST, MOST)
        return slim(track.prompt(index, self.session.given(asked, logits)))

    def _same(self, index: int, asked: Asked) -> bool:
        """Whether nothing new is said on a slice that was answered before."""
        before = self.before
        return before is not None and index in before.answers and asked.same(before.wanted.asked.get(index))

    def _again(self, track: Track, index: int) -> Decoded:
        known = self.before.answers[index] if self.before else self.answers[index]
        track.again(index, known)
        return known

    def _followed(self, track: Track) -> None:
        """Up from the lowest prompted slice and down from it, each until the object is gone."""
        prompted = sorted(self.answers)
        reach = self.session.reach(self.wanted)
        self._run(track, range(prompted[0] + 1, reach.stop), last=prompted[-1], backwards=False)
        if self.session.settings.fresh:
            track.afresh()
        self._run(track, range(prompted[0] - 1, reach.start - 1, -1), last=prompted[0], backwards=True)

    def _run(self, track: Track, slices: range, *, last: int, backwards: bool) -> None:
        gone = 0
        for place, index in enumerate(slices):
            if index in self.wanted.asked and index in self.answers:
                gone = 0
                continue
            self.session.features(index, slices[place + 1 : place + self.session.settings.batch])
            self.answers[index] = decoded = slim(track.follow(index, backwards=backwards))
            gone = 0 if is_there(decoded) else gone + 1
            beyond = index < last if backwards else index > last
            if beyond and gone >= self.session.settings.absent_slices:
                break


def slim(decoded: Decoded) -> Decoded:
    """An answer without the masks that were not chosen, which take most of its memory."""
    return decoded._replace(all_logits=decoded.logits, all_quality=decoded.quality[:, None])


def is_there(decoded: Decoded) -> bool:
    """Whether an answer has a mask: the object is seen, and some pixel is inside."""
    return bool((decoded.logits > 0).any())
