"""The arithmetic that printed tables are audited with, on our own table: it must hold for any honest means."""

from __future__ import annotations

from collections.abc import Iterator

from oncoseg.evaluation.audit.cells import table_cells
from oncoseg.evaluation.audit.checking import audit
from oncoseg.evaluation.published import Printed
from oncoseg.report.papers.filling import FilledTable

#: Checks that hold for every table of means over patients.
CHECKS = ("order", "jensen", "average_range", "delta_columns")
#: Digits behind the point that our means are checked with.
_DIGITS = 8


def sanity(table: FilledTable) -> tuple[str, ...]:
    """What the checks say about our own values, one sentence each; () where a table has nothing to check."""
    found = audit(table_cells(_as_printed(table)), subject="our own table")
    said = [f"{f.check}: {f.sentence}" for f in found.findings if f.check in CHECKS]
    held = [
        f"{one.check}: in order in {one.count} places ({one.what})" for one in found.in_order if one.check in CHECKS
    ]
    return (*said, *held)


def _as_printed(table: FilledTable) -> Iterator[Printed]:
    """Our values under the names that the paper gives them."""
    for row in table.rows:
        for found in row.places:
            names = {**found.place.column.printed, **row.line.printed}
            if found.value is not None and names.get("metric"):
                yield Printed(
                    paper=table.layout.paper,
                    table=table.layout.name,
                    dataset=names.get("dataset", ""),
                    method=names.get("method", ""),
                    setting=names.get("setting", ""),
                    target=names.get("target", ""),
                    metric=names["metric"],
                    value=round(found.value, _DIGITS),
                    decimals=_DIGITS,
                )
