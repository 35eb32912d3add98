"""The audit of a run with the means of its report, which must follow from its scores."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from oncoseg.evaluation.audit.checking import numbered
from oncoseg.evaluation.audit.finding import Audit, Finding, InOrder
from oncoseg.experiments import auditing
from oncoseg.experiments.store import read_run
from oncoseg.report.downloads import leaderboard_csv
from oncoseg.report.groups import make_groups

LEADERBOARD, PAGE = "leaderboard.csv", "report.html"
_DOWNLOAD = re.compile(r'download="leaderboard\.csv" href="data:text/csv;base64,([A-Za-z0-9+/=]+)"')
_PLACE = ("dataset", "prompt", "level", "protocol", "roi", "model", "metric")
#: Means are written with six significant digits.
_CLOSE = 1e-5

Key = tuple[str, ...]


def audit_run(run: Path) -> Audit:
    """Audit a run, and its report where it lies in the folder.

    Raises:
        InputError: when the folder does not exist or holds no finished cell, or a file is damaged.
    """
    found = auditing.audit_run(run)
    said = list(_means(run))
    findings = [replace(f, group=f.check) for f in said if isinstance(f, Finding)]
    in_order = [o for o in said if isinstance(o, InOrder)]
    nothing = dict(found.nothing_to_check)
    if not said:
        nothing["means"] = f"{PAGE} or {LEADERBOARD} in the folder"
    return replace(
        found,
        findings=(*found.findings, *numbered(findings)),
        in_order=(*found.in_order, *in_order),
        nothing_to_check=nothing,
    )


def _means(run: Path) -> Iterator[Finding | InOrder]:
    """Every mean that the report prints, computed again from `scores.jsonl`."""
    for place, text in _written(run):
        printed, computed = _by_key(text), _by_key(leaderboard_csv(make_groups(read_run(run))))
        differing = [k for k, value in printed.items() if not _equal(value, computed.get(k))]
        for key in differing:
            told = computed.get(key)
            now = "no such score is held" if told is None else f"the scores give {told or 'no value'}"
            name = ", ".join(part for part in key if part)
            sentence = f"{place}: {name}: a mean of {printed[key] or '-'} is printed, and {now}."
            numbers = {n: float(v) for n, v in (("printed", printed[key]), ("computed", told)) if v}
            yield Finding("means", "C", (name,), "mean over patients of scores.jsonl", numbers, sentence, f"{_CLOSE:g}")
        yield InOrder("means", f"{place}: means that follow from the scores", len(printed) - len(differing))


def _written(run: Path) -> Iterator[tuple[str, str]]:
    """Where a leaderboard was written, and its CSV."""
    if (run / LEADERBOARD).exists():
        yield LEADERBOARD, (run / LEADERBOARD).read_text(encoding="utf-8")
    if (run / PAGE).exists():
        match = _DOWNLOAD.search((run / PAGE).read_text(encoding="utf-8"))
        if match is not None:
            yield PAGE, base64.b64decode(match[1]).decode()


def _by_key(text: str) -> dict[Key, str]:
    return {
        tuple(row.get(name) or "" for name in _PLACE): row.get("mean") or ""
        for row in csv.DictReader(text.splitlines())
    }


def _equal(printed: str, computed: str | None) -> bool:
    if computed is None or not printed or not computed:
        return printed == computed
    return abs(float(printed) - float(computed)) <= _CLOSE * max(1.0, abs(float(computed)))
