"""What a training scored after each epoch, from the logs that cells keep of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from oncoseg.errors import InputError
from oncoseg.experiments.store import CellResult
from oncoseg.report.groups import label_cells
from oncoseg.report.views import require_known

#: `slices`: Dice of the validation slices that hold tumour, logged where every epoch is kept; `cases`: the score of the
#: validation cases that chooses the weights; `auto`: slices where all trainings have them.
Values = Literal["auto", "slices", "cases"]
WORDS = {"slices": "Dice of validation slices with tumour", "cases": "Dice of validation cases"}


@dataclass(frozen=True)
class Trajectory:
    """One training.

    Attributes:
        label: of the model.
        dataset: id.
        seed, fold: of the training.
        epochs, scores: of equal length, ascending epochs.
        values: what the scores are, a key of `WORDS`.
    """

    label: str
    dataset: str
    seed: int
    fold: int
    epochs: tuple[float, ...]
    scores: tuple[float, ...]
    values: str

    @property
    def best(self) -> int:
        """Position of the highest score, the first of equal ones."""
        return max(range(len(self.scores)), key=lambda n: (self.scores[n], -n))


def trajectories(
    results: Sequence[CellResult], *, dataset: str = "", models: Sequence[str] = (), values: Values = "auto"
) -> list[Trajectory]:
    """Every training of a run once, whatever prompts it was tried with, by data set and in the order of `models`.

    Raises:
        InputError: when nothing was trained with validation cases, or the log lacks what was asked for.
        UnknownNameError: for an unknown data set or model.
    """
    labels = label_cells(results)
    trained = [cell for cell in results if cell.record.trained_here and cell.training]
    require_known("data set", [dataset] if dataset else [], {c.record.dataset for c in trained})
    require_known("model", models, {labels[c.record.key] for c in trained})
    wanted = [
        c for c in trained
        if dataset in ("", c.record.dataset) and (not models or labels[c.record.key] in models)
    ]  # fmt: skip
    chosen: Literal["slices", "cases"]
    if values == "auto":
        chosen = "slices" if wanted and all(_scores(c, "slices") for c in wanted) else "cases"
    else:
        chosen = values
    found: dict[tuple[str, str, int, int], Trajectory] = {}
    for cell in wanted:
        record, points = cell.record, _scores(cell, chosen)
        key = (record.dataset, labels[record.key], record.seed, record.fold)
        if points and key not in found:
            epochs, scores = zip(*points, strict=True)
            found[key] = Trajectory(key[1], key[0], record.seed, record.fold, epochs, scores, chosen)
    if not found:
        raise InputError(
            "No training of the run logged a score of validation patients. Give split = { validation = ... } in the "
            "data set's table, and train = { keep_every_epoch = true } for a score after every epoch."
        )
    order = {label: place for place, label in enumerate(models)}
    return sorted(found.values(), key=lambda t: (t.dataset, order.get(t.label, 0)))


def by_model(held: Iterable[Trajectory]) -> dict[str, list[Trajectory]]:
    """Label -> its trainings, in their order."""
    found: dict[str, list[Trajectory]] = {}
    for one in held:
        found.setdefault(one.label, []).append(one)
    return found


def _scores(cell: CellResult, values: str) -> list[tuple[float, float]]:
    """(epoch, score) of every line that has one."""
    held = [
        (line.get("epoch"), (line.get("scores") or {}).get("dice") if values == "slices" else line.get("validation"))
        for line in cell.training
    ]
    return [(float(epoch), float(score)) for epoch, score in held if epoch is not None and score is not None]
