"""Printed cells as numbers: what was measured, on which scale, and how far rounding reaches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, NamedTuple

from oncoseg.evaluation.published import Printed

#: What a metric's name must contain to be understood, first match wins.
_QUANTITIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nsd", ("nsd", "surface", "sdice")),
    # Of lesions, borders or probabilities: shares that obey other identities than those of voxels.
    ("other", ("lesion", "lesions", "detection", "boundary", "border", "soft", "instance", "panoptic")),
    ("dice", ("dice", "dsc", "f1")),
    ("iou", ("iou", "jaccard", "jac")),
    ("sensitivity", ("sensitivity", "recall", "tpr", "sens")),
    ("specificity", ("specificity", "tnr", "spec")),
    ("precision", ("precision", "ppv")),
    ("accuracy", ("accuracy", "acc")),
    ("distance", ("hd95", "hd", "assd", "masd", "asd", "hausdorff")),
    ("tunable_parameters", ("tunable", "trainable")),
    ("parameters", ("params", "parameters", "param")),
    ("macs", ("gmacs", "macs", "tmacs", "flops", "gflops")),
)
#: Quantities that lie between 0 and 1.
SHARES = frozenset({"dice", "iou", "sensitivity", "specificity", "precision", "accuracy", "nsd"})
#: Quantities of which less is better.
LOWER_IS_BETTER = frozenset({"distance", "macs", "parameters", "tunable_parameters"})
#: Names of a column that averages the others.
AVERAGES = frozenset({"average", "avg", "avg.", "mean", "overall"})

Stage = Literal["", "before", "after", "delta", "rate"]
_STAGES: tuple[Stage, ...] = ("before", "after", "delta", "rate")
#: A share above this was printed in percent.
_FRACTION_UP_TO = 1.5


class Quantity(NamedTuple):
    """What a metric's name says: the quantity ("" when unknown), the stage of a transfer, whether percent is stated."""

    name: str
    stage: Stage
    percent: bool


class RowKey(NamedTuple):
    """What one row of a table is called."""

    paper: str
    table: str
    dataset: str
    method: str
    setting: str


@dataclass(frozen=True)
class TableCell:
    """One printed value with its meaning.

    Attributes:
        printed: the value and its labels.
        quantity: `dice`, `iou`, ...; "" for a metric that is not known.
        stage: of a transfer table; "" otherwise.
        scale: 100 where shares are printed in percent, 1 otherwise.
        sd: standard deviation printed beside it, as printed; None without one.
        mark: `best` (bold) or `second` (underlined) as printed; "" without one.
    """

    printed: Printed
    quantity: str
    stage: Stage = ""
    scale: float = 1.0
    sd: float | None = None
    mark: str = ""

    @property
    def value(self) -> float:
        """As a share where it is one, else as printed."""
        return self.printed.value / self.scale

    @property
    def half_digit(self) -> float:
        """Half a unit of the last printed digit, on the scale of `value`."""
        return self.printed.half_digit / self.scale

    @property
    def row(self) -> RowKey:
        """The row it stands in."""
        p = self.printed
        return RowKey(p.paper, p.table, p.dataset, p.method, p.setting)

    @property
    def is_average(self) -> bool:
        """Whether it averages other cells of its row."""
        return self.printed.target.lower() in AVERAGES

    @property
    def place(self) -> str:
        """Table and row, e.g. "Table II, MSD Task06 Lung, MedSAM 2 bbox"."""
        p = self.printed
        table = p.table if not p.table or p.table.lower().startswith(("text", "table")) else f"Table {p.table}"
        return ", ".join(part for part in (table, p.dataset, p.method, p.setting) if part)

    @property
    def column(self) -> str:
        """Target and metric, e.g. "lungs IoU"."""
        return " ".join(part for part in (self.printed.target, self.printed.metric) if part)

    @property
    def text(self) -> str:
        """The value with the digits that were printed."""
        return f"{self.printed.value:.{self.printed.decimals}f}"

    def __str__(self) -> str:
        """Place, column and value."""
        return f"{self.place}: {self.column} {self.text}"


@cache
def understood(metric: str) -> Quantity:
    """What a metric's printed name means.

    Example:
        >>> understood("Dice_percent_before")
        Quantity(name='dice', stage='before', percent=True)
    """
    words = [w for w in re.split(r"[^a-z0-9%]+|(?=%)", metric.lower()) if w]
    name = next((q for q, known in _QUANTITIES if any(w in known for w in words)), "")
    stage: Stage = next((s for s in _STAGES if s in words), "")
    if "percent" in words and name == "tunable_parameters":
        name = "tunable_share"
    return Quantity(name, stage, "percent" in words or "%" in words)


def table_cells(printed: Iterable[Printed], *, percent: bool | None = None) -> tuple[TableCell, ...]:
    """Give printed values their meaning.

    A share is read as percent where its name says so, or where a value of the same metric in the same table is
    above 1.5; `percent` decides for all shares instead.
    """
    cells = [TableCell(p, understood(p.metric).name, understood(p.metric).stage) for p in printed]
    in_percent = {_scope(c) for c in cells if c.quantity in SHARES and _says_percent(c)}
    return tuple(_scaled(c, _scope(c) in in_percent if percent is None else percent) for c in cells)


def rows_of(cells: Iterable[TableCell]) -> dict[RowKey, list[TableCell]]:
    """Cells by row, in the order of the table."""
    rows: dict[RowKey, list[TableCell]] = {}
    for cell in cells:
        rows.setdefault(cell.row, []).append(cell)
    return rows


def pairs_of(cells: Iterable[TableCell], first: str, second: str) -> list[tuple[TableCell, TableCell]]:
    """Cells of two quantities in one row and for one target, stages apart; in the order of the table."""
    pairs = []
    for row in rows_of(cells).values():
        for one in row:
            if one.quantity == first and one.stage in ("", "before", "after"):
                same = [c for c in row if c.quantity == second and _twin(c) == _twin(one)]
                pairs += [(one, same[0])] if len(same) == 1 else []
    return pairs


def short(cells: Sequence[TableCell]) -> tuple[str, ...]:
    """Cells as text for a finding."""
    return tuple(str(c) for c in cells)


def _twin(cell: TableCell) -> tuple[str, str]:
    return cell.printed.target, cell.stage


def _scope(cell: TableCell) -> tuple[str, str, str]:
    return cell.printed.paper, cell.printed.table, cell.printed.metric


def _says_percent(cell: TableCell) -> bool:
    return understood(cell.printed.metric).percent or abs(cell.printed.value) > _FRACTION_UP_TO


def _scaled(cell: TableCell, percent: bool) -> TableCell:
    applies = percent and cell.quantity in SHARES and cell.stage != "rate"
    return replace(cell, scale=100.0) if applies else cell
