"""The steps of a session: what was said so far and what was found, one more, one less, none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from oncoseg.contracts import ModelInfo
from oncoseg.errors import InputError
from oncoseg.inference.accept import accept
from oncoseg.prompt import Prompt
from oncoseg.volume import Volume

F = TypeVar("F")


class HasInfo(Protocol):
    """Says which prompts it takes."""

    info: ModelInfo


class Stepping(ABC, Generic[F]):
    """One image prompted step by step.

    Args:
        model: says which prompts it takes.
        image: to be prompted.
        nothing: what is found before the first prompt; never changed, each step makes its own.
    """

    def __init__(self, model: HasInfo, image: Volume, nothing: F) -> None:
        self._info, self._image = model.info, image
        self._steps: list[tuple[tuple[Prompt, ...], F]] = [((), nothing)]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Everything given so far."""
        return self._steps[-1][0]

    @property
    def found(self) -> F:
        """What the newest step found."""
        return self._steps[-1][1]

    def add(self, prompt: Prompt) -> Volume:
        """Probability after one more prompt.

        Raises:
            InputError: for a prompt of a type the model does not take, or outside of what it can look at.
        """
        accept(self._info, self._image, [prompt])
        prompts = (*self.prompts, prompt)
        self._steps.append((prompts, self._answered(prompts, self.found)))
        return self._painted()

    def undo(self) -> Volume:
        """Probability without the newest prompt; the network is not asked again.

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
        """Probability for prompts that are given together, as the first and only step."""
        self._steps[1:] = [(tuple(prompts), self._answered(prompts, self._steps[0][1]))]
        return self._painted()

    @abstractmethod
    def _answered(self, prompts: Sequence[Prompt], known: F) -> F:
        """What is found with all prompts; `known` is what was found before the newest."""

    @abstractmethod
    def _painted(self) -> Volume:
        """What is found, as a probability on the grid of the image."""
