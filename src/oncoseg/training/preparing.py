"""Cases as a model prepared them, made once: kept in memory while there is room, and on disk below the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncoseg.case import Case
from oncoseg.config import content_key, fill, plain
from oncoseg.contracts import Preparing
from oncoseg.errors import InputError
from oncoseg.files import read_json, write_json
from oncoseg.preprocess.cache import Storage, VolumeCache
from oncoseg.training.loader import CasesOnDemand, names_of
from oncoseg.volume import Volume


@dataclass(frozen=True)
class _Entry:
    """Everything of a prepared case but its voxels."""

    name: str
    patient: str
    masks: tuple[str, ...]
    facts: dict[str, str | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class PreparedFolder:
    """Prepared cases on disk; safe for several processes, of which two may prepare the same case, equally.

    Args:
        folder: made when missing.
        about: everything but the case's name that decides what is prepared: model, options, fingerprint of the data.
        storage: `plain` is mapped, and the machine's processes share its memory; `blosc2` is packed and read whole.
    """

    def __init__(self, folder: Path, about: Any, *, storage: Storage = "plain") -> None:
        self._folder, self._about = folder, plain(about)
        self._volumes = VolumeCache(folder, storage=storage)

    def get_or_make(self, model: Preparing, cases: Sequence[Case], index: int) -> Case:
        """Case number `index` of `cases`, prepared; it is read and prepared when it is not here whole.

        Raises:
            InputError: when the folder cannot be written to or the disk is full.
        """
        name = names_of(cases)[index]
        key = content_key([self._about, name])
        found = self._read(key)
        if found is None:
            self._write(key, model.prepare(once(cases, index)))
            found = self._read(key)
        if found is None:
            raise InputError(
                f"Cannot read back case {name} from {self._folder} right after writing it. Check the disk."
            )
        return found

    def _write(self, key: str, case: Case) -> None:
        self._volumes.get_or_make(f"{key}-image", lambda: case.image)
        for number, mask in enumerate(case.masks.values()):
            self._volumes.get_or_make(f"{key}-{number}", lambda mask=mask: mask)  # type: ignore[misc]
        entry = _Entry(case.name, case.patient, tuple(case.masks), dict(case.facts), case.notes)
        write_json(self._folder / f"{key}.json", plain(entry))

    def _read(self, key: str) -> Case | None:
        """A case, None when any part of it is missing or damaged."""
        source = self._folder / f"{key}.json"
        if not source.exists():
            return None
        entry = fill(_Entry, read_json(source), str(source))
        image = self._volume(f"{key}-image")
        masks = {roi: self._volume(f"{key}-{number}") for number, roi in enumerate(entry.masks)}
        whole = {roi: mask for roi, mask in masks.items() if mask is not None}
        if image is None or len(whole) < len(masks):
            return None
        return Case(entry.name, entry.patient, image, whole, entry.facts, entry.notes)

    def _volume(self, key: str) -> Volume | None:
        entry = self._volumes.get(key)
        return None if entry is None else entry.mapped()


def prepared_cases(
    model: Preparing, cases: Sequence[Case], *, folder: PreparedFolder | None = None, keep_gigabytes: float = 4.0
) -> CasesOnDemand:
    """Cases as `model.prepare` makes them, each when it is first looked at.

    Args:
        model: prepares.
        cases: as they come from the data set; of `CasesOnDemand` none is kept beside its prepared one.
        folder: where they are kept on disk; None keeps them in memory alone, and prepares one again that had to go.
        keep_gigabytes: of prepared voxels in memory, in every process.
    """
    places = {name: place for place, name in enumerate(names_of(cases))}

    def load(name: str) -> Case:
        place = places[name]
        return folder.get_or_make(model, cases, place) if folder else model.prepare(once(cases, place))

    return CasesOnDemand(load, list(places), keep_gigabytes=keep_gigabytes)


def once(cases: Sequence[Case], index: int) -> Case:
    """A case for one look: of `CasesOnDemand` it is not kept."""
    return cases.read(index) if isinstance(cases, CasesOnDemand) else cases[index]
