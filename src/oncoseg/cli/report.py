"""`oncoseg report`: result files to one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoseg.cli.show import say


def report(
    run: Annotated[Path, typer.Argument(help="Output folder of `oncoseg bench` (or of `oncoseg demo`).")],
    out: Annotated[Path | None, typer.Option(help="The page to write. Default: report.html in the folder.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
) -> None:
    """Write one HTML page from result files; it opens offline and needs nothing else."""
    from oncoseg.report.html import write_report

    say(f"report: {write_report(run, out or run / 'report.html', title=title)}")
