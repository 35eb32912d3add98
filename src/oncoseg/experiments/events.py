"""What a running matrix tells the user: plain events that cross processes as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["note", "started", "trained", "predicted", "finished", "failed", "left out", "skipped", "not applicable"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: `started`, `finished`, `failed`, `left out`, `skipped` and `not applicable` are about a whole cell;
            `trained` is one or more training steps, `predicted` one case; `note` is for the user to read.
        cell: label of the cell; "" when the event belongs to the whole run.
        done, total: steps or cases so far and altogether; 0 where there is nothing to count.
        message: the reason or the note; "" where there is nothing to say.
        numbers: of the training, to be shown beside its steps; "" in all other events.
    """

    kind: Kind
    cell: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    numbers: str = ""


class Progress(Protocol):
    """Shows events; called from one thread at a time."""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        ...


def silent(event: Event) -> None:
    """Show nothing."""
