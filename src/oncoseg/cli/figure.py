"""`oncoseg figure`: the papers' figures from the results of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoseg.cli.show import print_entries, say
from oncoseg.errors import InputError


def figure(
    name: Annotated[str | None, typer.Argument(help="Of the figure; without one all are listed.")] = None,
    run: Annotated[Path | None, typer.Argument(help="Output folder of `oncoseg bench`.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write: FILE.png or FILE.svg for that file alone, another name for .png, .svg, .txt (words) "
            "and .csv (numbers). Default: figures/NAME in the run."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A choice of the figure, name=value. Repeatable.")
    ] = None,
) -> None:
    """Draw a figure of a paper from result files, or list the figures and what one may choose."""
    from oncoseg.config import parse_settings
    from oncoseg.report.drawing import KINDS, Kind, choices_of, draw, names, save, title_of

    if name is None:
        print_entries([(each, choices_of(each), title_of(each)) for each in names()])
        return
    if run is None:
        raise InputError(f"Give the folder of a run too: oncoseg figure {name} RUN.")
    kinds: tuple[Kind, ...] = KINDS
    stem = out or run / "figures" / name
    for kind in KINDS:
        if stem.suffix == f".{kind}":
            kinds, stem = (kind,), stem.with_suffix("")
    drawn = draw(name, run, **parse_settings(settings or []))
    for written in save(drawn, stem, kinds):
        say(f"{written}")
    say(drawn.words)
