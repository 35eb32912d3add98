"""What a printed table looks like and which of our cells belongs into which of its places, read from TOML.

A place is where a row meets a column. Both name a part of the printed cell (data set, method, setting, target, metric)
and a part of what of ours belongs there (data set, model, options, measure); together they name one of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from oncoseg.config import fill, load_toml
from oncoseg.errors import ConfigError, UnknownNameError
from oncoseg.evaluation.published import Paper, Printed, printed
from oncoseg.experiments.matrix import Cell

Of = Literal["tumour", "lungs", "average"]
How = Literal["mean", "before", "after", "delta", "rate"]
#: Measures that are facts of a model and need no run.
FACTS = ("parameters", "trainable_parameters", "trainable_percent", "zero_shot", "prompt", "training")


@dataclass(frozen=True)
class Wanted:
    """What of ours belongs into a place.

    Attributes:
        model: name with its variant as the matrix has it.
        dataset: id in the matrix; "" where a fact of the model is wanted.
        options: options of the model that must be so; others are free.
        fraction: share of the training patients; None for any.
        prompt: simulator; "" for any.
        source: id of the data set that was trained on, where it is another one.
        measure: a metric, one of `FACTS`, `GMACs`, or `stage@3` for Dice after the third stage (from 0).
        of: the structure: tumour, the mean of both lungs, or the mean of both lungs and the tumour.
        how: the mean; or in a table of transfers before, after, their difference, or that as a share of before.
        times: unit: 100 where the table prints percent.
    """

    model: str
    measure: str
    dataset: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    fraction: float | None = None
    prompt: str = ""
    source: str = ""
    of: Of = "tumour"
    how: How = "mean"
    times: float = 1.0

    def is_of(self, cell: Cell) -> bool:
        """Whether a cell of a matrix is meant."""
        if cell.model is None or (cell.model.name, cell.dataset_id, cell.source_id) != (
            self.model,
            self.dataset,
            self.source,
        ):
            return False
        if self.prompt not in ("", cell.prompt.use) or self.fraction not in (None, cell.fraction):
            return False
        return all(cell.model.options.get(name) == value for name, value in self.options.items())


@dataclass(frozen=True)
class Line:
    """A row or a column.

    Attributes:
        label: its heads; columns have several lines, rows several cells.
        printed: part of the printed cells: `dataset`, `method`, `setting`, `target`, `metric`.
        ours: part of what of ours belongs there, see `Wanted`.
        flags: what a reader must know of it, e.g. that it is given the reference.
    """

    label: tuple[str, ...]
    printed: Mapping[str, str] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a row meets a column: the printed value, None where nothing is printed, and what of ours belongs there."""

    row: Line
    column: Line
    printed: Printed | None
    wanted: Wanted


@dataclass(frozen=True)
class Layout:
    """A table or a figure of a paper.

    Attributes:
        paper, name: which; `name` is what `--table` takes.
        title: of the printed table.
        kind: `scores` come from a run, `facts` from the models alone, a `figure` is drawn from a run.
        matrices: of the paper, whose cells fill it.
        published: the table's number in the printed values; "" where there are none.
        rule: scoring protocol whose numbers stand in the table.
        rule_published: how the paper aggregated, as far as it says.
        stub: heads of the rows' labels.
        notes: what differs from the paper; what is not stated there and was chosen here begins with [R].
        beside: figures that are drawn with the table.
        draw: name of a figure, see `oncoseg figure`.
        choices: of that figure.
        rows, columns: see `Line`.
    """

    paper: Paper
    name: str
    title: str
    kind: Literal["scores", "facts", "figure"] = "scores"
    matrices: tuple[str, ...] = ()
    published: str = ""
    rule: str = "case3d"
    rule_published: str = "not stated"
    stub: tuple[str, ...] = ("method",)
    notes: tuple[str, ...] = ()
    draw: str = ""
    choices: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Line, ...] = ()
    columns: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "figure") != bool(self.draw):
            raise ConfigError(f"{self.paper} {self.name}: a figure, and only that, has `draw`.")
        if any(len(row.label) != len(self.stub) for row in self.rows):
            raise ConfigError(f"{self.paper} {self.name}: a row has another number of labels than `stub`.")

    def places(self) -> Iterator[Place]:
        """Every place, row by row.

        Raises:
            ConfigError: when a row and a column do not name what of ours belongs there.
        """
        cells = {_address(cell): cell for cell in printed(self.paper, self.published)} if self.published else {}
        for row in self.rows:
            for column in self.columns:
                address = {**column.printed, **row.printed}
                where = f"{self.paper} {self.name}: {' '.join(row.label)} / {' '.join(column.label)}"
                wanted = fill(Wanted, {**column.ours, **row.ours}, where)
                yield Place(row, column, cells.get(tuple(address.get(key, "") for key in _KEYS)), wanted)


_KEYS = ("dataset", "method", "setting", "target", "metric")


def _address(cell: Printed) -> tuple[str, ...]:
    return tuple(getattr(cell, key) for key in _KEYS)


def layout_names(paper: Paper) -> tuple[str, ...]:
    """Tables and figures of a paper in its order."""
    return tuple(layout.name for layout in layouts(paper))


def layout_of(paper: Paper, name: str) -> Layout:
    """One table or figure.

    Raises:
        UnknownNameError: when the paper has none of that name.
    """
    found = next((layout for layout in layouts(paper) if layout.name.lower() == name.lower()), None)
    if found is None:
        raise UnknownNameError(f"table of {paper}", name, layout_names(paper))
    return found


@cache
def layouts(paper: Paper) -> tuple[Layout, ...]:
    """All tables and figures of a paper, in the order of their files."""
    folder = Path(str(files("oncoseg.report.papers") / "layouts")) / paper
    found = []
    for source in sorted(folder.glob("*.toml")):
        values = load_toml(source)
        found.append(fill(Layout, {"paper": paper, **values}, str(source)))
    return tuple(found)
