"""Trying again with longer and longer pauses, as long as there is any progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from oncoseg.errors import FetchError
from oncoseg.pacs.archive import RefusedError, TransientError

T = TypeVar("T")
#: Longest pause between two attempts, seconds.
LONGEST_S = 30.0


@dataclass(frozen=True)
class Patience:
    """How often a transfer is tried.

    Attributes:
        attempts: in a row, without progress, before it is given up.
        first_s: pause after the first failure, seconds; it doubles up to 30 s.
        pause: sleeps; seconds.
        say: told of every failure.
    """

    attempts: int = 6
    first_s: float = 1.0
    pause: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = lambda line: None

    def until_done(self, step: Callable[[], T], *, progress: Callable[[], int] = lambda: 0, what: str) -> T:
        """What `step` returns once it does.

        Args:
            step: goes on where it was; its `TransientError` is tried again.
            progress: a number that grows while things get done.
            what: archive, for messages.

        Raises:
            FetchError: when it is given up or the archive refuses.
        """
        failed = 0
        while True:
            before = progress()
            try:
                return step()
            except RefusedError as error:
                raise FetchError(f"{what}: {error}") from error
            except TransientError as error:
                failed = 1 if progress() > before else failed + 1
                if failed >= self.attempts:
                    raise FetchError(
                        f"{what}: {error}. Given up after {failed} attempts without progress; what is done is kept, "
                        "and the same command goes on from there."
                    ) from error
                wait = min(self.first_s * 2.0 ** (failed - 1), LONGEST_S)
                self.say(f"{what}: {error}; trying again in {wait:g} s")
                self.pause(wait)
