"""The front page: `oncoseg VERB`, each verb in a file of its own, heavy imports inside the verbs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from oncoseg import __version__
from oncoseg.cli import (
    audit,
    bench,
    convert,
    cost,
    data,
    degrade,
    deidentify,
    demo,
    evaluate,
    export,
    fetch,
    figure,
    listen,
    lungs,
    predict,
    pull,
    push,
    report,
    reproduce,
    shelves,
    statistics,
    train,
    transfer,
    weights,
)
from oncoseg.errors import OncosegError

app = typer.Typer(
    name="oncoseg",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Segment tumours on CT (and MRI) with every serious model, and say honestly how good each one is.\n\n"
        "Start with [bold]oncoseg demo[/], then: [bold]models[/] to choose, [bold]predict[/] to segment, "
        "[bold]evaluate[/] to score, [bold]bench[/] to compare."
    ),
)

_START, _LOOK, _WORK, _COMPARE = "Start", "What there is", "Work on images", "Compare models"
app.command("demo", rich_help_panel=_START)(demo.demo)
app.command("models", rich_help_panel=_LOOK)(shelves.models)
app.command("datasets", rich_help_panel=_LOOK)(shelves.datasets)
app.command("metrics", rich_help_panel=_LOOK)(shelves.metrics)
app.command("prompts", rich_help_panel=_LOOK)(shelves.prompts)
app.command("cost", rich_help_panel=_LOOK)(cost.cost)
app.command("fetch", rich_help_panel=_LOOK)(fetch.fetch)
app.add_typer(weights.app, name="weights", rich_help_panel=_LOOK)
app.command("predict", rich_help_panel=_WORK)(predict.predict)
app.command("evaluate", rich_help_panel=_WORK)(evaluate.evaluate)
app.command("convert", rich_help_panel=_WORK)(convert.convert)
app.command("export", rich_help_panel=_WORK)(export.export)
app.command("lungs", rich_help_panel=_WORK)(lungs.lungs)
app.command("pull", rich_help_panel=_WORK)(pull.pull)
app.command("push", rich_help_panel=_WORK)(push.push)
app.command("listen", rich_help_panel=_WORK)(listen.listen)
app.add_typer(data.app, name="data", rich_help_panel=_WORK)
app.command("deidentify", rich_help_panel=_WORK)(deidentify.deidentify)
app.command("train", rich_help_panel=_COMPARE)(train.train)
app.command("bench", rich_help_panel=_COMPARE)(bench.bench)
app.command("degrade", rich_help_panel=_COMPARE)(degrade.degrade)
app.command("transfer", rich_help_panel=_COMPARE)(transfer.transfer)
app.command("report", rich_help_panel=_COMPARE)(report.report)
app.command("statistics", rich_help_panel=_COMPARE)(statistics.statistics)
app.command("reproduce", rich_help_panel=_COMPARE)(reproduce.reproduce)
app.command("audit", rich_help_panel=_COMPARE)(audit.audit)
app.command("figure", rich_help_panel=_COMPARE)(figure.figure)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"oncoseg {__version__}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the verb."""


def run() -> None:
    """Entry point: what users can mend is printed as one message, with the error's exit code."""
    try:
        app()
    except OncosegError as error:
        print(f"oncoseg: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OncosegError.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(
            f"oncoseg: {place}{error.strerror or error}. Check that it can be read and written, and free some space "
            "if the disk is full.",
            file=sys.stderr,
        )
        sys.exit(OncosegError.exit_code)
    except MemoryError as error:
        print(
            f"oncoseg: not enough memory: {error}. Crop the image, choose a coarser spacing, or use a larger machine.",
            file=sys.stderr,
        )
        sys.exit(OncosegError.exit_code)
    except KeyboardInterrupt:
        print("oncoseg: stopped. Finished parts are kept; the same command goes on from there.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
