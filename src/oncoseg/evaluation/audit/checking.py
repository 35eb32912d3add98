"""All checks of the shelf on one subject."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from oncoseg import registry
from oncoseg.config import fill
from oncoseg.evaluation.audit.cells import TableCell, table_cells
from oncoseg.evaluation.audit.check import Check, Subject
from oncoseg.evaluation.audit.facts import Facts
from oncoseg.evaluation.audit.finding import Audit, Finding, InOrder
from oncoseg.evaluation.published import PAPERS, Paper, printed

#: What comparisons between the three papers are kept under.
ACROSS = "across-papers"


@cache
def checks() -> tuple[Check, ...]:
    """Every check of the shelf, by name."""
    return tuple(registry.load("checks", name).CHECK for name in registry.names("checks"))


def audit(cells: Sequence[TableCell], facts: Facts | None = None, *, subject: str = "table") -> Audit:
    """Run every check.

    Args:
        cells: printed values, see `oncoseg.evaluation.audit.reading`.
        facts: what stands beside the tables.
        subject: what is audited, in words.

    Returns:
        Findings with ids: the group's name, numbered where a group has several.
    """
    given = Subject(tuple(cells), facts or Facts())
    findings: list[Finding] = []
    in_order: list[InOrder] = []
    nothing: dict[str, str] = {}
    for check in checks():
        said = [*check(given), *_stated(check.name, given.facts)]
        if not said:
            nothing[check.name] = check.needs
        findings += [f for f in said if isinstance(f, Finding)]
        in_order += [f for f in said if isinstance(f, InOrder)]
    ids = given.facts.ids
    named = [replace(f, group=f.group or ids.get(f.check, f.check)) for f in findings]
    held = [replace(f, group=f.group or ids.get(f.check, f.check)) for f in in_order]
    return Audit(subject, tuple(numbered(named)), tuple(held), nothing)


def numbered(findings: Sequence[Finding]) -> list[Finding]:
    """Findings with ids: their group, and a number behind it where it has several; sorted by group."""
    ordered = sorted(findings, key=lambda f: _natural(f.group))
    sizes: dict[str, int] = {}
    for finding in ordered:
        sizes[finding.group] = sizes.get(finding.group, 0) + 1
    seen: dict[str, int] = {}
    named = []
    for finding in ordered:
        seen[finding.group] = seen.get(finding.group, 0) + 1
        one = sizes[finding.group] == 1
        named.append(replace(finding, id=finding.group if one else f"{finding.group}.{seen[finding.group]}"))
    return named


def published_facts(name: str) -> Facts:
    """What stands beside the tables of one of the three papers, or `ACROSS` them."""
    text = files("oncoseg.evaluation.audit").joinpath("papers", f"{name}.toml").read_text(encoding="utf-8")
    return fill(Facts, tomllib.loads(text), f"{name}.toml")


def audit_published(paper: Paper | None = None) -> Audit:
    """Audit what one of the three papers prints, or all of them together.

    Args:
        paper: one of `PAPERS`; None for all and for what lies between them.
    """
    if paper is not None:
        return audit(table_cells(printed(paper)), published_facts(paper), subject=paper)
    parts = [audit_published(one) for one in PAPERS]
    across = audit(table_cells(printed()), published_facts(ACROSS), subject=ACROSS)
    # The tables on their own were looked at paper by paper; here only what lies between them counts.
    between = [f for f in across.findings if f.group.startswith("X")]
    nothing = [part.nothing_to_check.keys() for part in parts]
    return Audit(
        ", ".join(PAPERS),
        tuple([*(f for part in parts for f in part.findings), *between]),
        tuple(f for part in parts for f in part.in_order),
        {name: needs for name, needs in parts[0].nothing_to_check.items() if all(name in names for names in nothing)},
    )


def _stated(check: str, facts: Facts) -> list[Finding]:
    """What the side file states for a check, without arithmetic."""
    return [
        Finding(check, s.grade, (), "as stated", {}, s.sentence, assumption=s.assumption, group=s.id)
        for s in facts.stated
        if s.check == check
    ]


def _natural(group: str) -> tuple[str, int]:
    letters = group.rstrip("0123456789")
    digits = group[len(letters) :]
    return letters, int(digits) if digits else 0
