"""One object followed through a video of slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam2.memory import Memory, MemoryBank, Query
from oncoseg.nn.sam2.network import SCALE, SHIFT, Decoded, Features, Sam2


class Seen(NamedTuple):
    """A frame in the middle of an answer.

    Attributes:
        features: of the frame.
        conditioned: (1, width, s/16, s/16), with what was recalled.
    """

    features: Features
    conditioned: Tensor


class Track:
    """One object in one video.

    Args:
        network: SAM 2.
        bank: remembers; is filled as frames are answered.
        features: embeddings of a frame, a batch of 1.
        frames: how many there are.
        kept_as: precision of memories; SAM 2's predictor keeps bfloat16, training the precision they come in (None).
    """

    def __init__(
        self,
        network: Sam2,
        bank: MemoryBank,
        features: Callable[[int], Features],
        *,
        frames: int,
        kept_as: torch.dtype | None = torch.bfloat16,
    ) -> None:
        self.network, self.bank, self.frames = network, bank, frames
        self._features, self._kept_as = features, kept_as
        self._prompted: dict[int, Memory] = {}

    def look(self, frame: int, *, initial: bool, backwards: bool = False) -> Seen:
        """A frame with what is recalled for it; `initial` frames recall nothing, unless the bank wants it."""
        features = self._features(frame)
        embedding = features.coarse.detach().flatten()
        asked = not initial or self.bank.always_asked
        query = Query(frame, self.frames, backwards, embedding, self.network.training)
        recalled = self.bank.read(query) if asked else None
        if recalled is None:
            # A bank that is asked on every frame was trained with nothing added while it is empty.
            bare = self.bank.always_asked
            return Seen(features, features.coarse if bare else self.network.without_memory(features))
        return Seen(features, self.network.recall(features, recalled))

    def prompt(self, frame: int, prompts: SlicePrompts, *, initial: bool = True, backwards: bool = False) -> Decoded:
        """Answer prompts on a frame and remember it as prompted.

        Args:
            frame: its number.
            prompts: boxes, points and the logits of an earlier mask, of a batch of 1.
            initial: the frame has not been followed before; one that was recalls what it recalled then.
            backwards: the direction it was followed in.
        """
        seen = self.look(frame, initial=initial, backwards=backwards)
        decoded = self.network.decode(seen.conditioned, seen.features, prompts)
        self.remember(frame, seen, decoded, prompted=True)
        return decoded

    def give(self, frame: int, mask: Tensor) -> Decoded:
        """Take a mask (1, 1, s, s) over for a frame and remember it; an empty one says that the object is not there."""
        features = self._features(frame)
        decoded = self.network.take(features, mask)
        logits = mask * SCALE + SHIFT
        self._keep(frame, features.coarse, features, decoded, logits, prompted=True)
        return decoded

    def follow(self, frame: int, *, backwards: bool = False) -> Decoded:
        """Find the object on a frame from what is remembered, and remember the frame."""
        seen = self.look(frame, initial=False, backwards=backwards)
        decoded = self.network.decode(seen.conditioned, seen.features)
        self.remember(frame, seen, decoded, prompted=False)
        return decoded

    def again(self, frame: int, decoded: Decoded) -> None:
        """Remember an answer to prompts that was given before, without asking the decoder again."""
        self.remember(frame, self.look(frame, initial=True), decoded, prompted=True)

    def afresh(self) -> None:
        """Forget all frames but the prompted ones."""
        self.bank.clear()
        for memory in self._prompted.values():
            self.bank.update(memory)

    def remember(self, frame: int, seen: Seen, decoded: Decoded, *, prompted: bool) -> None:
        """Put a frame with its mask into the bank."""
        source = seen.conditioned if self.bank.sees_conditioned else seen.features.coarse
        logits = self.network.whole(decoded.logits)
        self._keep(frame, source, seen.features, decoded, logits, prompted=prompted)

    def _keep(
        self, frame: int, source: Tensor, features: Features, decoded: Decoded, logits: Tensor, *, prompted: bool
    ) -> None:
        memory = self.network.remember(source, logits, decoded.presence, prompted=prompted)
        kept = memory if self._kept_as is None else memory.to(self._kept_as)
        looks = source if self.bank.sees_conditioned else features.coarse
        # A view would keep the whole embedding of the frame in memory.
        embedding = looks.detach().flatten() if self.bank.compares else looks.new_empty(0)
        entry = Memory(frame, prompted, kept, decoded.pointer, float(decoded.quality.detach()), embedding)
        if prompted:
            self._prompted[frame] = entry
        self.bank.update(entry)
