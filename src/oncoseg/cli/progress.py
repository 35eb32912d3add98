"""Progress bars on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from oncoseg.experiments.events import Event
    from oncoseg.training.loop import Progress as Step


def bars() -> Progress:
    """Bars with counts and elapsed time; plain lines where standard error is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True, highlight=False, soft_wrap=True),
    )


@contextmanager
def training_bar(name: str) -> Iterator[Callable[[Step], None]]:
    """A bar for one training; yields what the loop tells after every step."""
    with bars() as shown:
        task = shown.add_task(f"training {escape(name)}", total=None, note="")

        def tell(step: Step) -> None:
            if step.message:
                shown.console.print(escape(step.message))
            shown.update(task, completed=step.step, total=step.steps, note=step.numbers)

        yield tell


@contextmanager
def case_bar(total: int) -> Iterator[Callable[[str], None]]:
    """A bar over cases; yields what is told the name of each before it is looked at."""
    with bars() as shown:
        task = shown.add_task("cases", total=total, completed=-1, note="")

        def tell(case: str) -> None:
            shown.update(task, advance=1, note=escape(case))

        yield tell
        shown.update(task, completed=total, note="")


class RunBars:
    """Shows the events of a matrix: one bar for the run, one for each cell under way."""

    def __init__(self, shown: Progress, cells: int) -> None:
        self._shown = shown
        self._run = shown.add_task("cells", total=cells, note="")
        self._cells: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Show one event; called from one thread at a time."""
        match event.kind:
            case "note":
                self._shown.console.print(escape(event.message))
            case "started":
                self._cells[event.cell] = self._shown.add_task(escape(event.cell), total=None, note="")
                if not self._shown.console.is_terminal:
                    self._shown.console.print(escape(f"started   {event.cell}"))
            case "trained" | "predicted":
                self._step(event)
            case _:
                self._end(event)

    def _step(self, event: Event) -> None:
        if event.message:
            self._shown.console.print(escape(event.message))
        task = self._cells.get(event.cell)
        if task is not None:
            what = event.numbers or ("training steps" if event.kind == "trained" else "cases")
            self._shown.update(task, completed=event.done, total=event.total or None, note=what)

    def _end(self, event: Event) -> None:
        task = self._cells.pop(event.cell, None)
        if task is not None:
            self._shown.remove_task(task)
        self._shown.advance(self._run)
        # Why cells are left out is said once, at the end: it is the same for many.
        reason = f": {event.message}" if event.message and event.kind != "left out" else ""
        self._shown.console.print(escape(f"{event.kind:9} {event.cell}{reason}"))
