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
        typer.Option(help="Names, comma-separated, e.g. dice,hd95_max,lesion_f1@iou0.1; all. Default: the usual ones."),
    ] = None,
    label: Annotated[
        list[int] | None, typer.Option(help="Label value(s) that are tumour, when the masks hold several. Repeatable.")
    ] = None,
    prediction_label: Annotated[
        list[int] | None, typer.Option(help="The same for the prediction, where its values differ. Repeatable.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Scoring rule, or several, comma-separated; 'all' shows how far the number moves.")
    ] = "case3d",
    probability: Annotated[
        Path | None,
        typer.Option(help="What the prediction was made from, in [0, 1]: for brier@box and rules with own thresholds."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a prediction against a reference, on the scanner's grid, by default the whole volume.

    Undefined metrics (empty masks) are null with a reason, never 0 or NaN. Several rules: the Dice under each of them,
    unless metrics are named.
    """
    from oncoseg.cli.masks import read_binary_mask
    from oncoseg.errors import InputError
    from oncoseg.evaluation.metric import needs_probability
    from oncoseg.evaluation.scoring import DEFAULT_METRICS, EVERY_METRIC, chosen_protocols, metric, score_case
    from oncoseg.io.images import read_image

    rules = chosen_protocols([name.strip() for name in protocol.split(",") if name.strip()])
    if not rules:
        raise InputError(f"--protocol '{protocol}' names no scoring rule, e.g. --protocol case3d, or --protocol all.")
    usual = DEFAULT_METRICS if len(rules) == 1 else ("dice",)
    wanted = list(usual) if metrics is None else [m.strip() for m in metrics.split(",") if m.strip()]
    if wanted == ["all"]:
        wanted = [name for name in EVERY_METRIC if probability is not None or not needs_probability(metric(name))]
    if not wanted:
        raise InputError(
            f"--metrics '{metrics}' names no metric. `oncoseg metrics` lists them, e.g. --metrics dice,assd."
        )
    first = read_binary_mask(reference, label)
    second = read_binary_mask(prediction, prediction_label or label)
    first.require_same_grid(second, f"reference {reference} and prediction {prediction}")
    if not first.voxels.any():
        say(f"note: reference {reference} is empty; metrics that need a tumour are undefined")
    soft = None if probability is None else read_image(probability)
    scores = [
        score
        for rule in rules
        for score in score_case(
            first, second, case=prediction.name, patient="", metrics=wanted, protocol=rule, probability=soft
        )
    ]
    if as_json:
        print_json([_entry(s) for s in scores])
        return
    _print(scores, f"{prediction.name} against {reference.name}", several=len(rules) > 1)


def _print(scores: list[Score], title: str, *, several: bool) -> None:
    rows = [[s.metric, "undefined" if s.value is None else f"{s.value:.4f}", s.unit, s.reason or ""] for s in scores]
    if not several:
        print_table(f"{title} ({scores[0].protocol})", ["metric", "value", "unit", ""], rows)
        return
    rows = [[s.protocol, *row] for s, row in zip(scores, rows, strict=True)]
    print_table(title, ["protocol", "metric", "value", "unit", ""], rows)
    for name in dict.fromkeys(s.metric for s in scores):
        held = {s.protocol: s.value for s in scores if s.metric == name and s.value is not None}
        if len(held) > 1:
            low, high = min(held, key=lambda rule: held[rule]), max(held, key=lambda rule: held[rule])
            say(f"{name} moves by {held[high] - held[low]:.4f}: {held[low]:.4f} ({low}) to {held[high]:.4f} ({high})")


def _entry(score: Score) -> dict[str, object]:
    return {
        "name": score.metric,
        "value": score.value,
        "reason": score.reason,
        "unit": score.unit,
        "higher_is_better": score.higher_is_better,
        "protocol": score.protocol,
    }
