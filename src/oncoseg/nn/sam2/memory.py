"""What is remembered of frames, and who decides what is recalled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Memory:
    """One frame as it is remembered.

    Attributes:
        frame: its number.
        prompted: whether its mask answers a prompt.
        features: (1, 64, s/16, s/16), frame and mask together.
        pointer: (1, width), the object itself.
        quality: the IoU that was expected of the mask.
        embedding: (width x s/16 x s/16,), the frame alone, or as its memories have changed it for banks that want that;
            empty for banks that do not look at it.
    """

    frame: int
    prompted: bool
    features: Tensor
    pointer: Tensor
    quality: float
    embedding: Tensor


class Query(NamedTuple):
    """The frame that asks what is remembered.

    Attributes:
        frame: its number.
        frames: how many there are.
        backwards: the video is followed from its end.
        embedding: (width x s/16 x s/16,) of the frame, before any memory.
        training: gradients will be wanted.
    """

    frame: int
    frames: int
    backwards: bool
    embedding: Tensor
    training: bool = False


class Recalled(NamedTuple):
    """What a frame is given.

    Attributes:
        frames: memories with how many frames ago they were; 0 for prompted ones, None where time does not count.
        pointers: memories whose pointer is given, with how many frames ago they were.
        longest: largest number of frames ago there can be, plus one.
    """

    frames: list[tuple[Memory, int | None]]
    pointers: list[tuple[Memory, int]]
    longest: int = 1


class MemoryBank(Protocol):
    """Remembers and recalls.

    Attributes:
        always_asked: prompted frames recall too, as soon as there is something.
        compares: it looks at the embeddings of frames.
        sees_conditioned: what is remembered of a frame is the frame as its memories have changed it.
    """

    always_asked: bool
    compares: bool
    sees_conditioned: bool

    def update(self, entry: Memory) -> None:
        """Take a memory, or leave it."""
        ...

    def read(self, query: Query) -> Recalled | None:
        """The memories for a frame; None when there are none."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class Fifo:
    """SAM 2's memory: every prompted frame, the six frames before, and up to sixteen object pointers.

    Args:
        memories: frames that are recalled beside the prompted ones, plus one.
        pointers: most pointers that are recalled of frames that were not prompted, plus one.
    """

    always_asked = False
    compares = False
    sees_conditioned = False

    def __init__(self, memories: int = 7, pointers: int = 16) -> None:
        self._memories, self._most_pointers = memories, pointers
        self._prompted: dict[int, Memory] = {}
        self._followed: dict[int, Memory] = {}

    def update(self, entry: Memory) -> None:
        """Take it; a frame's newest memory counts."""
        if entry.prompted:
            self._prompted[entry.frame] = entry
            self._followed.pop(entry.frame, None)
        else:
            self._followed[entry.frame] = entry

    def read(self, query: Query) -> Recalled | None:
        """Prompted frames, then the frames before from the sixth to the last; None without a prompted one."""
        if not self._prompted:
            return None
        step = 1 if query.backwards else -1
        frames: list[tuple[Memory, int | None]] = [(memory, 0) for memory in self._prompted.values()]
        for ago in range(self._memories - 1, 0, -1):
            if memory := self._followed.get(query.frame + step * ago):
                frames.append((memory, ago))
        longest = min(query.frames, self._most_pointers)
        return Recalled(frames, list(self._pointers(query, longest)), longest)

    def _pointers(self, query: Query, longest: int) -> Iterator[tuple[Memory, int]]:
        step = 1 if query.backwards else -1
        for frame, memory in self._prompted.items():
            ago = (query.frame - frame) * -step
            # Only while training a frame knows of prompts that are yet to come.
            if query.training or ago >= 0:
                yield memory, ago
        before = ((self._followed.get(query.frame + step * ago), ago) for ago in range(1, longest))
        yield from ((memory, ago) for memory, ago in before if memory)

    def clear(self) -> None:
        """Forget everything."""
        self._prompted.clear()
        self._followed.clear()
