"""The cases of one cell, one after another: prompted, predicted, written, scored. A failing case is recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import Dataset, Entry, Model, MultiClass
from oncoseg.errors import FetchError, InputError, OncosegError
from oncoseg.evaluation.findings import CalibrationRecord, LesionRecord
from oncoseg.evaluation.interactive import interactive_scores
from oncoseg.evaluation.pair import MaskPair
from oncoseg.experiments.coverage import Coverage
from oncoseg.experiments.doors import PromptDoor, ScoringDoor, ledger
from oncoseg.experiments.gallery import picture, whole_slice
from oncoseg.experiments.lungs import LEFT, RIGHT
from oncoseg.experiments.provenance import without_folders
from oncoseg.experiments.readers import LEDGER, reader_names, readings
from oncoseg.experiments.round_reference import Cube, part_round_reference
from oncoseg.experiments.rounds import Conversation, Step, play
from oncoseg.experiments.store import MASKS, PROMPTS, SLICES, write_slice, write_whole
from oncoseg.io.images import write_volume
from oncoseg.io.prompts import prompts_into
from oncoseg.prompt import Prompt
from oncoseg.score import Ledger, Prediction, Round, Score
from oncoseg.volume import Volume

_LOG = logging.getLogger(__name__)

_SILENT = "The reference is empty, so no prompt could be made from it and nothing was predicted."

#: What one bad case may raise without ending the cell: our errors, files, arithmetic of one image, memory.
CASE_ERRORS = (OncosegError, OSError, ValueError, ArithmeticError, IndexError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Scored:
    """What came out of one prediction: its record and its scores, none after an error; its rounds if it had any."""

    prediction: Prediction
    scores: tuple[Score, ...] = ()
    rounds: tuple[Round, ...] = ()
    lesions: tuple[LesionRecord, ...] = ()
    calibration: CalibrationRecord | None = None


class Answer(NamedTuple):
    """Masks by ROI, and the probability that the tumour's was made from; None where the model gave labels."""

    masks: dict[str, Volume]
    probability: Volume | None


@dataclass(frozen=True)
class Shown:
    """One mask to be scored: what the model was given and what came out.

    Attributes:
        name: of the prediction: the case's, with "~2" for the second of several draws or "~reader_2".
        reference, mask: bool, on the grid of the image.
        given: what reached the model.
        prompts: what it was given.
        seconds: wall time of `predict`; None where nothing was computed.
        notes: what the report must say about this prediction.
        others: further structures of the same prediction, name -> (reference without the tumour, mask).
        steps: the rounds of an interactive prediction, of which `mask` is the last answer.
        probability: what `mask` was made from; None where there is none.
        readers: masks of the single readers that the reference was made from; empty where there are none.
    """

    name: str
    reference: Volume
    mask: Volume
    given: Ledger
    prompts: tuple[Prompt, ...] = ()
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    others: Mapping[str, tuple[Volume, Volume]] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    probability: Volume | None = None
    readers: tuple[Volume, ...] = ()


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model with the prompts it meets.

    Attributes:
        model: segments; it is given the image and the prompts, never the case.
        door: makes the prompts.
        repeats: draws a case.
        threshold: probability above which a voxel is tumour.
        roi: mask that is segmented.
        cropped: the images were cut out round the reference.
        cube: round the reference, that is all the model is shown; None for whole images.
        also: masks that are scored too where the model tells them apart; every mask is then a label of one
            prediction, and the threshold has no part in it.
        coverage: what of the references the model's window misses; counted while predicting.
    """

    model: Model
    door: PromptDoor
    repeats: int
    threshold: float
    roi: str
    cropped: bool = False
    also: tuple[str, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    cube: Cube | None = None

    def __call__(self, case: Case) -> Iterator[Shown]:
        """One mask a draw; raises what the model, the door or the case raise."""
        missed: str | None = None
        part = part_round_reference(case, self.roi, self.cube)
        image, cropped = part.case.image, self.cropped or self.cube is not None
        for draw in range(1, self.repeats + 1):
            name = case.name if self.repeats == 1 else f"{case.name}~{draw}"
            first, held = self.door.given(part.case, self.roi, draw)
            given = ledger(self.door, first, image, cropped=cropped, held=held)
            silent = given.silent_slices > 0
            prompts, started = tuple(first), time.perf_counter()
            steps: tuple[Step, ...] = ()
            if silent:
                answer = Answer({self.roi: _nothing(image)}, None)
            elif self.door.rounds:
                steps, probability = self._rounds(part.case, first, draw)
                prompts = tuple(prompt for step in steps for prompt in step.prompts)
                given = ledger(self.door, prompts, image, cropped=cropped, held=held)
                answer = Answer({self.roi: steps[-1].mask(image)}, probability)
            else:
                answer = self._answer(image, first)
            masks = {roi: part.restored(mask) for roi, mask in answer.masks.items()}
            seconds = sum(s.seconds for s in steps) if steps else time.perf_counter() - started
            reference, mask = case.mask(self.roi), masks.pop(self.roi)
            marked = {roi: _without(case.mask(roi), reference) for roi in masks if roi in case.masks}
            notes = [part.note] if part.note else []
            notes += [_SILENT] if silent else []
            missed = self.coverage.add(self.model, case.image, reference) if draw == 1 else missed
            notes += [missed] if missed else []
            notes += [f"{roi} is not marked in the case, so it is not scored." for roi in masks if roi not in marked]
            others = {roi: (drawn, masks[roi]) for roi, drawn in marked.items()}
            yield Shown(
                name,
                reference,
                mask,
                given,
                part.prompts(prompts),
                seconds,
                tuple(notes),
                others,
                tuple(map(part.step, steps)),
                probability=None if answer.probability is None else part.restored(answer.probability),
                readers=tuple(case.masks[reader] for reader in reader_names(case)),
            )

    def _rounds(self, case: Case, first: list[Prompt], draw: int) -> tuple[tuple[Step, ...], Volume]:
        """Rounds and the last probability; the user sees masks and nothing else, the model the image and prompts."""
        model, newest = Conversation(self.model, case.image), case.image

        def tell(prompts: Sequence[Prompt]) -> Volume:
            nonlocal newest
            newest = model.tell(prompts)
            return self._thresholded(case.image, newest)

        steps = play(
            tell,
            first,
            lambda shown, number: self.door.correct(case, self.roi, shown, first=first, draw=draw, number=number),
            rounds=self.door.rounds,
        )
        return tuple(steps), newest

    def _answer(self, image: Volume, prompts: list[Prompt]) -> Answer:
        others = told_apart(self.model, self.also)
        if isinstance(self.model, MultiClass) and others:
            labels = self.model.predict_labels(image, prompts)
            image.require_same_grid(labels, f"image and labels of {self.model.info.full_name}")
            names = {self.roi: TUMOUR, **{roi: roi for roi in others}}
            numbers = {roi: 1 + self.model.classes.index(name) for roi, name in names.items()}
            return Answer({roi: image.with_voxels(labels.voxels == n) for roi, n in numbers.items()}, None)
        probability = self.model.predict(image, prompts)
        return Answer({self.roi: self._thresholded(image, probability)}, probability)

    def _thresholded(self, image: Volume, probability: Volume) -> Volume:
        name = self.model.info.full_name
        image.require_same_grid(probability, f"image and prediction of {name}")
        probability.require_finite(f"The prediction of {name}")
        return image.with_voxels(probability.voxels > self.threshold)


def told_apart(model: Model | None, also: Sequence[str]) -> tuple[str, ...]:
    """Those of the masks `also` that a model predicts together with the tumour."""
    classes = model.classes if isinstance(model, MultiClass) else ()
    return tuple(roi for roi in also if roi in classes) if TUMOUR in classes else ()


def read_by_people(case: Case) -> Iterator[Shown]:
    """One mask a reader, against the consensus of the other readers."""
    for reading in readings(case):
        yield Shown(f"{case.name}~{reading.reader}", reading.others, reading.drawn, LEDGER, readers=reading.masks)


def score_entry(
    entry: Entry, dataset: Dataset, masks: Callable[[Case], Iterator[Shown]], *, door: ScoringDoor, folder: Path
) -> list[Scored]:
    """Everything of one case: masks and pictures are written to `folder`, records are returned.

    Args:
        entry: the case.
        dataset: loads it.
        masks: a `Predictor` or `read_by_people`.
        door: scores.
        folder: of the cell.

    Returns:
        One item a draw or reader; a single item with its error when the case failed.

    Raises:
        FetchError: which is no fault of the case.
    """
    try:
        case = dataset.load(entry.case)
        return [_keep(shown, case, door, folder) for shown in masks(case)]
    except FetchError:
        raise
    except CASE_ERRORS as error:
        _LOG.warning("case %s failed: %s", entry.case, error, exc_info=not isinstance(error, InputError))
        return [Scored(_failed(entry, door.roi, error))]


class _Soft(TypedDict):
    """What of a prediction and its reference is no mask."""

    probability: Volume | None
    readers: Sequence[Volume]


def _keep(shown: Shown, case: Case, door: ScoringDoor, folder: Path) -> Scored:
    soft = _Soft(probability=shown.probability, readers=shown.readers)
    scores = door.scores(
        shown.reference, shown.mask, case=shown.name, patient=case.patient, others=shown.others, **soft
    )
    findings = door.findings(shown.reference, shown.mask, name=shown.name, case=case, **soft)
    where = f"{MASKS}/{shown.name}.nii.gz"
    write_volume(folder / where, shown.mask)
    _keep_slice(shown, case, folder, roi=door.roi)
    for roi, (_, mask) in shown.others.items():
        write_volume(folder / MASKS / f"{shown.name}.{roi}.nii.gz", mask)
    items = prompts_into(shown.prompts, folder, f"{PROMPTS}/{shown.name}")
    rounds = _rounds_of(shown, items, case, door)
    voxel = case.image.voxel_volume_mm3
    prediction = Prediction(
        case=shown.name,
        patient=case.patient,
        roi=door.roi,
        ledger=shown.given,
        level=shown.given.level,
        prompts=items,
        seconds=None if shown.seconds is None else round(shown.seconds, 4),
        mask=where,
        volume_reference_mm3=float(np.count_nonzero(shown.reference.voxels)) * voxel,
        volume_prediction_mm3=float(np.count_nonzero(shown.mask.voxels)) * voxel,
        facts=dict(case.facts),
        notes=[*case.notes, *shown.notes],
        diagonal_mm=MaskPair(shown.reference, shown.mask).diagonal_mm,
    )
    return Scored(
        prediction, (*scores, *interactive_scores(rounds)), tuple(rounds), findings.lesions, findings.calibration
    )


def _keep_slice(shown: Shown, case: Case, folder: Path, *, roi: str) -> None:
    """Write a prediction's picture, and for all cells of the run the slice it was cut from, with lungs where marked."""
    tile = picture(case.image, shown.reference, shown.mask, shown.prompts)
    marked = {name: case.mask(name) for name in (RIGHT, LEFT) if name in case.masks}
    whole = whole_slice(case.image, {**marked, roi: shown.reference}, tile.slice_index)
    name = write_whole(folder.parent, case.name, whole)
    write_slice(folder / SLICES / f"{shown.name}.npz", replace(tile, whole=name))


def _rounds_of(shown: Shown, items: Sequence[dict[str, Any]], case: Case, door: ScoringDoor) -> list[Round]:
    """The steps of a prediction as records; `items` are all its prompts as JSON, in their order."""
    rounds: list[Round] = []
    given = 0
    for number, step in enumerate(shown.steps):
        new, given = items[given : given + len(step.prompts)], given + len(step.prompts)
        dice, reason = door.dice(shown.reference, step.mask(case.image))
        seconds = round(step.seconds, 4)
        rounds.append(Round(shown.name, case.patient, door.roi, number, list(new), given, dice, reason, seconds))
    return rounds


def _failed(entry: Entry, roi: str, error: Exception) -> Prediction:
    message = str(error) if isinstance(error, OncosegError) else f"{type(error).__name__}: {error}"
    nothing = Prediction(entry.case, entry.patient, roi, Ledger(), 0, [], None, None)
    return replace(nothing, error=without_folders(message))


def _without(mask: Volume, tumour: Volume) -> Volume:
    """A structure as a label map holds it: a voxel that is tumour too is the tumour's, as in training."""
    return mask.with_voxels(mask.voxels & ~tumour.voxels)


def _nothing(image: Volume) -> Volume:
    return image.with_voxels(np.zeros(image.shape, bool))
