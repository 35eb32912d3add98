"""What stands on the shelf of checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from oncoseg.evaluation.audit.cells import TableCell
from oncoseg.evaluation.audit.facts import Facts
from oncoseg.evaluation.audit.finding import Finding, Grade, InOrder


@dataclass(frozen=True)
class Subject:
    """What a check is given.

    Attributes:
        cells: all printed values.
        facts: what stands beside the tables; empty when only a table is at hand.
    """

    cells: tuple[TableCell, ...]
    facts: Facts


@dataclass(frozen=True)
class Check:
    """One rule.

    Attributes:
        name: the file's name.
        formula: the arithmetic.
        grade: of its findings where nothing else is said.
        assumption: what its findings need; "" for none.
        needs: what a table or side file must hold for it to say anything.
        run: yields findings and what is in order.
    """

    name: str
    formula: str
    grade: Grade
    assumption: str
    needs: str
    run: Callable[[Subject], Iterable[Finding | InOrder]]

    def __call__(self, subject: Subject) -> Iterator[Finding | InOrder]:
        """Everything it has to say."""
        yield from self.run(subject)
