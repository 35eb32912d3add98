"""Who is trained on and who is tested: by patient, seeded, kept in a file, checked when read.

A patient is never on two sides. The file is JSON a person can read and edit by hand; its hash
goes into the key of every cell, and a file that was changed after it was written says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncoseg.config import content_key, fill, plain
from oncoseg.contracts import Entry
from oncoseg.errors import ConfigError, InputError
from oncoseg.files import read_json, write_json

#: Shares of the training patients used by the data-efficiency benchmark.
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Split:
    """Patients by side, each sorted.

    Raises:
        InputError: when a patient is on two sides, or twice on one; names the patient.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for side in ("train", "validation", "test"):
            for patient in getattr(self, side):
                if patient in seen:
                    raise InputError(
                        f"Patient '{patient}' is in {seen[patient]} and in {side}. "
                        "Every patient belongs to one side only: remove it from the other."
                    )
                seen[patient] = side
            object.__setattr__(self, side, tuple(sorted(getattr(self, side))))

    @property
    def patients(self) -> frozenset[str]:
        """Everybody on any side."""
        return frozenset((*self.train, *self.validation, *self.test))


@dataclass(frozen=True)
class Splits:
    """The folds of one experiment; one fold for a single split.

    Attributes:
        folds: in order; each patient is tested at most once over all folds of `k_folds`.
        seed: that made them, None for splits published by others.
    """

    folds: tuple[Split, ...]
    seed: int | None = None

    def fingerprint(self) -> str:
        """Hex SHA-256 of the content."""
        return content_key(self)


def k_folds(
    entries: Iterable[Entry],
    folds: int,
    seed: int,
    *,
    validation_share: float = 0.0,
    strata: Mapping[str, str] | None = None,
) -> Splits:
    """Every patient is tested once.

    Folds differ by one patient at most, in all and, with `strata`, in each stratum.

    Args:
        entries: cases and their patients.
        folds: number of folds, at least 2.
        seed: decides everything.
        validation_share: of the remaining patients of each fold, kept out of training.
        strata: patient -> group that every fold should hold alike (stage, centre, tumour size).

    Raises:
        InputError: with fewer patients than folds, or a patient without a stratum.
    """
    patients = _patients(entries)
    if not 2 <= folds <= len(patients):
        raise InputError(f"{len(patients)} patients cannot be split into {folds} folds; give 2 to {len(patients)}.")
    ordered = _by_stratum(patients, seed, strata)
    made = []
    for fold in range(folds):
        test = set(ordered[fold::folds])
        rest = [p for p in patients if p not in test]
        validation = _draw(rest, validation_share, seed + 1 + fold, strata)
        made.append(_split(rest, validation, test))
    return Splits(tuple(made), seed)


def hold_out(
    entries: Iterable[Entry],
    test_share: float,
    seed: int,
    *,
    validation_share: float = 0.0,
    strata: Mapping[str, str] | None = None,
) -> Splits:
    """One split: a share of all patients is tested, a share of the remaining ones validates.

    Raises:
        InputError: when a share is not in [0, 1), or no patient is left to train on or to test.
    """
    patients = _patients(entries)
    test = _draw(patients, test_share, seed, strata)
    rest = [p for p in patients if p not in test]
    validation = _draw(rest, validation_share, seed + 1, strata)
    split = _split(rest, validation, test)
    if not split.train or not split.test:
        raise InputError(
            f"{len(patients)} patients leave {len(split.train)} to train on and {len(split.test)} to test. "
            "Bring more patients or change test_share."
        )
    return Splits((split,), seed)


def training_fraction(patients: Sequence[str], fraction: float, seed: int) -> tuple[str, ...]:
    """A random share of the training patients; smaller shares with the same seed are subsets of larger ones.

    Args:
        patients: of the training side, in any order.
        fraction: 0 (nobody: the model as it comes) to 1 (all); anything between keeps at least one.
        seed: decides the order in which patients join.

    Returns:
        Sorted patients.

    Raises:
        InputError: for a fraction outside [0, 1].

    Example:
        >>> training_fraction(["a", "b", "c", "d"], 0.5, seed=0)
        ('a', 'c')
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"A training fraction is a share from 0 to 1; got {fraction}.")
    ordered = _shuffled(patients, seed)
    count = max(1, round(fraction * len(ordered))) if fraction > 0 else 0
    return tuple(sorted(ordered[:count]))


def cases_of(patients: Iterable[str], entries: Iterable[Entry]) -> list[str]:
    """All cases of some patients, sorted by name."""
    wanted = set(patients)
    return sorted(e.case for e in entries if e.patient in wanted)


def require_fit(splits: Splits, entries: Iterable[Entry], where: str) -> None:
    """Raise InputError when a fold names patients the data set does not have.

    Patients of the data set that no fold names are left out, as published splits do.
    """
    known = set(_patients(entries))
    missing = sorted(frozenset().union(*(f.patients for f in splits.folds)) - known)
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            f"{where} names {len(missing)} patients the data set does not have ({some}). "
            "Use the split file of this data set, or make a new one."
        )


def save_splits(target: Path, splits: Splits) -> None:
    """Write a split file, whole."""
    write_json(target, {**plain(splits), "sha256": splits.fingerprint()})


def load_splits(source: Path) -> Splits:
    """Read a split file and check it.

    The file holds `folds`, a list of `{"train": [patients], "validation": [...], "test": [...]}`, and
    optionally `seed` and `sha256`.

    Raises:
        InputError: names the file and the patient that is on two sides, or says that the content is not
            the one that was written (delete the line `sha256` when it was edited on purpose).
        ConfigError: for a missing, unknown or mistyped key.
    """
    content = read_json(source)
    if not isinstance(content, dict):
        raise InputError(f'{source} is not a split file: it must be an object with a list "folds".')
    written = content.pop("sha256", None)
    try:
        splits = fill(Splits, content, str(source))
    except ConfigError:
        raise
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    if not splits.folds:
        raise InputError(f"{source} holds no fold.")
    if written not in (None, splits.fingerprint()):
        raise InputError(
            f"{source} was changed after it was written: its content has the hash {splits.fingerprint()}, "
            f"not {written}. "
            'Restore it, or delete the line "sha256" when the change was on purpose.'
        )
    return splits


def _patients(entries: Iterable[Entry]) -> list[str]:
    return sorted({e.patient for e in entries})


def _split(rest: Sequence[str], validation: set[str], test: Iterable[str]) -> Split:
    return Split(train=tuple(p for p in rest if p not in validation), test=tuple(test), validation=tuple(validation))


def _draw(patients: Sequence[str], share: float, seed: int, strata: Mapping[str, str] | None) -> set[str]:
    """A share of the patients, spread evenly over the strata."""
    if not 0 <= share < 1:
        raise InputError(f"A share of patients must be at least 0 and below 1; got {share}.")
    count = round(share * len(patients))
    if count == 0:
        return set()
    ordered = _by_stratum(patients, seed, strata)
    return {ordered[int(position)] for position in (np.arange(count) + 0.5) * len(ordered) / count}


def _by_stratum(patients: Sequence[str], seed: int, strata: Mapping[str, str] | None) -> list[str]:
    """Shuffled patients, those of one stratum side by side."""
    ordered = _shuffled(patients, seed)
    if strata is None:
        return ordered
    without = [p for p in ordered if p not in strata]
    if without:
        raise InputError(f"Patient '{without[0]}' has no stratum. Give every patient one, or split without strata.")
    return sorted(ordered, key=lambda p: strata[p])


def _shuffled(patients: Sequence[str], seed: int) -> list[str]:
    ordered = sorted(patients)
    return [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]
