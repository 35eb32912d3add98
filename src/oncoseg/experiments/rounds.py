"""The user and the model in turn: first prompts, an answer, a correction of it, the next answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncoseg.contracts import Interactive, Model, Session
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume


@dataclass(frozen=True, eq=False)
class Step:
    """One round: what the model was told, and its answer.

    Attributes:
        prompts: given in this round; none when the user saw nothing to correct.
        seconds: wall time of the answer.
        packed: the mask, one bit a voxel.
    """

    prompts: tuple[Prompt, ...]
    seconds: float
    packed: NDArray[np.uint8] = field(repr=False)

    def mask(self, image: Volume) -> Volume:
        """The answer, bool on the grid of the image."""
        flat = np.unpackbits(self.packed, count=image.voxels.size)
        return image.with_voxels(flat.reshape(image.shape).astype(bool))


class Conversation:
    """Prompts to one model on one image, which remembers them.

    A model with sessions embeds the image once and is told what is new; every other one is given all prompts again.
    """

    def __init__(self, model: Model, image: Volume) -> None:
        self._model, self._image = model, image
        self._session: Session | None = model.session(image) if isinstance(model, Interactive) else None
        self._prompts: list[Prompt] = []

    def tell(self, prompts: Sequence[Prompt]) -> Volume:
        """Probability after these prompts and all before them."""
        self._prompts += prompts
        if self._session is None or not prompts:
            return self._model.predict(self._image, self._prompts)
        for prompt in prompts:
            answer = self._session.add(prompt)
        return answer


def play(
    tell: Callable[[Sequence[Prompt]], Volume],
    first: Sequence[Prompt],
    correct: Callable[[Volume, int], Sequence[Prompt]],
    *,
    rounds: int,
) -> list[Step]:
    """Prompt, look, correct.

    Args:
        tell: gives the model prompts and answers with a bool mask; only this is timed.
        first: what the model is told to begin with.
        correct: the user's next prompts, from the mask shown and the number of the round from 1.
        rounds: corrections.

    Returns:
        `rounds` + 1 steps. A user who sees nothing to correct says nothing: the answer stays, and takes no time.
    """
    steps: list[Step] = []
    said: Sequence[Prompt] = first
    for number in range(1, rounds + 2):
        if steps and not said:
            steps.append(Step((), 0.0, steps[-1].packed))
            continue
        started = time.perf_counter()
        mask = tell(said)
        seconds = time.perf_counter() - started
        steps.append(Step(tuple(said), seconds, np.packbits(mask.voxels)))
        said = correct(mask, number) if number <= rounds else ()
    return steps
