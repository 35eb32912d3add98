"""One cell: trained when needed, predicted, scored, measured. Its scores appear last and whole."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg.case import Case
from oncoseg.config import content_key, fill, plain
from oncoseg.contracts import Dataset, DatasetInfo, Entry, Excluding, Model, ModelInfo, MultiClass, NeuralModel, Telling
from oncoseg.errors import InputError, OncosegError
from oncoseg.experiments.choosing import choose
from oncoseg.experiments.cost import measure_cost
from oncoseg.experiments.doors import PromptDoor, ScoringDoor
from oncoseg.experiments.events import Event, Progress, silent
from oncoseg.experiments.identity import Identity, folder_name, identify
from oncoseg.experiments.matrix import Cell
from oncoseg.experiments.overlap import require_other_images
from oncoseg.experiments.predicting import Predictor, Scored, Shown, read_by_people, score_entry, told_apart
from oncoseg.experiments.provenance import Clock, provenance, without_folders
from oncoseg.experiments.readers import INFO as READER_INFO
from oncoseg.experiments.round_reference import part_round_reference
from oncoseg.experiments.sides import chosen_entries
from oncoseg.experiments.slice_cases import told_of_leak
from oncoseg.experiments.specs import DatasetSpec, ModelSpec
from oncoseg.experiments.store import (
    CALIBRATION,
    COSTS,
    LESIONS,
    MASKS,
    PREDICTIONS,
    PROMPTS,
    ROUNDS,
    SCORES,
    SLICES,
    SPEED,
    TRAINING,
    CellRecord,
    is_finished,
    write_cost,
    write_record,
)
from oncoseg.experiments.trained import trained
from oncoseg.files import read_json, remove_partial, sha256, write_json
from oncoseg.fingerprint import weights_fingerprint
from oncoseg.io.prompts import prompts_from
from oncoseg.score import Cost, write_jsonl

if TYPE_CHECKING:
    from oncoseg.weights.entries import SeenData

#: Parts of a configuration that decide what a prediction costs.
_WHAT_COSTS = ("code", "model", "variant", "options", "dataset")


class ChangedError(InputError):
    """Code, data or weights are no longer those that the cell was planned with."""


@dataclass(frozen=True, eq=False)
class _Work:
    """A cell with what it works on."""

    cell: Cell
    identity: Identity
    dataset: Dataset
    source: Dataset | None
    folder: Path
    progress: Progress

    @property
    def learned(self) -> Dataset:
        """What is trained on."""
        return self.dataset if self.source is None else self.source

    @property
    def entries(self) -> list[Entry]:
        tested = set(self.identity.sides.test)
        return [e for e in chosen_entries(self.cell.dataset, self.dataset) if e.case in tested]

    def tell(self, event: Event) -> None:
        self.progress(replace(event, cell=self.cell.label))


def run_cell(cell: Cell, output: Path, *, progress: Progress = silent, key: str | None = None) -> Path:
    """Run one cell, or find it finished.

    Args:
        cell: what to run; one with `skipped` set is refused.
        output: folder of the run; the cell gets a folder in it that ends in its key.
        progress: told about training steps and cases.
        key: the content key it was planned with; None accepts whatever it is now.

    Returns:
        The cell's folder with `scores.jsonl`. Failed cases are in `predictions.jsonl` with their error.

    Raises:
        InputError: when the combination makes no sense, or every case failed.
        ChangedError: when its key is not `key`.
        FetchError: when weights or data are not in the cache and cannot be fetched.
        OncosegError: when the data set, the model or the training fails.
    """
    if cell.skipped:
        raise InputError(f"{cell.label}: {cell.skipped}.")
    clock = Clock()
    dataset, source = cell.dataset.open(), None if cell.source is None else cell.source.open()
    identity = identify(cell, dataset, source)
    if key not in (None, identity.key):
        raise ChangedError(
            f"{cell.label}: code, data or weights changed after the run was planned. Run the same command again."
        )
    folder = output / folder_name(cell, identity.key)
    if is_finished(folder):
        return folder
    for stale in (MASKS, SLICES, PROMPTS):
        shutil.rmtree(folder / stale, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    remove_partial(folder)
    work = _Work(cell, identity, dataset, source, folder, progress)
    work.tell(Event("started", total=len(work.entries)))
    require_other_images(cell, identity.sides, output)
    spec = _model_spec(work)
    spec, cell, told = _chosen(work, spec)
    work = replace(work, cell=cell)
    model = _built(spec, cell.seed)
    masks = _masks(cell, model, dataset.info.cropped_round_reference)
    scored = _score_all(work, masks)
    told = [*told, *(masks.coverage.told if isinstance(masks, Predictor) else ())]
    if spec is not None and cell.cost:
        write_cost(folder, _cost(work, spec, scored))
    write_jsonl(folder / PREDICTIONS, [s.prediction for s in scored])
    if cell.prompt.rounds:
        write_jsonl(folder / ROUNDS, [one for s in scored for one in s.rounds])
    write_jsonl(folder / LESIONS, [one for s in scored for one in s.lesions])
    write_jsonl(folder / CALIBRATION, [s.calibration for s in scored if s.calibration is not None])
    write_record(folder, _record(work, model, spec, clock, told))
    write_jsonl(folder / SCORES, [score for s in scored for score in s.scores])
    return folder


def _model_spec(work: _Work) -> ModelSpec | None:
    """The model of a cell with the weights it is scored with."""
    spec = work.cell.model
    if spec is None or not work.cell.trains:
        return spec
    checkpoint = trained(work.cell, work.identity, work.learned, work.folder.parent, progress=work.tell)
    for name in (TRAINING, SPEED):
        if (checkpoint.parent / name).exists():
            shutil.copyfile(checkpoint.parent / name, work.folder / name)
    return replace(spec, weights=checkpoint)


def _chosen(work: _Work, spec: ModelSpec | None) -> tuple[ModelSpec | None, Cell, list[str]]:
    """Model and cell with the options and the threshold chosen on training cases, and what is to be said of it."""
    if spec is None or not work.cell.choose:
        return spec, work.cell, []
    cases = work.identity.sides.choosing
    choice = choose(work.cell.at_home, spec, work.learned, cases=cases, folder=work.folder, progress=work.tell)
    spec = replace(spec, options={**spec.options, **choice.options})
    return spec, replace(work.cell, threshold=choice.threshold), [choice.told]


def _built(spec: ModelSpec | None, seed: int) -> Model | None:
    if spec is None:
        return None
    _ = spec.info  # imports the model's file, and with it torch where it needs torch
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    return spec.build()


def _masks(cell: Cell, model: Model | None, cropped: bool) -> Callable[[Case], Iterator[Shown]]:
    if model is None:
        return read_by_people
    door = PromptDoor(cell.prompt.build(), cell.seed, cell.prompt.corrector(), cell.prompt.rounds)
    return Predictor(
        model,
        door,
        cell.prompt.repeats,
        cell.threshold,
        cell.dataset.roi,
        cropped=cropped,
        also=cell.dataset.also,
        cube=cell.prompt.cube,
    )


def _score_all(work: _Work, masks: Callable[[Case], Iterator[Shown]]) -> list[Scored]:
    cell, entries = work.cell, work.entries
    door = ScoringDoor(cell.dataset.roi, cell.metrics, cell.protocols)
    scored: list[Scored] = []
    for number, entry in enumerate(entries, start=1):
        found = score_entry(entry, work.dataset, masks, door=door, folder=work.folder)
        scored += found
        error = found[0].prediction.error or ""
        work.tell(Event("predicted", done=number, total=len(entries), message=error))
    if scored and all(s.prediction.error for s in scored):
        raise InputError(f"{cell.label}: all {len(scored)} cases failed. The first: {scored[0].prediction.error}")
    return scored


def _cost(work: _Work, spec: ModelSpec, scored: list[Scored]) -> Cost:
    """Measured on the first case that got its prompts; shared by cells that differ in what costs nothing.

    Boxes of different jitter share the measurement of the first of them.
    """
    prediction = next((s.prediction for s in scored if s.scores and not s.prediction.ledger.silent_slices), None)
    if prediction is None:
        return _no_cost("no case was predicted")
    case = prediction.case.partition("~")[0]
    asked = work.cell.prompt
    given = {name: value for name, value in asked.options.items() if name not in ("jitter_mm", "jitter_px")}
    given |= {"then": asked.then, "rounds": asked.rounds, "cube": str(asked.cube)}
    key = content_key([work.identity.configuration[n] for n in _WHAT_COSTS] + [case, work.cell.dataset.roi, given])
    shared = (
        work.folder.parent / COSTS / f"{key[:8]}{'' if work.cell.prompt.info is None else work.cell.prompt.use}.json"
    )
    if shared.exists():
        return fill(Cost, read_json(shared), str(shared))
    part = part_round_reference(work.dataset.load(case), work.cell.dataset.roi, asked.cube)
    prompts = part.shown(prompts_from(prediction.prompts, part.whole, folder=work.folder))
    image = part.case.image
    try:
        cost = measure_cost(spec, image, prompts=prompts, case=case)
    except OncosegError as error:
        return _no_cost(str(error))
    write_json(shared, plain(cost))
    return cost


def _no_cost(reason: str) -> Cost:
    return Cost(0, 0, None, "none", None, 0, None, "", (0, 0, 0), "cpu", 1, reason)


def _record(
    work: _Work, model: Model | None, spec: ModelSpec | None, clock: Clock, told: Sequence[str] = ()
) -> CellRecord:
    cell, identity = work.cell, work.identity
    info: ModelInfo = READER_INFO if model is None else model.info
    hashes = {"data set": identity.configuration["dataset"]["fingerprint"], "split": identity.sides.fingerprint}
    if identity.configuration["weights"]:
        hashes["weights"] = identity.configuration["weights"]
    if cell.trains and spec is not None and spec.weights is not None:
        hashes["checkpoint"] = sha256(spec.weights)
    seen = _seen(cell, info, work.dataset.info, hashes["data set"])
    return CellRecord(
        key=identity.key,
        configuration=identity.configuration,
        model=info.name,
        variant=info.variant,
        dataset=cell.dataset_id,
        prompt=cell.prompt.label,
        fraction=cell.fraction if cell.train is not None else 1.0,
        seed=cell.seed,
        fold=cell.fold,
        jitter_mm=cell.prompt.jitter_mm,
        model_info=plain(info),
        dataset_info=plain(work.dataset.info),
        cases=len(work.entries),
        notes=[
            *_notes(cell, info, work.dataset.info, seen),
            *_from_elsewhere(cell, info, work.source),
            *(f"{info.title}: {sentence}" for sentence in told),
            *(f"{info.title}: {sentence}" for sentence in (*_told(model), *_on_structures(model, cell.dataset))),
            *_left_out(work.dataset),
            *told_of_leak(work.dataset, identity.sides.train, identity.sides.test),
        ],
        provenance=provenance(clock, hashes=hashes, seeds={"cell": cell.seed, "split": cell.dataset.split.seed}),
        parameters_built=_parameters(model),
        trainable_built=_parameters(model, learning=True),
        trained_here=cell.trains,
        source=cell.source_id,
        recipe=list(cell.recipe),
        seen=None if seen is None else plain(seen),
        flow=_flow(work),
    )


def _told(model: Model | None) -> Sequence[str]:
    return model.told if isinstance(model, Telling) else ()


def _on_structures(model: Model | None, data: DatasetSpec) -> list[str]:
    """How a model's masks came about where several structures are asked of it."""
    if not data.also or not isinstance(model, MultiClass) or len(model.classes) < 2:
        return []
    found = told_apart(model, data.also)
    masks, unknown = ", ".join((data.roi, *found)), ", ".join(roi for roi in data.also if roi not in found)
    notes = [f"the masks {masks} are labels of one prediction, in which the threshold has no part."] if found else []
    return notes + ([f"not scored, as it tells {', '.join(model.classes)} apart: {unknown}."] if unknown else [])


def _from_elsewhere(cell: Cell, info: ModelInfo, source: Dataset | None) -> list[str]:
    """What is to be said of a model that learned on another data set than it is scored on."""
    if source is None:
        return []
    told = [
        f"{info.title} was trained on {cell.source_id} ({source.info.title}) and saw no case of {cell.dataset_id}: no "
        "patient's name and no image is on both sides."
    ]
    return told + ([f"{cell.source_id}: {source.info.warning}"] if source.info.warning else [])


def _parameters(model: Model | None, *, learning: bool = False) -> int | None:
    if not isinstance(model, NeuralModel):
        return None
    return sum(p.numel() for p in model.network.parameters() if p.requires_grad or not learning)


def _flow(work: _Work) -> dict[str, Any]:
    """Where the cases of the data set went, before any was predicted."""
    excluded = dict(work.dataset.excluded) if isinstance(work.dataset, Excluding) else {}
    entries, parted = work.dataset.entries(), work.identity.sides
    reasons = Counter(without_folders(reason) for reason in excluded.values())
    not_asked = len(entries) - len(chosen_entries(work.cell.dataset, work.dataset))
    reasons += Counter({"not named in the matrix": not_asked})
    sides = {name: len(getattr(parted, name)) for name in ("train", "validation", "test")}
    if work.source is not None:  # trained on another data set
        sides |= {"train": 0, "validation": 0}
    return {"known": len(entries) + len(excluded), "excluded": dict(reasons), **sides}


def _left_out(dataset: Dataset) -> list[str]:
    """Cases the data set itself refuses, with the reason."""
    excluded = dict(dataset.excluded) if isinstance(dataset, Excluding) else {}
    return [f"Left out by the data set: {case}: {without_folders(reason)}" for case, reason in excluded.items()]


def _status(weights: Path, dataset: str, fingerprint: str) -> SeenData:
    """What is known about a data set in the training of a weights file of the user's."""
    from oncoseg.weights import catalogue
    from oncoseg.weights.entries import SeenData
    from oncoseg.weights.loading import SAFE_SUFFIX
    from oncoseg.weights.trained import read_checkpoint

    digest = weights_fingerprint(weights)
    known = catalogue.recognise(weights, digest)
    if known is not None:
        return known.status_on(dataset)
    about = read_checkpoint(weights).about if weights.suffix == SAFE_SUFFIX else None
    if about is not None and about.dataset == fingerprint:
        return SeenData(dataset, "listed", f"{weights.name} was trained on cases of this very data set")
    first = None if about is None or about.began is None else catalogue.recognise(weights, about.began)
    if first is not None and first.status_on(dataset).status in ("listed", "suspected"):
        line = first.status_on(dataset)
        return SeenData(dataset, line.status, f"{weights.name} began with {first.id}: {line.source}")
    return SeenData(dataset, "unknown", f"{weights.name} does not say on which cases it was trained")


def _seen(cell: Cell, info: ModelInfo, dataset: DatasetInfo, fingerprint: str) -> SeenData | None:
    """The ledger's line of the weights that a cell begins with; None where it begins with none."""
    if cell.model is None or cell.model.options.get("random_weights"):
        return None
    if cell.model.weights is not None:
        return _status(cell.model.weights, dataset.known_as, fingerprint)
    if info.weights is None:
        return None
    from oncoseg.weights.catalogue import entry

    return entry(info.weights).status_on(dataset.known_as)


def _notes(cell: Cell, info: ModelInfo, dataset: DatasetInfo, seen: SeenData | None) -> list[str]:
    notes = [dataset.warning] if dataset.warning else []
    if cell.model is None:
        notes.append("Each reader is compared with what at least half of the other readers marked.")
    elif seen is not None and seen.status != "clean":
        notes.append(f"{info.title}: {dataset.name} in its training data is {seen.status}: {seen.source}.")
    elif seen is None and info.trainable and not cell.trains:
        notes.append(f"{info.title} is scored with random weights: nothing was trained.")
    return notes
