"""Options and threshold of a cell chosen on its training patients, never on those it is scored on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg.config import fill, plain
from oncoseg.contracts import Dataset, Model
from oncoseg.errors import InputError
from oncoseg.experiments.doors import PromptDoor
from oncoseg.experiments.events import Event, Progress, silent
from oncoseg.experiments.matrix import THRESHOLD, Cell
from oncoseg.experiments.round_reference import part_round_reference
from oncoseg.experiments.specs import ModelSpec
from oncoseg.files import read_json, write_json

#: File of a cell's folder with everything that was tried.
CHOICE = "choice.json"
#: Training cases that are looked at at most, evenly taken from all of them.
MOST_CASES = 24


@dataclass(frozen=True)
class Trial:
    """One combination on the training cases.

    Attributes:
        options: of the model.
        dice: mean over the cases, by threshold (as text, for JSON).
        cases: how many there were.
    """

    options: dict[str, Any]
    dice: dict[str, float]
    cases: int


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        options: of the model; only those that were open.
        threshold: probability above which a voxel is tumour.
        trials: everything that was tried, in order.
    """

    options: dict[str, Any]
    threshold: float
    trials: tuple[Trial, ...] = field(default=())

    @property
    def told(self) -> str:
        """For every report."""
        best = self.trials[-1]
        named = ", ".join(f"{name} = {value}" for name, value in {**self.options, THRESHOLD: self.threshold}.items())
        dice = max(max(t.dice.values()) for t in self.trials)
        return (
            f"Chosen on {best.cases} training cases, on none of those scored: {named} "
            f"(mean Dice {dice:.3f} on them, best of {len(self.trials)} combinations)."
        )


def choose(
    cell: Cell, spec: ModelSpec, dataset: Dataset, *, cases: Sequence[str], folder: Path, progress: Progress = silent
) -> Choice:
    """Find the values of `cell.choose` that do best on training cases, one option after the other.

    In the order in which the matrix names them, each option takes every one of its values, the others staying as they
    are best so far (their first value at the start); the threshold is read off every combination. The measure is the
    mean Dice of the cell's own prompts. What was tried is kept in the folder, and not tried again after a kill.

    Args:
        cell: what is open, and the prompts.
        spec: the model with the weights it is scored with.
        dataset: of the cell.
        cases: of training patients.
        folder: of the cell.
        progress: told about every combination.

    Raises:
        InputError: when there is no training case, or none in which something is marked.
    """
    if not cases:
        raise InputError(f"{cell.label}: options are chosen on training cases, and there is none.")
    looked_at = _evenly(cases)
    thresholds = [float(t) for t in cell.choose.get(THRESHOLD, (cell.threshold,))]
    open_options = {name: list(values) for name, values in cell.choose.items() if name != THRESHOLD}
    best = {name: values[0] for name, values in open_options.items()}
    trials = _kept(folder / CHOICE)
    planned = sum(len(values) for values in open_options.values()) - max(0, len(open_options) - 1) or 1

    def tried(options: Mapping[str, Any]) -> Trial:
        found = next((t for t in trials if t.options == plain(options)), None)
        if found is None:
            model = replace(spec, options={**spec.options, **options}).build()
            found = Trial(plain(options), _mean_dice(cell, model, dataset, looked_at, thresholds), len(looked_at))
            trials.append(found)
            write_json(folder / CHOICE, [asdict(trial) for trial in trials])
            progress(Event("note", message=f"chosen on training cases: {len(trials)} of {planned} combinations tried"))
        return found

    for name, values in open_options.items():
        scores = {number: max(tried({**best, name: value}).dice.values()) for number, value in enumerate(values)}
        best[name] = values[max(scores, key=lambda number: scores[number])]
    last = tried(best)
    threshold = max(last.dice, key=lambda t: last.dice[t])
    return Choice(best, float(threshold), tuple(trials))


def _mean_dice(
    cell: Cell, model: Model, dataset: Dataset, cases: Sequence[str], thresholds: Sequence[float]
) -> dict[str, float]:
    found = [each for name in cases if (each := _dice(cell, model, dataset, name, thresholds))]
    if not found:
        raise InputError(f"{cell.label}: nothing is marked in any of the {len(cases)} training cases.")
    return {str(t): float(np.mean([each[t] for each in found])) for t in thresholds}


def _dice(cell: Cell, model: Model, dataset: Dataset, name: str, thresholds: Sequence[float]) -> dict[float, float]:
    """Dice by threshold; empty for a case in which nothing is marked."""
    case = dataset.load(name)
    if not case.mask(cell.dataset.roi).voxels.any():
        return {}
    door = PromptDoor(cell.prompt.build(), cell.seed)
    shown = part_round_reference(case, cell.dataset.roi, cell.prompt.cube).case
    probability = model.predict(shown.image, door.prompts(shown, cell.dataset.roi)).voxels
    return dict(_each(shown.mask(cell.dataset.roi).voxels, probability, thresholds))


def _each(reference: np.ndarray, probability: np.ndarray, thresholds: Sequence[float]) -> Iterator[tuple[float, float]]:
    for threshold in thresholds:
        mask = probability > threshold
        overlap = int(np.count_nonzero(mask & reference))
        yield threshold, 2 * overlap / (int(np.count_nonzero(mask)) + int(np.count_nonzero(reference)))


def _evenly(cases: Sequence[str]) -> list[str]:
    places = np.linspace(0, len(cases) - 1, min(len(cases), MOST_CASES))
    return [cases[int(n)] for n in np.rint(places)]


def _kept(source: Path) -> list[Trial]:
    return [fill(Trial, trial, str(source)) for trial in read_json(source)] if source.exists() else []
