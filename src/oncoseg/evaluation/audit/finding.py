"""What an audit says: findings with their arithmetic, and what was looked at and is in order.

Wording: "the printed values cannot both hold", "the text and the table differ", "the paper does not state its rule".
A finding names values, formula and assumption; nobody's conduct, motive or person is ever its subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: `C` follows from printed values or quotations; `K` is certain as a number, its cause open; `I` needs an assumption.
Grade = Literal["C", "K", "I"]
GRADE_WORDS: dict[Grade, str] = {
    "C": "certain",
    "K": "certain as a number, its cause open",
    "I": "inferred, needs the assumption stated",
}


@dataclass(frozen=True)
class Finding:
    """Something that a table, a text or a run says and that does not go together, or that needs saying.

    Attributes:
        check: name of the check's file.
        grade: how certain it is.
        cells: the values it is about, each with table, row and column.
        formula: as computed.
        numbers: name -> value, unrounded.
        tolerance: how rounding was allowed for; "" where nothing is rounded.
        assumption: what must be believed for it; "" for none.
        sentence: what a reader is told.
        id: unique within an audit; given by `audit`.
        group: of findings that belong together, before they are numbered; "" takes the check's.
    """

    check: str
    grade: Grade
    cells: tuple[str, ...]
    formula: str
    numbers: Mapping[str, float]
    sentence: str
    tolerance: str = ""
    assumption: str = ""
    id: str = ""
    group: str = ""


@dataclass(frozen=True)
class InOrder:
    """Something that was looked at and holds.

    Attributes:
        check: name of the check's file.
        what: in words.
        count: how many values or pairs were looked at.
        group: what findings of this kind are called; "" takes the check's.
        numbers: name -> value, where a number was recomputed.
    """

    check: str
    what: str
    count: int
    group: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """Everything one audit found.

    Attributes:
        subject: what was audited.
        findings: in the order of the checks.
        in_order: what was looked at and holds.
        nothing_to_check: check -> what it would have needed.
    """

    subject: str
    findings: tuple[Finding, ...]
    in_order: tuple[InOrder, ...]
    nothing_to_check: Mapping[str, str]
