"""`oncoseg transfer`: what is left of a model on other data than it learned on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oncoseg.experiments.specs import DatasetSpec, PromptSpec

Settings = list[str] | None


def transfer(
    source: Annotated[
        str, typer.Option(help="Trained on: a name from `oncoseg datasets`, a folder, or an id of --data.")
    ],
    target: Annotated[str, typer.Option(help="Scored on, likewise; before and after are compared there.")],
    model: Annotated[list[str], typer.Option(help="A trainable model, e.g. unet. Repeatable.")],
    recipe: Annotated[str | None, typer.Option(help="How it is built and trained, e.g. smoke or m-sam.")] = None,
    train: Annotated[
        Settings, typer.Option("--train", help="Setting of the training, e.g. steps=500. Repeatable.")
    ] = None,
    both: Annotated[bool, typer.Option("--both", help="The other direction too.")] = False,
    data: Annotated[Path | None, typer.Option(help="TOML file with tables [dataset.ID] of source and target.")] = None,
    source_data: Annotated[Settings, typer.Option(help="Option of the source, name=value. Repeatable.")] = None,
    target_data: Annotated[Settings, typer.Option(help="Option of the target, name=value. Repeatable.")] = None,
    test: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the patients that is scored; tables of --data say it.")
    ] = 0.3,
    prompt: Annotated[
        str | None, typer.Option(help="Given to models that take prompts. Default: centre_click, or box.")
    ] = None,
    then: Annotated[str, typer.Option(help="Who corrects their answers, e.g. uniform_error.")] = "none",
    rounds: Annotated[int, typer.Option(min=0, help="Corrections.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/transfer-SOURCE-TARGET.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of splits, trainings and prompts.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Cells at the same time, each in a process of its own.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
) -> None:
    """Train on one data set, score on another, and set it beside the same model trained where it is scored.

    Before, after, difference and rate stand in the report's table "Trained elsewhere". A patient or an image on both
    sides is refused. Can be killed at any time; the same command goes on.
    """
    from oncoseg.cli.bench import run_and_report, show_plan
    from oncoseg.config import parse_settings
    from oncoseg.experiments.transferring import transfer_matrix

    wanted = {"source": (source, source_data or []), "target": (target, target_data or [])}
    (first, here), (second, there) = (_dataset(*given, tables=data, test=test, seed=seed) for given in wanted.values())
    matrix = transfer_matrix(
        {first: here, second: there},
        [(first, second), *([(second, first)] if both else [])],
        model,
        recipe=recipe,
        train=parse_settings(train) if train else None,
        prompt=_prompt(prompt, then, rounds),
        seed=seed,
        name=f"transfer-{first}-{second}",
    )
    place = out or Path("runs") / matrix.name
    if dry_run:
        from oncoseg.experiments.local import run_matrix

        show_plan(run_matrix(matrix, place, dry_run=True))
        return
    title = f"Trained on {first}, scored on {second}" + (", and the other way round" if both else "")
    run_and_report(matrix, place, workers=workers, report=report, title=title)


def _dataset(text: str, settings: list[str], *, tables: Path | None, test: float, seed: int) -> tuple[str, DatasetSpec]:
    """Id and data set of a name, a folder, or an id of the tables; what has no split of its own gets one."""
    from dataclasses import replace

    from oncoseg.cli.settings import named_datasets
    from oncoseg.config import parse_settings
    from oncoseg.experiments.specs import SplitSpec

    held = named_datasets(str(tables), []) if tables is not None else {}
    if text in held:
        spec = replace(held[text], options={**held[text].options, **parse_settings(settings)})
        return text, spec if spec.split.trains else replace(spec, split=SplitSpec(test, seed=seed))
    ((name, spec),) = named_datasets(text, settings).items()
    return name, replace(spec, split=SplitSpec(test, seed=seed))


def _prompt(use: str | None, then: str, rounds: int) -> PromptSpec | None:
    """What was asked for; None leaves it to each model."""
    from oncoseg.errors import ConfigError
    from oncoseg.experiments.specs import PromptSpec

    if use is None and rounds:
        raise ConfigError("Corrections follow a first prompt: give --prompt too, e.g. --prompt random_click.")
    return None if use is None else PromptSpec(use, then=then, rounds=rounds)
