"""`oncoseg demo`: the whole path on a real CT and a phantom, in a few minutes."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from oncoseg.cli.show import say


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo"),
    workers: Annotated[int, typer.Option(min=1, help="Cells at the same time.")] = 1,
) -> None:
    """Fetch a real CT and weights, train a small U-Net on phantoms, compare models and readers, write a report.

    The second time it works offline; with no network at all it runs on the phantom alone and says what was left out.
    """
    from oncoseg.cli.bench import run_and_report
    from oncoseg.experiments.matrix import load_matrix
    from oncoseg.fetch import cache_folder

    say(f"demo: results in {out}, downloads are kept in {cache_folder()}")
    with as_file(files("oncoseg.cli") / "demo.toml") as matrix:
        loaded = load_matrix(matrix)
    run_and_report(loaded, out, workers=workers, title="oncoseg demo: a real CT, four readers and a phantom")
