"""Which cases of a data set a cell trains on, validates on and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        fingerprint: hex SHA-256 of all folds.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    fingerprint: str
    choosing: tuple[str, ...] = ()


def sides(cell: Cell, dataset: Dataset) -> Sides:
    """Split a cell's data set.

    Raises:
        InputError: when the data set is empty or too small for the split, or the fold does not exist.
        UnknownNameError: when the matrix names a case the data set does not have.
    """
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
