"""What stands beside a table and no column holds: marks, claims, counts, conditions; read from TOML or JSON.

Every entry may carry an `id`, under which its findings appear. `where` tables choose printed cells by their labels: a
label left out fits all, a list fits each of its names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from oncoseg.config import fill, load_toml
from oncoseg.errors import ConfigError
from oncoseg.evaluation.audit.cells import TableCell
from oncoseg.evaluation.audit.finding import Grade
from oncoseg.files import read_json

Names = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Where:
    """Which printed cells are meant, by label; None fits every label.

    Attributes:
        paper, table, dataset, method, setting, target, metric: as printed; one name or several.
    """

    paper: Names = None
    table: Names = None
    dataset: Names = None
    method: Names = None
    setting: Names = None
    target: Names = None
    metric: Names = None

    def of(self, cells: Iterable[TableCell]) -> list[TableCell]:
        """The cells meant, in the order of the table."""
        wanted = {f.name: _listed(getattr(self, f.name)) for f in fields(self)}
        given = {name: names for name, names in wanted.items() if names is not None}
        return [c for c in cells if all(getattr(c.printed, name) in names for name, names in given.items())]

    def fixes(self, label: str) -> bool:
        """Whether a label is prescribed by one name, so that it no longer tells cells apart."""
        return isinstance(getattr(self, label), str)


@dataclass(frozen=True)
class Mark:
    """A cell printed in bold (`best`) or underlined (`second`) among those of its column."""

    where: Where
    mark: Literal["best", "second"]
    column: Where
    id: str = ""


@dataclass(frozen=True)
class Claim:
    """Something the text says about printed values.

    Attributes:
        says: the statement, quoted or in short.
        kind: `difference` (left - right), `rate` (100 (left - right) / right), `ratio` (100 left / right), `mean` of
            `left`, `each` value of `left`, `best` (`left` is the best of `right`), `top` (the best of `left` minus the
            best of `right`).
        stated: the number stated.
        relation: how the recomputed number should stand to it; `=` allows for rounding of both.
        decimals: digits of `stated`.
        left, right: printed cells; `right` is paired with `left` by the labels for which
            neither prescribes one name.
        note: what a reader should know beside the numbers.
    """

    says: str
    kind: Literal["difference", "rate", "ratio", "mean", "each", "best", "top"]
    left: Where
    right: Where = Where()
    stated: float = 0.0
    relation: Literal["=", ">", "<"] = "="
    decimals: int = 0
    note: str = ""
    id: str = ""


@dataclass(frozen=True)
class Same:
    """Two groups of cells that should hold the same values, by what they are called."""

    left: Where
    right: Where
    because: str
    assumption: str = ""
    id: str = ""


@dataclass(frozen=True)
class Comparison:
    """Values of one method on one data set in several places, which the reader will lay side by side.

    Attributes:
        what: method and data.
        cells: the values compared, one `where` a place.
        elsewhere: further values, as shares, by their source.
        grade, assumption, sentence: of the finding; the sentence may be empty.
    """

    what: str
    cells: tuple[Where, ...]
    elsewhere: dict[str, float] = field(default_factory=dict)
    grade: Grade = "C"
    assumption: str = ""
    sentence: str = ""
    id: str = ""


@dataclass(frozen=True)
class Count:
    """A total and its parts.

    Attributes:
        what: that is counted.
        total: as printed.
        parts: name -> number; their sum should be `total` where `whole` is true.
        whole: whether the parts are all there is.
        ratio: as stated in words, e.g. 4 for "4 : 1"; None without.
        available: how many of the total carry a reference that can be had; None when not known.
        tell: part whose share of the total is told; "" for none.
        sentence: what follows from it; "" for the arithmetic alone.
        assumption: for the sentence.
    """

    what: str
    total: float
    parts: dict[str, float] = field(default_factory=dict)
    whole: bool = True
    ratio: float | None = None
    available: tuple[int, ...] = ()
    tell: str = ""
    sentence: str = ""
    assumption: str = ""
    grade: Grade = "C"
    id: str = ""


@dataclass(frozen=True)
class Gain:
    """A difference between two printed means that a text makes something of.

    Attributes:
        left, right: one cell each.
        n: cases behind each mean.
        sd: standard deviation over cases as a share; printed, or assumed where `sd_assumed` is true.
    """

    left: Where
    right: Where
    n: int
    sd: float
    sd_assumed: bool = True
    id: str = ""


@dataclass(frozen=True)
class Statistics:
    """What significance tests, splits and selection rest on.

    Attributes:
        unit: what the tests treat as independent: `patients`, `cases`, `epochs`, `slices`, `voxels`, or "" for none.
        n: how many of them.
        split_by: `patients`, `slices` or "" when not stated.
        chosen_on, reported_on: the sides that chose the epoch or model, and that the tables report.
        says: the statement, quoted or in short.
    """

    unit: str = ""
    n: int | None = None
    split_by: str = ""
    chosen_on: str = ""
    reported_on: str = ""
    says: str = ""
    grade: Grade = "C"
    id: str = ""


@dataclass(frozen=True)
class CostFact:
    """A printed cost, and what one forward pass costs.

    Attributes:
        where: the printed cost.
        forward: of one forward pass, in the unit printed; None when not known.
        counter: who counted `forward`, and on what.
        mirrors: mirror passes of the method's inference.
        slices: of a typical volume, to bring a cost of one image to a volume; None leaves that out.
        cited: whether the printed value is taken from another publication.
    """

    where: Where
    forward: float | None = None
    counter: str = ""
    mirrors: int = 1
    slices: int | None = None
    cited: str = ""
    id: str = ""


@dataclass(frozen=True)
class Condition:
    """Rows that were made under other conditions than the rest of their table: hardware, epochs, wording."""

    kind: Literal["device", "epochs"]
    values: dict[str, str]
    id: str = ""


@dataclass(frozen=True)
class Information:
    """What rows of one table were given at inference: row -> prompts in words."""

    given: dict[str, str]
    grade: Grade
    source: str
    id: str = ""


@dataclass(frozen=True)
class Pretraining:
    """What a starting checkpoint had seen.

    Attributes:
        weights: the checkpoint.
        listed: its training sets, by the names of `evaluated`.
        evaluated: sets of the paper, by their part in it (e.g. `main`, `transfer`).
        source: of the list.
    """

    weights: str
    listed: tuple[str, ...]
    evaluated: dict[str, list[str]]
    source: str
    assumption: str = ""
    id: str = ""


@dataclass(frozen=True)
class Silence:
    """Reported means that may count empty slices as 1, with shares of such slices to try."""

    where: Where
    shares: tuple[float, ...]
    assumption: str
    id: str = ""


@dataclass(frozen=True)
class Stated:
    """Something read in the text that needs no arithmetic."""

    check: str
    sentence: str
    grade: Grade = "C"
    assumption: str = ""
    id: str = ""


@dataclass(frozen=True)
class Linked:
    """Columns to compare over some of their rows only."""

    rows: Where
    id: str = ""


@dataclass(frozen=True)
class Mixture:
    """Pairs of IoU and Dice to read as misses and alike finds."""

    where: Where
    id: str = ""


@dataclass(frozen=True)
class Share:
    """Shares of counted items: each must be a whole number of `n`."""

    where: Where
    n: int
    items: str = "cases"
    id: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything beside the tables.

    Attributes:
        source: what was read.
        percent: whether all shares are printed in percent; None finds out by the values.
        ids: check -> group id of its findings on the tables alone.
    """

    source: str = ""
    percent: bool | None = None
    ids: dict[str, str] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    claims: tuple[Claim, ...] = ()
    same: tuple[Same, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    counts: tuple[Count, ...] = ()
    gains: tuple[Gain, ...] = ()
    statistics: tuple[Statistics, ...] = ()
    costs: tuple[CostFact, ...] = ()
    conditions: tuple[Condition, ...] = ()
    information: tuple[Information, ...] = ()
    pretraining: tuple[Pretraining, ...] = ()
    silence: tuple[Silence, ...] = ()
    stated: tuple[Stated, ...] = ()
    linked: tuple[Linked, ...] = ()
    mixtures: tuple[Mixture, ...] = ()
    shares: tuple[Share, ...] = ()


def read_facts(source: Path) -> Facts:
    """Read a side file, TOML or JSON (`.json`).

    Raises:
        InputError: when the file is missing or empty.
        ConfigError: names the key or value that is wrong.
    """
    content: Any = read_json(source) if source.suffix.lower() == ".json" else load_toml(source)
    if not isinstance(content, dict):
        raise ConfigError(f"{source} must hold a table of facts; docs/reference/audit.md lists its keys.")
    return fill(Facts, content, str(source))


def _listed(names: Names) -> frozenset[str] | None:
    return None if names is None else frozenset([names] if isinstance(names, str) else names)
