"""Which cases of a data set a cell trains on, validates on and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oncoseg.contracts import Dataset, Entry
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.experiments.matrix import Cell
from oncoseg.experiments.specs import DatasetSpec, SplitSpec
from oncoseg.experiments.splits import (
    Split,
    Splits,
    cases_of,
    hold_out,
    k_folds,
    load_splits,
    require_fit,
    training_fraction,
)


@dataclass(frozen=True)
class Sides:
    """Case names, each sorted; no patient is on two sides.

    Attributes:
        train: of the cell's fraction of the training patients; empty when the cell trains nothing.
        validation, test: of the fold.
        choosing: of the same training patients, when the cell chooses options on them.
        fingerprint: hex SHA-256 of all folds of the data set that is scored.
        source: hex SHA-256 of all folds of the data set that is trained on, where it is another: `train`, `validation`
            and `choosing` are then cases of that one. "" otherwise.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    fingerprint: str
    choosing: tuple[str, ...] = ()
    source: str = ""


def sides(cell: Cell, dataset: Dataset, source: Dataset | None = None) -> Sides:
    """Split a cell's data set; where another one is trained on, that one too.

    Args:
        cell: whose sides.
        dataset: that is scored.
        source: that is trained on; None where it is the same.

    Raises:
        InputError: when a data set is empty or too small for the split, the fold does not exist, or a patient is on
            the training side of one data set and on the test side of the other.
        UnknownNameError: when the matrix names a case the data set does not have.
    """
    if source is not None:
        learned, tested = sides(cell.at_home, source), sides(replace(cell, source_id="", source=None), dataset)
        parted = replace(learned, test=tested.test, fingerprint=tested.fingerprint, source=learned.fingerprint)
        require_other_names(cell, parted, source.entries(), dataset.entries())
        return parted
    entries = chosen_entries(cell.dataset, dataset)
    splits = splits_of(cell.dataset, entries)
    if cell.fold >= len(splits.folds):
        raise InputError(f"The split of {cell.dataset_id} has {len(splits.folds)} folds from 0 on; got {cell.fold}.")
    fold = splits.folds[cell.fold]
    patients = training_fraction(fold.train, cell.fraction, cell.dataset.split.seed) if cell.trains else ()
    share = 1.0 if cell.train is None else cell.fraction
    looked_at = training_fraction(fold.train, share, cell.dataset.split.seed) if cell.choose else ()
    return Sides(
        train=tuple(cases_of(patients, entries)),
        validation=tuple(cases_of(fold.validation, entries)),
        test=tuple(cases_of(fold.test, entries)),
        fingerprint=splits.fingerprint(),
        choosing=tuple(cases_of(looked_at, entries)),
    )


def require_other_names(cell: Cell, parted: Sides, learned: Sequence[Entry], tested: Sequence[Entry]) -> None:
    """Raise InputError when a name is that of a patient trained on in one data set and scored in another."""
    if cell.source is None or cell.source.own_names or cell.dataset.own_names:
        return
    known = {e.patient for e in learned if e.case in {*parted.train, *parted.validation, *parted.choosing}}
    both = sorted(known & {e.patient for e in tested if e.case in set(parted.test)})
    if both:
        raise InputError(
            f"{len(both)} patients are trained on in {cell.source_id} and scored in {cell.dataset_id}, e.g. {both[0]}. "
            "Leave them out of one of the two (`cases`, or split files). Where the names only look alike, write "
            f"own_names = true in [dataset.{cell.source_id}]; images are compared in any case."
        )


def splits_of(spec: DatasetSpec, entries: Sequence[Entry]) -> Splits:
    """The folds of a data set; raises as `sides`."""
    split: SplitSpec = spec.split
    if split.file is not None:
        splits = load_splits(split.file)
        require_fit(splits, entries, str(split.file))
        return splits
    if split.folds > 1:
        return k_folds(entries, split.folds, split.seed, validation_share=split.validation)
    if split.test == "all":
        return Splits((Split(train=(), test=tuple({e.patient for e in entries})),), split.seed)
    return hold_out(entries, split.test, split.seed, validation_share=split.validation)


def chosen_entries(spec: DatasetSpec, dataset: Dataset) -> list[Entry]:
    """The cases a matrix uses of a data set; raises as `sides`."""
    entries = list(dataset.entries())
    known = {e.case for e in entries}
    for name in sorted(known):
        if "~" in name:
            raise InputError(
                f"Case '{name}' of data set {spec.use}: in results ~ stands between a case and its draw or reader. "
                "Rename its files, e.g. with _ in place of ~."
            )
    for name in spec.cases:
        if name not in known:
            raise UnknownNameError(f"case of data set {spec.use}", name, known)
    chosen = [e for e in entries if not spec.cases or e.case in spec.cases]
    if not chosen:
        raise InputError(f"Data set {spec.use} has no case. Check its options.")
    return chosen
