"""An audit as plain data, as Markdown, and as lines for a terminal."""

from __future__ import annotations

from typing import Any

from oncoseg.config import plain
from oncoseg.evaluation.audit.finding import GRADE_WORDS, Audit, Finding


def as_data(audit: Audit) -> dict[str, Any]:
    """For JSON; numbers unrounded."""
    return {**plain(audit), "grades": dict(GRADE_WORDS)}


def as_markdown(audit: Audit) -> str:
    """A page: what was found, with the arithmetic, and what is in order."""
    parts = [f"# Audit of {audit.subject}", ""]
    counted = ", ".join(f"{sum(f.grade == g for f in audit.findings)} {g}" for g in GRADE_WORDS)
    grades = "; ".join(f"{g} {words}" for g, words in GRADE_WORDS.items())
    parts += [f"{len(audit.findings)} findings: {counted} ({grades}).", ""]
    if audit.findings:
        parts += ["| id | grade | check | finding | formula | numbers | assumption |", "|---|---|---|---|---|---|---|"]
        parts += [_row(f) for f in audit.findings]
        parts.append("")
    if audit.in_order:
        parts += ["## In order", "", "| check | what | looked at |", "|---|---|---:|"]
        parts += [f"| {o.check} | {_escaped(o.what)} | {o.count} |" for o in audit.in_order]
        parts.append("")
    if audit.nothing_to_check:
        parts += ["## Nothing to check", ""]
        parts += [f"* `{name}` needs {_escaped(needs)}" for name, needs in audit.nothing_to_check.items()]
        parts.append("")
    return "\n".join(parts)


def numbers_of(finding: Finding) -> str:
    """The numbers of a finding on one line."""
    return "; ".join(f"{name} {value:.5g}" for name, value in finding.numbers.items())


def _row(finding: Finding) -> str:
    assumption = "; ".join(part for part in (finding.assumption, finding.tolerance) if part)
    cells = (
        finding.id,
        finding.grade,
        finding.check,
        finding.sentence,
        finding.formula,
        numbers_of(finding),
        assumption,
    )
    return f"| {' | '.join(_escaped(c) for c in cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
