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
from oncoseg.promptable.computing import Embedding
from oncoseg.promptable.stepping import Stepping
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
class Looked:
    """What a session found: how many prompts are answered in it, and the cubes of each object."""

    answered: int = 0
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
        self.embedding = Embedding(network, options.compute, self._in_the_middle)
        #: What the user should know of the weights, and of predictions so far.
        self.noted: list[str] = []

    @property
    def told(self) -> list[str]:
        """What reports repeat about the weights and how predictions were computed."""
        chosen = self.settings
        told = [*self.embedding.told, *self.noted]
        if chosen.crop != "sliding":
            return told
        return [
            f"Cubes of {chosen.image_size} voxels slide by half of that, one at a time, at most {chosen.tiles} for an "
            f"object; up to {chosen.keep_megabytes} MB of embeddings are kept.",
            *told,
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
        cubes overlap, the larger probability counts. Without a click every cube that `crop` names is asked once, with
        an empty mask prompt alone.

        Raises:
            InputError: with a prompt of a type the model does not take, or one that leaves the image or, where `crop`
                is `centre` or `lungs`, the cube.
        """
        accept(self.info, image, prompts)
        session = VolumeSession(self, image)
        return session.all(prompts) if prompts else session.unprompted()

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

    @property
    def fine(self) -> int:
        """Side of a mask as the network gives and takes it."""
        return 4 * self.network.image_size // self.network.patch_size

    def _in_the_middle(self, embedding: Tensor) -> Tensor:
        """Logits for a click in the middle of each embedded cube."""
        rooms = len(embedding)
        points = embedding.new_full((rooms, 1, 3), self.network.image_size // 2)
        labels = torch.ones(rooms, 1, dtype=torch.int64, device=embedding.device)
        masks = embedding.new_zeros((rooms, 1, *(self.fine,) * 3))
        return self.network.decode(embedding, VolumePrompts(points, labels, masks)).logits


class VolumeSession(Stepping[Looked]):
    """One image prompted step by step; `add` answers only for the object and the cube that the click lies in.

    A click without a number that points away from something belongs to every object. Clicks given together are
    answered one after the other, too.
    """

    def __init__(self, model: VolumeModel, image: Volume) -> None:
        super().__init__(model, image, Looked())
        self._model = model
        self.grid = WorkingGrid(image, model.settings)
        self._embeddings: OrderedDict[Start, Tensor] = OrderedDict()

    def unprompted(self) -> Volume:
        """Probability without any click, as the first and only step; it is told where was looked."""
        parts = tuple(self._asked(start, ()) for start in self._unprompted())
        self._steps[1:] = [((), Looked(0, {"nothing": parts}))]
        return self._painted()

    def _answered(self, prompts: Sequence[Prompt], known: Looked) -> Looked:
        parts = dict(known.parts)
        for place in range(known.answered, len(prompts)):
            parts = self._after(parts, prompts[:place], prompts[place])
        return Looked(len(prompts), parts)

    def _after(
        self, before: dict[str, tuple[Part, ...]], earlier: Sequence[Prompt], prompt: Prompt
    ) -> dict[str, tuple[Part, ...]]:
        if not isinstance(prompt, Click):
            raise InputError(f"{self._model.info.full_name} answers clicks; it got a {type(prompt).__name__}.")
        dot = Dot(self.grid.voxel(prompt.index), prompt.positive)
        parts = dict(before)
        for name in _objects(prompt, parts):
            known, away = parts.get(name, ()), self._away(earlier, prompt.lesion)
            holding = [part for part in known if self.grid.holds(part.start, dot.voxel)]
            if holding:
                parts[name] = self._corrected(known, holding, dot, away=away)
            elif prompt.positive:
                parts[name] = self._opened(known, dot, away)
        return parts

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
        changed = {part.start: self._asked(part.start, (*part.dots, dot), part) for part in asked}
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
        part = self._asked(start, (dot,))
        for other in away:
            if self.grid.holds(start, other.voxel):
                part = self._asked(start, (*part.dots, other), part)
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

    def _unprompted(self) -> list[Start]:
        """Cubes that are looked at without a click."""
        chosen, grid = self._model.settings, self.grid
        if chosen.crop == "lungs" and grid.middles_of_lungs:
            self._model.note("Without a click a cube in the middle of each lung is looked at.")
            return [grid.round(middle) for middle in grid.middles_of_lungs]
        if chosen.crop == "sliding":
            cubes = grid.covering()
            if len(cubes) > chosen.tiles:
                self._model.note(
                    f"Without a click only {chosen.tiles} of {len(cubes)} cubes are looked at, see `tiles`."
                )
            self._model.note("Without a click cubes side by side are looked at, those in the middle first.")
            return cubes[: chosen.tiles]
        lungs = " No lungs were found." if chosen.crop == "lungs" else ""
        self._model.note(f"Without a click the cube in the middle of the image is looked at.{lungs}")
        return [grid.round(grid.middle)]

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
    def _asked(self, start: Start, dots: tuple[Dot, ...], before: Part | None = None) -> Part:
        """The next round of a cube; the first one has a mask prompt of zeros, as in training.

        Without a click the network sees the token that it has behind all clicks, of a place that does not count.
        """
        network, device = self._model.network.eval(), self._model.device
        embedding = self._embedding(start) if before is None or before.carried is None else before.carried
        shown = dots if self._model.settings.clicks == "all" else dots[-1:]
        points = np.array([dot.voxel for dot in shown]).reshape(-1, 3) - start
        fine = self._model.fine
        prompts = VolumePrompts(
            torch.tensor(points[None], dtype=torch.float32, device=device),
            torch.tensor([[int(dot.positive) for dot in shown]], dtype=torch.int64, device=device),
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
            self._embeddings[start] = made = self._model.embedding(shown)
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
        for parts in self.found.parts.values():
            for part in parts:
                self.grid.paint(stored, part.start, self._probability(part))
        return self._image.with_voxels(stored)


def _objects(click: Click, known: dict[str, Any]) -> list[str]:
    """Names of the objects that a click belongs to, see `oncoseg.promptable.objects`."""
    if click.lesion is not None:
        return [f"lesion {click.lesion}"]
    return ["clicks"] if click.positive else list(known)
