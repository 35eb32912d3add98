"""`oncoseg report`: result files to one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoseg.cli.show import say
from oncoseg.errors import InputError


def report(
    run: Annotated[Path, typer.Argument(help="Output folder of `oncoseg bench` (or of `oncoseg demo`).")],
    out: Annotated[Path | None, typer.Option(help="The page to write. Default: report.html in the folder.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a PNG of one case instead, a tile for each model.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="For --picture: id of the data set in the matrix.")] = None,
) -> None:
    """Write one HTML page from result files; it opens offline and needs nothing else."""
    from oncoseg.report.html import write_report
    from oncoseg.report.poster import write_poster

    if (picture is None) != (dataset is None):
        raise InputError("--picture and --dataset go together: the PNG, and the data set it shows.")
    if picture is not None and dataset is not None:
        say(f"picture: {write_poster(run, picture, dataset=dataset)}")
        return
    say(f"report: {write_report(run, out or run / 'report.html', title=title)}")
