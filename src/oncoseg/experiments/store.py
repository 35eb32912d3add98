"""The folder of a cell and the folder of a run: written here, read here, by name.

run/                        one matrix
  matrix.json               RunPlan: every cell's key, configuration and what became of it
  provenance.json           of the whole run
  splits/<data set>.json    who is trained on and tested
  slices/<case>-<hash8>.npz whole slices that pictures of cells were cut from, see `WholeSlice`
  trained/<label>-<key8>/   a training that several cells share
  costs/<key8>.json         a cost that several cells share
  <label>-<key8>/           one cell; key8 = first 8 hex digits of its content key
    cell.json               CellRecord: configuration, labels, model and data set facts
    predictions.jsonl       one Prediction a case
    rounds.jsonl            one Round a case and round, when users corrected predictions
    lesions.jsonl           one LesionRecord a reference lesion and false lesion
    calibration.jsonl       one CalibrationRecord a prediction
    masks/<case>.nii.gz, and masks/<case>.<roi>.nii.gz of other structures
    prompts/<case>.<n>.nii.gz  masks that were prompts, named by predictions.jsonl
    slices/<case>.npz       pictures for the gallery, see `GallerySlice`
    cost.json               Cost
    training.jsonl          one line per validation, when the cell trained
    speed.jsonl             time and memory of the same stretches
    attempts.jsonl          one line per failed attempt
    not_applicable.json     {"reason"} when the model has no form for these data
    scores.jsonl            appears last, by rename: the cell is finished when it exists
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from oncoseg.config import fill, plain
from oncoseg.errors import InputError
from oncoseg.evaluation.findings import CalibrationRecord, LesionRecord
from oncoseg.files import read_json, write_json, written_whole
from oncoseg.score import (
    Cost,
    Prediction,
    Provenance,
    Round,
    Score,
    read_jsonl,
    read_predictions,
    read_rounds,
    read_scores,
)

CELL, PREDICTIONS, SCORES, COST = "cell.json", "predictions.jsonl", "scores.jsonl", "cost.json"
MATRIX, PROVENANCE, SPLITS, TRAINED, COSTS = "matrix.json", "provenance.json", "splits", "trained", "costs"
MASKS, SLICES, ATTEMPTS = "masks", "slices", "attempts.jsonl"
ROUNDS, PROMPTS = "rounds.jsonl", "prompts"
TRAINING, SPEED = "training.jsonl", "speed.jsonl"
LESIONS, CALIBRATION = "lesions.jsonl", "calibration.jsonl"
NOT_APPLICABLE = "not_applicable.json"
Record = TypeVar("Record")
#: Before the name of a ROI among the arrays of a whole slice.
_REFERENCE = "reference:"


@dataclass(frozen=True)
class CellRecord:
    """What a cell is, for people and for the report.

    Attributes:
        key: hex content key of `configuration`.
        configuration: everything that decides the result (model, variant, options, weights hash, data set
            with options and fingerprint, split, fold, fraction, prompt protocol, seed, code version).
        model, variant, dataset, prompt: labels for tables; `prompt` e.g. "box", "box jitter 5 mm", "none".
        fraction: share of the training patients used, 0 to 1.
        seed, fold: of the cell.
        jitter_mm: box jitter in mm where the prompt has one, None otherwise (x axis of the degradation plot).
        model_info: the `ModelInfo` as plain data.
        dataset_info: the `DatasetInfo` as plain data.
        cases: number of cases scored or attempted.
        notes: warnings of data set and model that every report repeats.
        provenance: of this cell.
        parameters_built: parameters of the network as built here (it may be smaller than the paper's).
        trainable_built: how many of them its training changes; None in older runs and without a network.
        trained_here: whether the cell trained the model.
        source: id of the data set it was trained on where that is another than the one it is scored on, "" otherwise.
        recipe: sentences on the recipe it was trained by, with what its source leaves open; empty without one.
        seen: the contamination ledger's line of the weights for this data set (`dataset`, `status`, `source`); None
            without weights of others.
        flow: where the cases went: number `known` to the data set, `excluded` by reason, on each side of the split
            (`train`, `validation`, `test`); empty in runs from before it was kept.
    """

    key: str
    configuration: dict[str, Any]
    model: str
    variant: str
    dataset: str
    prompt: str
    fraction: float
    seed: int
    fold: int
    jitter_mm: float | None
    model_info: dict[str, Any]
    dataset_info: dict[str, Any]
    cases: int
    notes: list[str]
    provenance: Provenance
    parameters_built: int | None = None
    trained_here: bool = False
    recipe: list[str] = field(default_factory=list)
    seen: dict[str, Any] | None = None
    flow: dict[str, Any] = field(default_factory=dict)
    trainable_built: int | None = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class GallerySlice:
    """One picture of one case: the slice with the largest reference area (or prediction, when empty).

    Attributes:
        image: HU, float32 (rows, columns), cropped round the tumour with a margin.
        reference, prediction: bool, same shape.
        spacing: mm (row, column).
        slice_index: in the case's volume.
        boxes: prompts on this slice as (row start, column start, row stop, column stop) in the crop.
        window: (low, high) HU for display.
        whole: name of the `WholeSlice` it was cut from, in the run's folder; "" for none.
    """

    image: NDArray[np.float32]
    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    spacing: tuple[float, float]
    slice_index: int
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    window: tuple[float, float] = (-1000.0, 400.0)
    whole: str = ""


@dataclass(frozen=True, eq=False)
class WholeSlice:
    """A slice of a case as the scanner gave it; the cells of a run that show it share one file.

    Attributes:
        image: HU, float32 (rows, columns).
        references: bool, same shape, by ROI name.
        spacing: mm (row, column).
        slice_index: in the case's volume.
        window: (low, high) HU for display.
    """

    image: NDArray[np.float32]
    references: Mapping[str, NDArray[np.bool_]]
    spacing: tuple[float, float]
    slice_index: int
    window: tuple[float, float]


#: `planned`: not run yet; `skipped`: the combination makes no sense; `not applicable`: the model has no form for
#: these data; `left out`: something could not be fetched; `quarantined`: failed too often and is no longer tried.
Status = Literal["planned", "finished", "failed", "skipped", "not applicable", "left out", "quarantined"]


@dataclass(frozen=True)
class PlannedCell:
    """A line of the plan.

    Attributes:
        label: of the cell, for people.
        status: what became of it.
        reason: why it is not finished; None when it is, or has not been run.
        key: content key; None when the data set could not be opened.
        folder: name of its folder in the run; None without a key.
        predictions: number of predictions it makes; None when not known.
        configuration: what the key is made of; empty without a key.
    """

    label: str
    status: Status
    reason: str | None = None
    key: str | None = None
    folder: str | None = None
    predictions: int | None = None
    configuration: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunPlan:
    """What `matrix.json` holds.

    Attributes:
        name: of the matrix.
        cells: all of them, in the order of the matrix.
        left_out: {"label", "reason"} of every cell that a reader would expect and not find: status
            `left out`, `failed` or `quarantined`.
    """

    name: str
    cells: list[PlannedCell]
    left_out: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class CellResult:
    """A finished cell as read from its folder.

    Attributes:
        scores: of the ROI that tables rank by.
        others: of the structures scored beside it, see `experiments.specs.DatasetSpec.also`.
        rounds: of interactive predictions; empty where nobody corrected.
        lesions, calibration: of every prediction; empty in runs from before they were kept.
    """

    folder: Path
    record: CellRecord
    predictions: list[Prediction]
    scores: list[Score]
    cost: Cost | None
    training: list[dict[str, Any]] = field(default_factory=list)
    speed: list[dict[str, Any]] = field(default_factory=list)
    others: list[Score] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    lesions: list[LesionRecord] = field(default_factory=list)
    calibration: list[CalibrationRecord] = field(default_factory=list)

    def gallery(self, case: str) -> GallerySlice | None:
        """The picture of one case, None when the cell has none."""
        source = self.folder / SLICES / f"{case}.npz"
        return read_slice(source) if source.exists() else None

    def whole(self, picture: GallerySlice) -> WholeSlice | None:
        """The slice a picture was cut from, None where the run does not hold it."""
        source = self.folder.parent / SLICES / f"{picture.whole}.npz"
        return read_whole(source) if picture.whole and source.exists() else None


def write_record(folder: Path, record: CellRecord) -> None:
    """Write `cell.json`."""
    write_json(folder / CELL, plain(record))


def write_cost(folder: Path, cost: Cost) -> None:
    """Write `cost.json`."""
    write_json(folder / COST, plain(cost))


def write_plan(run: Path, name: str, cells: list[PlannedCell]) -> None:
    """Write `matrix.json`."""
    missing = [c for c in cells if c.status in ("left out", "failed", "quarantined")]
    left_out = [{"label": c.label, "reason": c.reason or c.status} for c in missing]
    write_json(run / MATRIX, plain(RunPlan(name, cells, left_out)))


def read_plan(run: Path) -> RunPlan | None:
    """The plan of a run; None for a folder without one (a single cell, somebody else's collection of cells)."""
    source = run / MATRIX
    return fill(RunPlan, read_json(source), str(source)) if source.exists() else None


def write_slice(target: Path, picture: GallerySlice) -> None:
    """Write one gallery picture as a compressed npz without pickles."""
    with written_whole(target) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            image=np.rint(picture.image).astype(np.int16),
            reference=picture.reference,
            prediction=picture.prediction,
            spacing=np.array(picture.spacing),
            slice_index=np.array(picture.slice_index),
            boxes=np.array(picture.boxes, dtype=np.float64).reshape(-1, 4),
            window=np.array(picture.window),
            whole=np.array(picture.whole),
        )


def read_slice(source: Path) -> GallerySlice:
    """Read one gallery picture; raises InputError when it is damaged."""
    try:
        with np.load(source, allow_pickle=False) as held:
            row, column = held["spacing"].tolist()
            low, high = held["window"].tolist()
            return GallerySlice(
                image=held["image"].astype(np.float32),
                reference=held["reference"],
                prediction=held["prediction"],
                spacing=(row, column),
                slice_index=int(held["slice_index"]),
                boxes=tuple(tuple(b) for b in held["boxes"].tolist()),
                window=(low, high),
                whole=str(held["whole"]) if "whole" in held else "",
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{source} is not a gallery picture: {error}.") from error


def write_whole(run: Path, case: str, whole: WholeSlice) -> str:
    """Write a slice into the run unless it is there, and return its name: the case and a hash of the content."""
    held: dict[str, NDArray[Any]] = {
        "image": np.rint(whole.image).astype(np.int16),
        "spacing": np.array(whole.spacing),
        "slice_index": np.array(whole.slice_index),
        "window": np.array(whole.window),
        **{f"{_REFERENCE}{roi}": mask for roi, mask in sorted(whole.references.items())},
    }
    digest = hashlib.sha256()
    for name, values in held.items():
        digest.update(f"{name} {values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    name = f"{case}-{digest.hexdigest()[:8]}"
    target = run / SLICES / f"{name}.npz"
    if not target.exists():
        with written_whole(target) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **held)  # type: ignore[arg-type]
    return name


def read_whole(source: Path) -> WholeSlice:
    """Read a whole slice; raises InputError when it is damaged."""
    try:
        with np.load(source, allow_pickle=False) as held:
            row, column = held["spacing"].tolist()
            low, high = held["window"].tolist()
            return WholeSlice(
                image=held["image"].astype(np.float32),
                references={n.removeprefix(_REFERENCE): held[n] for n in held.files if n.startswith(_REFERENCE)},
                spacing=(row, column),
                slice_index=int(held["slice_index"]),
                window=(low, high),
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{source} is not a slice of a run: {error}.") from error


def is_finished(folder: Path) -> bool:
    """Whether a cell's folder holds a whole result."""
    return (folder / SCORES).exists()


def read_cell(folder: Path) -> CellResult:
    """Read a finished cell.

    Raises:
        InputError: names the file that is missing or wrong.
    """
    cost = folder / COST
    record = fill(CellRecord, read_json(folder / CELL), str(folder / CELL))
    scores, also = read_scores(folder / SCORES), record.configuration.get("also", ())
    return CellResult(
        folder=folder,
        record=record,
        predictions=read_predictions(folder / PREDICTIONS),
        scores=[s for s in scores if s.roi not in also],
        cost=fill(Cost, read_json(cost), str(cost)) if cost.exists() else None,
        training=read_training(folder / TRAINING),
        speed=read_training(folder / SPEED),
        others=[s for s in scores if s.roi in also],
        rounds=read_rounds(folder / ROUNDS),
        lesions=_records(LesionRecord, folder / LESIONS),
        calibration=_records(CalibrationRecord, folder / CALIBRATION),
    )


def cell_folders(run: Path) -> Iterator[Path]:
    """The folders of a run that hold a cell, sorted; `run` may itself be one.

    Where the run has a plan only its cells count: older ones, of other settings or code, stay on disk unread.
    """
    if (run / CELL).exists():
        yield run
    plan = read_plan(run)
    planned = None if plan is None else {cell.folder for cell in plan.cells}
    for record in sorted(run.glob(f"*/{CELL}")):
        if planned is None or record.parent.name in planned:
            yield record.parent


def read_run(run: Path) -> list[CellResult]:
    """Every finished cell of a run.

    Raises:
        InputError: when the folder does not exist or holds no finished cell.
    """
    if not run.is_dir():
        raise InputError(f"{run} is not a folder. Give the output folder of `oncoseg bench`.")
    finished = [read_cell(folder) for folder in cell_folders(run) if is_finished(folder)]
    if not finished:
        raise InputError(f"{run} holds no finished cell. Run `oncoseg bench` first, or wait until one is done.")
    return finished


def read_training(source: Path) -> list[dict[str, Any]]:
    """Lines of a training log; none where there is no such file."""
    if not source.exists():
        return []
    return [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]


def _records(kind: type[Record], source: Path) -> list[Record]:
    """Records of a file that older runs do not have."""
    return [fill(kind, r, f"{source}:{n}") for n, r in read_jsonl(source)] if source.exists() else []
