"""`oncoseg audit`: what a table cannot hold, and what a run owes to its test data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import print_entries, print_json, say

if TYPE_CHECKING:
    from oncoseg.evaluation.audit.finding import Audit


def audit(
    subjects: Annotated[
        list[Path] | None, typer.Argument(help="Tables (CSV, TSV, Markdown), or folders of runs.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Audit what the three papers print; name one as PAPER to see it alone.")
    ] = False,
    facts: Annotated[
        Path | None, typer.Option(help="What stands beside the table: marks, claims, counts. TOML or JSON.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="What columns hold whose heads name no metric, e.g. Dice.")] = None,
    percent: Annotated[
        bool | None, typer.Option("--percent/--fraction", help="Scale of the shares. Default: found from the values.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Check printed values for what cannot be, or a run for leaks; findings do not fail the command.

    Every finding names its values, formula, tolerance and assumption, and how certain it is: C certain, K certain as a
    number, I inferred.
    """
    given: list[Path | None] = [*subjects] if subjects else [None]
    found = [_audited(each, published, facts, metric=metric, percent=percent) for each in given]
    if as_json:
        from oncoseg.evaluation.audit.rendering import as_data

        print_json([as_data(each) for each in found] if len(found) > 1 else as_data(found[0]))
        return
    for each in found:
        _print(each, markdown=markdown)


def _audited(
    subject: Path | None, published: bool, facts: Path | None, *, metric: str | None, percent: bool | None
) -> Audit:
    from oncoseg.errors import InputError, UnknownNameError
    from oncoseg.evaluation.audit.checking import audit as audited
    from oncoseg.evaluation.audit.checking import audit_published
    from oncoseg.evaluation.audit.facts import Facts, read_facts
    from oncoseg.evaluation.audit.reading import read_table
    from oncoseg.evaluation.published import PAPERS

    if published:
        if subject is None:
            return audit_published()
        for paper in PAPERS:
            if str(subject) == paper:
                return audit_published(paper)
        raise UnknownNameError("paper", str(subject), PAPERS)
    if subject is None:
        raise InputError("Give a table or the folder of a run, or --published for the three papers' tables.")
    if subject.is_dir():
        from oncoseg.report.auditing import audit_run

        return audit_run(subject)
    given = read_facts(facts) if facts is not None else Facts()
    scale = given.percent if percent is None else percent
    return audited(read_table(subject, metric=metric, percent=scale), given, subject=subject.name)


def _print(found: Audit, *, markdown: bool) -> None:
    from oncoseg.evaluation.audit.finding import GRADE_WORDS
    from oncoseg.evaluation.audit.rendering import as_markdown

    if markdown:
        print(as_markdown(found))
        return
    print_entries([(f.id, [f.grade, f.check, f.formula], _told(f.sentence, f.assumption)) for f in found.findings])
    print_entries([(f"in order: {o.check}", [str(o.count)], o.what) for o in found.in_order])
    counts = ", ".join(f"{sum(f.grade == g for f in found.findings)} {g}" for g in GRADE_WORDS)
    grades = "; ".join(f"{g} {words}" for g, words in GRADE_WORDS.items())
    say(f"{found.subject}: {len(found.findings)} findings: {counts} ({grades})")
    if found.nothing_to_check:
        say(f"nothing to check for: {', '.join(found.nothing_to_check)}")


def _told(sentence: str, assumption: str) -> str:
    return f"{sentence} Assumption: {assumption}." if assumption else sentence
