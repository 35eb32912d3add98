"""What the tables of three papers print, value by value, for comparison and for audit; never mixed with our numbers.

`lung-ct-benchmark` is arXiv 2505.01239, `m-sam` Shi et al. (MICCAI 2024), `gtv-samgan` Yi et al. (QIMS 2026).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

Paper = Literal["lung-ct-benchmark", "m-sam", "gtv-samgan"]
PAPERS: tuple[Paper, ...] = get_args(Paper)


@dataclass(frozen=True)
class Printed:
    """One cell of a printed table.

    Attributes:
        paper: one of `PAPERS`.
        table: its number as printed, e.g. `II`.
        dataset: as the paper calls it; empty where the value belongs to the method (parameters).
        method: the row's name as printed.
        setting: what else distinguishes the row, e.g. `train_fraction=50%`; empty otherwise.
        target: `tumor`, `lungs`, `average` or `GTV`; empty where none applies.
        metric: with its unit, e.g. `Dice`, `Dice_percent`, `params_M`.
        value: as printed.
        decimals: digits printed behind the point.
    """

    paper: Paper
    table: str
    dataset: str
    method: str
    setting: str
    target: str
    metric: str
    value: float
    decimals: int

    @property
    def half_digit(self) -> float:
        """Half a unit of the last printed digit: the value lies within this of the number before rounding."""
        return 0.5 * 10.0**-self.decimals


@cache
def printed(paper: Paper | None = None, table: str | None = None) -> tuple[Printed, ...]:
    """Printed cells, in the order of the papers' tables.

    Args:
        paper: of which paper; None for all.
        table: of which of its tables; None for all.

    Example:
        >>> [cell.value for cell in printed("m-sam", "3") if cell.method == "M-SAM" and cell.dataset == "BraTS21"]
        [92.08, 85.32]
    """
    text = files("oncoseg.evaluation").joinpath("published_results.csv").read_text(encoding="utf-8")
    cells = []
    rows: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    for row in rows:
        decimals, value = int(row.pop("printed_decimals")), float(row.pop("value"))
        cells.append(Printed(**row, value=value, decimals=decimals))
    return tuple(c for c in cells if paper in (None, c.paper) and table in (None, c.table))
