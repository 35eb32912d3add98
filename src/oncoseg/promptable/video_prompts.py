"""What the prompts of one object say to a network that follows it: where to start, where it is not, how far to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from oncoseg.prompt import Box, Prompt, Scribble
from oncoseg.promptable.objects import Asked, by_slice


@dataclass(frozen=True, eq=False)
class Wanted:
    """The prompts of one object, slice by slice.

    Attributes:
        asked: what is said on each slice.
        absent: slices on which the object is said not to be: those with nothing but a scribble that points away.
        within: the slices that its 3D boxes span; None without one.
    """

    asked: dict[int, Asked]
    absent: frozenset[int]
    within: range | None

    @property
    def starts(self) -> dict[int, Asked]:
        """The slices that can be answered before anything is known; none where no slice says where the object is."""
        if not any(asked.says_where for asked in self.asked.values()):
            return {}
        return {n: asked for n, asked in self.asked.items() if asked.says_where or n in self.absent}

    def same(self, other: Wanted) -> bool:
        """Whether both say the same."""
        return (
            (self.absent, self.within) == (other.absent, other.within)
            and self.asked.keys() == other.asked.keys()
            and all(asked.same(other.asked[n]) for n, asked in self.asked.items())
        )


def wanted(prompts: Sequence[Prompt], slices: int, *, thick: Literal["middle", "every"]) -> Wanted:
    """What the prompts of one object say.

    Args:
        prompts: of the object, in (slice, row, column) of the video.
        slices: how many there are.
        thick: whether a box of several slices prompts its middle slice, or every one.
    """
    thicker = [p for p in prompts if isinstance(p, Box) and len(p.slices) > 1]
    said = [_middle(p) if p in thicker and thick == "middle" else p for p in prompts]
    asked = by_slice(said)
    away = {n for p in prompts if isinstance(p, Scribble) and not p.positive for n in p.slices}
    absent = frozenset(n for n in away & asked.keys() if not asked[n].says_where)
    within = None
    if thicker:
        ends = [*asked, *(p.slices[-1] for p in thicker), *(p.slices[0] for p in thicker)]
        within = range(max(0, min(ends)), min(slices, max(ends) + 1))
    return Wanted(asked, absent, within)


def _middle(box: Box) -> Box:
    """The slice in the middle of a 3D box; the upper one of two."""
    middle = (box.start[0] + box.stop[0]) // 2
    return replace(box, start=(middle, *box.start[1:]), stop=(middle + 1, *box.stop[1:]))
