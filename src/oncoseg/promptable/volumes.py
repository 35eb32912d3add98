"""Networks prompted with clicks in volumes: cubes, embeddings that are reused, rounds of correction, and masks back."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oncoseg.config import plain
from oncoseg.contracts import ModelInfo
from oncoseg.errors import InputError
from oncoseg.inference.accept import accept
from oncoseg.nn.sam3d.network import Answer, Sam3d
from oncoseg.nn.sam3d.prompts import VolumePrompts
from oncoseg.prompt import Click, Index, Prompt
from oncoseg.promptable.volume_grid import Start, WorkingGrid
from oncoseg.promptable.volume_options import VolumeOptions
from oncoseg.volume import Volume


class Dot(NamedTuple):
    """A click on the working grid."""

    voxel: Index
    positive: bool


@dataclass(frozen=True, eq=False)
class Part:
    """What is known of one object in one cube.

    Attributes:
        start: first voxel of the cube.
        dots: clicks in the order they were given.
        logits: the newest mask, (1, 1, 4 s/p, 4 s/p, 4 s/p).
        carried: the embedding that the next round decodes; None for that of the cube.
    """

    start: Start
    dots: tuple[Dot, ...]
    logits: Tensor
    carried: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """A session after a prompt: all prompts, and the cubes of each object."""

    prompts: tuple[Prompt, ...] = ()
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)


class VolumeModel:
    """A network prompted in volumes with its preprocessing; a model's room adds its options and recipes.

    Args:
        info: of the variant.
        options: how volumes and clicks are shown.
        network: embeds cubes and answers clicks.
    """

    def __init__(self, info: ModelInfo, options: VolumeOptions, network: Sam3d) -> None:
        self.info, self.settings, self.network = info, options, network
        #: What the user should know of the weights, and of predictions so far.
        self.noted: list[str] = []

    @property
    def told(self) -> list[str]:
        """What reports repeat about the weights and how predictions were computed."""
        chosen = self.settings
        if chosen.crop != "sliding":
            return list(self.noted)
        return [
            f"Cubes of {chosen.image_size} voxels slide by half of that, one at a time, at most {chosen.tiles} for an "
            f"object; up to {chosen.keep_megabytes} MB of embeddings are kept.",
            *self.noted,
        ]

    def note(self, sentence: str) -> None:
        """Tell something once."""
        if sentence not in self.noted:
            self.noted.append(sentence)

    def options(self) -> dict[str, Any]:
        """Everything `build` needs to make this model again, as plain data."""
        chosen: dict[str, Any] = plain(self.settings)
        return chosen

    def predict(self, image: Volume, prompts: Sequence[Prompt] = ()) -> Volume:
        """Probability of tumour on the grid of `image`; zero outside of the cubes that were looked at.

        Clicks are answered one after the other, each beside the mask before it, as a session does. Where objects or
        cubes overlap, the larger probability counts.

        Raises:
            InputError: without a prompt, with one of a type the model does not take, or one that leaves the image or,
                where `crop` is `centre` or `lungs`, the cube.
        """
        accept(self.info, image, prompts)
        return VolumeSession(self, image).all(prompts)

    def session(self, image: Volume) -> VolumeSession:
        """Start prompting one image; every cube is embedded once.

        Raises:
            InputError: for voxels that are not finite numbers.
        """
        accept(replace(self.info, prompts=()), image, ())
        return VolumeSession(self, image)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device


class VolumeSession:
    """One image prompted step by step; `add` answers only for the object and the cube that the click lies in.

    A click without a number that points away from something belongs to every object.
    """

    def __init__(self, model: VolumeModel, image: Volume) -> None:
        self._model, self._image = model, image
        self.grid = WorkingGrid(image, model.settings)
        self._embeddings: OrderedDict[Start, Tensor] = OrderedDict()
        self._steps = [Step()]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Everything given so far."""
        return self._steps[-1].prompts

    def add(self, prompt: Prompt) -> Volume:
        """Probability after one more click.

        Raises:
            InputError: for a prompt of a type the model does not take, or outside the image or the cube.
        """
        accept(self._model.info, self._image, [prompt])
        self._steps.append(self._after(self._steps[-1], prompt))
        return self._painted()

    def undo(self) -> Volume:
        """Probability without the newest click; the network is not asked again.

        Raises:
            InputError: when there is no prompt left to take back.
        """
        if len(self._steps) == 1:
            raise InputError("There is no prompt to take back.")
        self._steps.pop()
        return self._painted()

    def reset(self) -> None:
        """Forget all prompts, keep the embeddings of the image."""
        del self._steps[1:]

    def all(self, prompts: Sequence[Prompt]) -> Volume:
        """Probability for clicks that are given together, as the first and only step."""
        step = Step()
        for prompt in prompts:
            step = self._after(step, prompt)
        self._steps[1:] = [step]
        return self._painted()

    def _after(self, before: Step, prompt: Prompt) -> Step:
        if not isinstance(prompt, Click):
            raise InputError(f"{self._model.info.full_name} answers clicks; it got a {type(prompt).__name__}.")
        dot = Dot(self.grid.voxel(prompt.index), prompt.positive)
        parts = dict(before.parts)
        for name in _objects(prompt, parts):
            known, away = parts.get(name, ()), self._away(before.prompts, prompt.lesion)
            holding = [part for part in known if self.grid.holds(part.start, dot.voxel)]
            if holding:
                parts[name] = self._corrected(known, holding, dot, away=away)
            elif prompt.positive:
                parts[name] = self._opened(known, dot, away)
        return Step((*before.prompts, prompt), parts)

    def _away(self, prompts: Sequence[Prompt], lesion: int | None) -> list[Dot]:
        """Earlier clicks that point away from an object; they count where it is looked for later, too."""
        clicks = [p for p in prompts if isinstance(p, Click) and not p.positive and p.lesion in (None, lesion)]
        return [Dot(self.grid.voxel(click.index), False) for click in clicks]

    def _corrected(
        self, known: tuple[Part, ...], holding: Sequence[Part], dot: Dot, *, away: Sequence[Dot]
    ) -> tuple[Part, ...]:
        """The cubes after a click that lies in some of them; what points away counts in each, else the nearest."""
        asked = holding
        if dot.positive:
            asked = [min(holding, key=lambda part: self._off_centre(part.start, dot.voxel))]
        changed = {part.start: self._answered(part.start, (*part.dots, dot), part) for part in asked}
        parts = tuple(changed.get(part.start, part) for part in known)
        return self._slid(parts, list(changed.values()), away) if dot.positive else parts

    def _opened(self, known: tuple[Part, ...], dot: Dot, away: Sequence[Dot]) -> tuple[Part, ...]:
        """The cubes and one more, round a click that none of them holds."""
        start = self._start(dot.voxel)
        if not self.grid.holds(start, dot.voxel):
            raise InputError(
                f"The click lies outside of the cube of {self.grid.side} voxels that crop "
                f"'{self._model.settings.crop}' looks at. Choose crop 'prompt' or 'sliding', or a larger spacing_mm."
            )
        part = self._begun(start, dot, away)
        return self._slid((*known, part), [part], away)

    def _begun(self, start: Start, dot: Dot, away: Sequence[Dot]) -> Part:
        """A cube that was not looked at yet, after its first click and the earlier ones that point away in it."""
        part = self._answered(start, (dot,))
        for other in away:
            if self.grid.holds(start, other.voxel):
                part = self._answered(start, (*part.dots, other), part)
        return part

    def _start(self, voxel: Index) -> Start:
        match self._model.settings.crop:
            case "centre":
                return self.grid.round(self.grid.middle)
            case "lungs":
                middle = self.grid.middle_of_lung(voxel)
                if middle is None:
                    self._model.note("No lungs were found in an image; the cube lies in its middle.")
                return self.grid.round(middle or self.grid.middle)
        return self.grid.round(voxel)

    def _slid(self, parts: tuple[Part, ...], changed: Sequence[Part], away: Sequence[Dot]) -> tuple[Part, ...]:
        """The cubes and those behind every face that a mask reaches, where cubes slide."""
        chosen = self._model.settings
        if chosen.crop != "sliding":
            return parts
        known, waiting = {part.start: part for part in parts}, deque(changed)
        while waiting:
            part = waiting.popleft()
            for start, voxel in self._reached(part):
                if start in known:
                    continue
                if len(known) >= chosen.tiles:
                    self._model.note(f"A mask went on behind the {chosen.tiles} cubes that `tiles` allows.")
                    return tuple(known.values())
                known[start] = following = self._begun(start, Dot(voxel, True), away)
                waiting.append(following)
        return tuple(known.values())

    def _reached(self, part: Part) -> Iterator[tuple[Start, Index]]:
        """Neighbouring cubes behind faces that hold mask, each with the mask's voxel nearest to its middle."""
        side, mask = self.grid.side, self._probability(part) > 0.5
        for axis, way in product(range(3), (1, -1)):
            face = side - 1 if way > 0 else 0
            place = part.start[axis] + face
            if not 0 < place < self.grid.grid.shape[axis] - 1 or not mask.take(face, axis=axis).any():
                continue
            start = list(part.start)
            start[axis] += way * (side // 2)
            offset = np.array(start) - part.start
            voxels = np.argwhere(mask)
            inside = voxels[((voxels >= offset) & (voxels < offset + side)).all(axis=1)]
            nearest = inside[np.argmin(((inside - offset - side // 2) ** 2).sum(axis=1))] + part.start
            yield (start[0], start[1], start[2]), (int(nearest[0]), int(nearest[1]), int(nearest[2]))

    def _off_centre(self, start: Start, voxel: Index) -> float:
        return float(np.linalg.norm(np.array(voxel) - start - self.grid.side // 2))

    @torch.no_grad()
    def _answered(self, start: Start, dots: tuple[Dot, ...], before: Part | None = None) -> Part:
        """The next round of a cube; the first one has a mask prompt of zeros, as in training."""
        network, device = self._model.network.eval(), self._model.device
        embedding = self._embedding(start) if before is None or before.carried is None else before.carried
        shown = dots if self._model.settings.clicks == "all" else dots[-1:]
        points = np.array([dot.voxel for dot in shown]) - start
        fine = 4 * network.image_size // network.patch_size
        prompts = VolumePrompts(
            torch.tensor(points[None], dtype=torch.float32, device=device),
            torch.tensor([[int(dot.positive) for dot in shown]], device=device),
            torch.zeros(1, 1, fine, fine, fine, device=device) if before is None else before.logits,
        )
        answer: Answer = network.decode(embedding, prompts)
        carried = (
            None if answer.embedding is embedding and (before is None or before.carried is None) else answer.embedding
        )
        return Part(start, dots, answer.logits, carried)

    def _embedding(self, start: Start) -> Tensor:
        if start not in self._embeddings:
            shown = torch.from_numpy(self.grid.shown(start))[None, None].to(self._model.device)
            self._embeddings[start] = made = self._model.network.embed(shown)
            room = int(self._model.settings.keep_megabytes * 1e6 / (made.element_size() * made.numel()))
            while len(self._embeddings) > max(1, room):
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(start)
        return self._embeddings[start]

    @torch.no_grad()
    def _probability(self, part: Part) -> NDArray[np.float32]:
        whole: NDArray[np.float32] = self._model.network.whole(part.logits)[0, 0].float().sigmoid().cpu().numpy()
        return whole

    def _painted(self) -> Volume:
        stored = np.zeros(self._image.shape, np.float32)
        for parts in self._steps[-1].parts.values():
            for part in parts:
                self.grid.paint(stored, part.start, self._probability(part))
        return self._image.with_voxels(stored)


def _objects(click: Click, known: dict[str, Any]) -> list[str]:
    """Names of the objects that a click belongs to, see `oncoseg.promptable.objects`."""
    if click.lesion is not None:
        return [f"lesion {click.lesion}"]
    return ["clicks"] if click.positive else list(known)
