"""`oncoseg evaluate`: score a prediction against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import print_json, print_table, say

if TYPE_CHECKING:
    from oncoseg.score import Score


def evaluate(
    reference: Annotated[Path, typer.Argument(help="Reference mask: NIfTI or NRRD.")],
    prediction: Annotated[Path, typer.Argument(help="Predicted mask on the same grid.")],
    metrics: Annotated[
        str | None,
        typer.Option(help="Names, comma-separated, e.g. dice,hd95_max,nsd_border@2. Default: the usual ones."),
    ] = None,
    label: Annotated[
        list[int] | None, typer.Option(help="Label value(s) that are tumour, when the masks hold several. Repeatable.")
    ] = None,
    prediction_label: Annotated[
        list[int] | None, typer.Option(help="The same for the prediction, where its values differ. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a prediction against a reference, on the scanner's grid, whole volume.

    Undefined metrics (empty masks) are null with a reason, never 0 or NaN.
    """
    from oncoseg.cli.masks import read_binary_mask
    from oncoseg.errors import InputError
    from oncoseg.evaluation.scoring import DEFAULT_METRICS, score_case

    wanted = list(DEFAULT_METRICS) if metrics is None else [m.strip() for m in metrics.split(",") if m.strip()]
    if not wanted:
        raise InputError(
            f"--metrics '{metrics}' names no metric. `oncoseg metrics` lists them, e.g. --metrics dice,assd."
        )
    first = read_binary_mask(reference, label)
    second = read_binary_mask(prediction, prediction_label or label)
    first.require_same_grid(second, f"reference {reference} and prediction {prediction}")
    if not first.voxels.any():
        say(f"note: reference {reference} is empty; metrics that need a tumour are undefined")
    scores = score_case(first, second, case=prediction.name, patient="", metrics=wanted)
    if as_json:
        print_json([_entry(s) for s in scores])
        return
    rows = [[s.metric, "undefined" if s.value is None else f"{s.value:.4f}", s.unit, s.reason or ""] for s in scores]
    print_table(
        f"{prediction.name} against {reference.name} ({scores[0].protocol})", ["metric", "value", "unit", ""], rows
    )


def _entry(score: Score) -> dict[str, object]:
    return {
        "name": score.metric,
        "value": score.value,
        "reason": score.reason,
        "unit": score.unit,
        "higher_is_better": score.higher_is_better,
        "protocol": score.protocol,
    }
