"""`oncoseg degrade`: what is left of a model's score when its prompts are not exact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Settings = list[str] | None


def degrade(
    model: Annotated[str, typer.Argument(help="A model that takes prompts, or a checkpoint of `oncoseg train`.")],
    dataset: Annotated[
        str,
        typer.Option(
            help="A name from `oncoseg datasets`, a prepared folder, or a TOML file with tables of data sets."
        ),
    ],
    axis: Annotated[
        Settings,
        typer.Option(
            help="What gets worse: NAME or NAME=0,5,10, e.g. jitter_mm. Repeatable. Default: all that fit the model."
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Draws a case at every level but the undegraded one.")] = 3,
    beside: Annotated[
        Settings, typer.Option(help="Models on the same prompts. Repeatable. Default: filled_box and ellipsoid.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="No model beside it.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/degrade-MODEL.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Your weights file; default: the catalogue's.")] = None,
    settings: Annotated[Settings, typer.Option("--set", help="Option of the model, name=value. Repeatable.")] = None,
    data: Annotated[Settings, typer.Option("--data", help="Option of the data set, name=value. Repeatable.")] = None,
    case: Annotated[Settings, typer.Option(help="Only this case. Repeatable.")] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Probability above which a voxel is tumour.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Cells at the same time, each in a process of its own.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
) -> None:
    """Give a model worse and worse prompts, on the same cases with the same draws; a curve and its area each.

    Can be killed at any time; the same command goes on.
    """
    from oncoseg.cli.bench import run_and_report, show_plan
    from oncoseg.cli.settings import named_datasets, named_model
    from oncoseg.config import parse_settings
    from oncoseg.experiments.degrading import BESIDE, axis_and_levels, degradation_matrix
    from oncoseg.experiments.specs import ModelSpec

    name, file = named_model(model, weights)
    matrix = degradation_matrix(
        ModelSpec(name, parse_settings(settings or []), file),
        named_datasets(dataset, data or [], tuple(case or ())),
        [axis_and_levels(text) for text in axis or []],
        beside=() if alone else tuple(beside or BESIDE),
        repeats=repeats,
        seed=seed,
        threshold=threshold,
    )
    place = out or Path("runs") / matrix.name
    if dry_run:
        from oncoseg.experiments.local import run_matrix

        show_plan(run_matrix(matrix, place, dry_run=True))
        return
    run_and_report(matrix, place, workers=workers, report=report, title=f"{name}: how exact must the prompt be?")
