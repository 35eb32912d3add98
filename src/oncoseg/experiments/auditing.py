"""Does a run owe its scores to its test data? Reads result files only and judges nobody's intent.

The findings are those of `oncoseg.evaluation.audit.finding`, named after what they look at: `patient_sides`,
`trained_and_tested`, `weights_seen`, `reference_use`, `cases`, `arithmetic`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oncoseg.evaluation.audit.checking import numbered
from oncoseg.evaluation.audit.finding import Audit, Finding, Grade, InOrder
from oncoseg.experiments.slice_cases import WARNING
from oncoseg.experiments.splits import training_fraction
from oncoseg.experiments.store import SPLITS, CellResult, read_run
from oncoseg.files import read_json
from oncoseg.score import Ledger, Score

_SIDES = ("train", "validation", "test")
#: Fields of the ledger that say what came from the reference: words for a reader.
_USES: Mapping[str, str] = {
    "crop_centre_known": "images were cropped round the reference",
    "z_extent_known": "the first and last tumour slice came from the reference",
    "silent_slices": "the model was told on which slices there is no tumour",
    "class_list_known": "the list of objects present was given",
    "error_map_used": "later prompts were placed on errors against the reference",
    "selected_on_test": "epoch, model or threshold was chosen on the scored cases",
    "cases_dropped": "scored cases were left out or swapped because of their reference",
    "geometry_from_reference": "origin or direction of the image was taken from the reference",
}
_FROM_REFERENCE = ("simulated user", "jittered", "oracle")
_SEEN: Mapping[str, tuple[Grade, str]] = {
    "listed": ("C", "stands on the list of the weights' training data"),
    "suspected": ("I", "is suspected among the weights' training data"),
    "unknown": ("I", "may or may not be among the weights' training data: no list is known"),
}
#: Behind the name of a slice that was split as a patient of its own.
_SLICE = re.compile(r"\.k\d{4}$")
#: Scores of one case are kept to more digits than this.
_CLOSE = 1e-6


@dataclass(frozen=True)
class Run:
    """What is audited: finished cells, and the split files as they lie on disk.

    Attributes:
        cells: of the run.
        splits: data set -> the file's content, unchecked, so that a split that does not hold can be told.
    """

    cells: list[CellResult]
    splits: dict[str, Any]

    @property
    def by_slice(self) -> frozenset[str]:
        """Data sets whose slices were divided as if each was a patient."""
        return frozenset(
            c.record.dataset for c in self.cells if WARNING in (c.record.dataset_info.get("warning") or "")
        )

    def people(self, dataset: str, names: Iterable[str]) -> set[str]:
        """Patients behind the names of a split or of predictions."""
        return {_SLICE.sub("", name) if dataset in self.by_slice else name for name in names}


def audit_run(run: Path) -> Audit:
    """Audit the finished cells of a run.

    Raises:
        InputError: when the folder does not exist or holds no finished cell, or a file is damaged.
    """
    files = sorted((run / SPLITS).glob("*.json"))
    held = Run(read_run(run), {file.stem: read_json(file) for file in files})
    said = [each for check in RUN_CHECKS.values() for each in check(held)]
    findings = [f if f.group else replace(f, group=f.check) for f in said if isinstance(f, Finding)]
    in_order = [o for o in said if isinstance(o, InOrder)]
    told = {each.check for each in said}
    nothing = {name: "files that this run does not hold" for name in RUN_CHECKS if name not in told}
    return Audit(run.name or str(run), tuple(numbered(findings)), tuple(in_order), nothing)


def _patient_sides(run: Run) -> Iterator[Finding | InOrder]:
    """No patient on two sides of a fold, none in two data sets on different sides."""
    folds = 0
    for dataset, content in run.splits.items():
        for number, fold in enumerate(content.get("folds", [])):
            folds += 1
            for one, other in itertools.combinations(_SIDES, 2):
                both = sorted(run.people(dataset, fold.get(one, ())) & run.people(dataset, fold.get(other, ())))
                if both:
                    folds -= 1
                    where = f"Fold {number} of {dataset}"
                    yield _both_sides("patient_sides", where, both, f"{one} and {other}", grade="C")
                    break
    if folds:
        yield InOrder("patient_sides", "folds with every patient on one side", folds)


def _trained_and_tested(run: Run) -> Iterator[Finding | InOrder]:
    """Patients that a model was trained on, or whose options were chosen on, and that it is scored on."""
    clean = 0
    for cell in run.cells:
        record = cell.record
        source = str(getattr(record, "source", "") or record.dataset)
        learnt = _learnt_from(run, cell, source)
        if learnt is None:
            continue
        both = sorted(learnt & run.people(record.dataset, [p.patient for p in cell.predictions]))
        clean += not both
        if both:
            across = source != record.dataset
            sides = f"training on {source} and test on {record.dataset}" if across else "training and test"
            grade: Grade = "I" if across else "C"
            yield _both_sides("trained_and_tested", _name(cell), both, sides, grade=grade)
    if clean:
        yield InOrder("trained_and_tested", "trained cells that are scored on other patients", clean)


def _weights_seen(run: Run) -> Iterator[Finding | InOrder]:
    """Test data on the list of what the weights were trained on."""
    clean = 0
    for cell in run.cells:
        seen = cell.record.seen
        if seen is None:
            continue
        if seen.get("status") not in _SEEN:
            clean += 1
            continue
        grade, words = _SEEN[seen["status"]]
        sentence = f"{_name(cell)}: {seen.get('dataset', cell.record.dataset)} {words} ({seen.get('source') or '-'})."
        yield Finding("weights_seen", grade, (_name(cell),), "test data not among training data", {}, sentence)
    if clean:
        yield InOrder("weights_seen", "cells whose weights are clean for their data", clean)


def _reference_use(run: Run) -> Iterator[Finding | InOrder]:
    """What reached the predictions from the reference they are scored against."""
    free = [c for c in run.cells if not any(_uses(p.ledger) for p in c.predictions)]
    for use in (_PROMPTED, *_USES.values()):
        cells = [c for c in run.cells if any(use in _uses(p.ledger) for p in c.predictions)]
        if not cells:
            continue
        count = sum(use in _uses(p.ledger) for c in cells for p in c.predictions)
        names = tuple(_name(c) for c in cells)
        level = max(p.level for c in cells for p in c.predictions)
        sentence = (
            f"{use.capitalize()} in {count} predictions of {len(cells)} cells; they are of level {level} at most."
        )
        numbers = {"predictions": float(count), "cells": float(len(cells)), "highest level": float(level)}
        yield Finding("reference_use", "C", names, "as the ledger of each prediction says", numbers, sentence)
    cropped = [c for c in run.cells if c.record.dataset_info.get("cropped_round_reference")]
    for name in dict.fromkeys(c.record.dataset for c in cropped):
        sentence = f"{name}: its images were cut out round the tumour, which every prediction on them knows."
        cells_ = tuple(_name(c) for c in cropped if c.record.dataset == name)
        yield Finding("reference_use", "C", cells_, "as the data set says", {}, sentence)
    if free:
        yield InOrder("reference_use", "cells that owe nothing to the reference", len(free))


def _cases(run: Run) -> Iterator[Finding | InOrder]:
    """Cases planned, predicted and scored are the same."""
    whole = 0
    for cell in run.cells:
        scored = {s.case for s in cell.scores}
        failed = [p.case for p in cell.predictions if p.error is not None]
        unscored = sorted({p.case for p in cell.predictions} - scored - set(failed))
        foreign = sorted(scored - {p.case for p in cell.predictions})
        missing = _missing_patients(run, cell)
        # Cells that draw prompts several times count cases, their predictions carry the draw behind a ~.
        counts = (len(cell.predictions), len({p.case.partition("~")[0] for p in cell.predictions}))
        expected = 0 if cell.record.cases in counts else cell.record.cases - counts[0]
        told = [
            (len(failed), "cases ended in an error and are not in its means", failed),
            (len(unscored), "predicted cases have no score", unscored),
            (len(foreign), "scored cases have no prediction", foreign),
            (len(missing), "patients of its test side have no prediction", missing),
            (abs(expected), "cases more or fewer than it planned are in its predictions", []),
        ]
        wrong = [(n, words, names) for n, words, names in told if n]
        whole += not wrong
        for number, words, names in wrong:
            sentence = f"{_name(cell)}: {number} {words}{_some(names)}."
            numbers = {"cases": float(number), "planned": float(cell.record.cases)}
            yield Finding("cases", "C", (_name(cell),), "planned = predicted = scored", numbers, sentence)
    if whole:
        yield InOrder("cases", "cells with every planned case predicted and scored", whole)


def _arithmetic(run: Run) -> Iterator[Finding | InOrder]:
    """Scores of one case obey the identities of their metrics, and levels those of their ledger."""
    looked_at, told = 0, 0
    for cell in run.cells:
        broken = []
        for (protocol, case), values in _by_case(cell.scores).items():
            if protocol != "case3d":
                continue
            looked_at += 1
            broken += [f"{case}: {text}" for text in _broken(values)]
        levels = [p.case for p in cell.predictions if p.level != p.ledger.level]
        broken += [f"{case}: level is not that of its ledger" for case in levels]
        told += bool(broken)
        if broken:
            sentence = f"{_name(cell)}: values that cannot both hold{_some(broken)}."
            formula = "IoU = D / (2 - D); D = 2 P R / (P + R), per case"
            yield Finding(
                "arithmetic", "C", (_name(cell),), formula, {"cases": float(len(broken))}, sentence, f"to {_CLOSE:g}"
            )
    if looked_at and not told:
        yield InOrder("arithmetic", "predictions whose scores obey the identities of their metrics", looked_at)


#: Everything that is looked at in a run, by name.
RUN_CHECKS: Mapping[str, Callable[[Run], Iterable[Finding | InOrder]]] = {
    "patient_sides": _patient_sides,
    "trained_and_tested": _trained_and_tested,
    "weights_seen": _weights_seen,
    "reference_use": _reference_use,
    "cases": _cases,
    "arithmetic": _arithmetic,
}
_PROMPTED = "prompts came from the reference that scores them"


def _learnt_from(run: Run, cell: CellResult, source: str) -> set[str] | None:
    """Patients a cell was trained on or chose its options on; None when it did neither, or the run does not say."""
    record = cell.record
    chosen = bool(record.configuration.get("choose"))
    fold = _fold(run, source, record.fold)
    if not (record.trained_here or chosen) or fold is None:
        return None
    share = 1.0 if chosen and not record.trained_here else record.fraction
    seed = (run.splits[source].get("seed") or 0) if isinstance(run.splits[source], dict) else 0
    return run.people(source, [*training_fraction(fold.get("train", ()), share, seed), *fold.get("validation", ())])


def _missing_patients(run: Run, cell: CellResult) -> list[str]:
    fold = _fold(run, cell.record.dataset, cell.record.fold)
    return [] if fold is None else sorted(set(fold.get("test", ())) - {p.patient for p in cell.predictions})


def _fold(run: Run, dataset: str, number: int) -> dict[str, Any] | None:
    folds = run.splits.get(dataset, {}).get("folds", [])
    return folds[number] if number < len(folds) else None


def _both_sides(check: str, where: str, both: list[str], sides: str, *, grade: Grade) -> Finding:
    sentence = f"{where}: {len(both)} patients are in {sides}{_some(both)}."
    assumption = "patients of one name are one person" if grade == "I" else ""
    numbers = {"patients": float(len(both))}
    return Finding(check, grade, (where,), "the sides have no patient in common", numbers, sentence, "", assumption)


def _uses(ledger: Ledger) -> list[str]:
    """In words, what a prediction owes to the reference."""
    prompted = [_PROMPTED] if ledger.prompt_source in _FROM_REFERENCE else []
    return [*prompted, *(words for field, words in _USES.items() if getattr(ledger, field))]


def _by_case(scores: Iterable[Score]) -> dict[tuple[str, str], dict[str, float]]:
    grouped: dict[tuple[str, str], dict[str, float]] = {}
    for score in scores:
        if score.value is not None:
            grouped.setdefault((score.protocol, score.case), {})[score.metric] = score.value
    return grouped


def _broken(values: Mapping[str, float]) -> Iterator[str]:
    dice, iou = values.get("dice"), values.get("iou")
    if dice is not None and iou is not None and abs(iou - dice / (2 - dice)) > _CLOSE:
        yield f"Dice {dice:.4f} with IoU {iou:.4f}"
    precision, recall = values.get("precision"), values.get("sensitivity")
    if dice is not None and precision is not None and recall is not None and precision + recall > 0:
        expected = 2 * precision * recall / (precision + recall)
        if abs(dice - expected) > _CLOSE:
            yield f"Dice {dice:.4f} with precision {precision:.4f} and sensitivity {recall:.4f}"


def _name(cell: CellResult) -> str:
    r = cell.record
    model = f"{r.model}.{r.variant}" if r.variant else r.model
    return f"{model} on {r.dataset}, {r.prompt}, {r.fraction:.0%}, seed {r.seed}, fold {r.fold}"


def _some(names: Iterable[str]) -> str:
    held = list(names)
    if not held:
        return ""
    return f" ({', '.join(held[:5])}{f' and {len(held) - 5} more' if len(held) > 5 else ''})"
