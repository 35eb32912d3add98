"""A data set whose cases are single slices, as some studies split their images. It leaks, and says so.

Neighbouring slices of one patient look alike. Where slices are drawn for training and for testing, a patient stands on
both sides and scores say little about new patients. It exists to reproduce such studies and is never the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from oncoseg.case import Case
from oncoseg.config import content_key
from oncoseg.contracts import Dataset, DatasetInfo, Entry, Excluding
from oncoseg.errors import UnknownNameError
from oncoseg.volume import Volume

WARNING = "Split by slice: slices of one patient are trained on and tested, which leaks."


class SlicesAsCases:
    """Every slice that holds the ROI as a case, and as a patient, of its own.

    Args:
        dataset: whose slices; its images are read once to see which hold the ROI.
        roi: slices without it are left out, as in the studies that split so.
    """

    def __init__(self, dataset: Dataset, roi: str) -> None:
        self.dataset, self.roi = dataset, roi
        whole = dataset.info
        self.info: DatasetInfo = replace(whole, warning=f"{WARNING} {whole.warning or ''}".strip())
        self._held: Case | None = None  # slices of a patient are asked for one after the other

    @property
    def excluded(self) -> Mapping[str, str]:
        """Cases that the data set leaves out, with the reason."""
        return dict(self.dataset.excluded) if isinstance(self.dataset, Excluding) else {}

    def entries(self) -> Sequence[Entry]:
        """One entry a slice, `<case>.k0007` being the eighth; each is called a patient, for that is how it is split."""
        return [Entry(name, name) for name in self._places]

    def load(self, case: str) -> Case:
        """One slice, a volume of one, with its masks.

        Raises:
            UnknownNameError: for a slice without the ROI, or a name of another data set.
        """
        if case not in self._places:
            raise UnknownNameError("slice", case, self._places)
        entry, index = self._places[case]
        whole = self._whole(entry.case)
        masks = {name: _slice(mask, index) for name, mask in whole.masks.items()}
        return Case(case, case, _slice(whole.image, index), masks, whole.facts, (*whole.notes, WARNING))

    def _whole(self, case: str) -> Case:
        if self._held is None or self._held.name != case:
            self._held = self.dataset.load(case)
        return self._held

    def fingerprint(self) -> str:
        """Hex SHA-256 of the data set's and of what is made of it."""
        return content_key(["slices", self.roi, self.dataset.fingerprint()])

    def on_both_sides(self, train: Iterable[str], test: Iterable[str]) -> tuple[int, int]:
        """How many patients of the tested slices have slices that are trained on, and how many there are."""
        known, tested = ({self._places[name][0].patient for name in names} for names in (train, test))
        return len(known & tested), len(tested)

    @cached_property
    def _places(self) -> dict[str, tuple[Entry, int]]:
        places: dict[str, tuple[Entry, int]] = {}
        for entry in self.dataset.entries():
            held = np.flatnonzero(self.dataset.load(entry.case).mask(self.roi).voxels.any(axis=(1, 2)))
            places |= {f"{entry.case}.k{index:04d}": (entry, int(index)) for index in held}
        return places


def told_of_leak(dataset: Dataset, train: Iterable[str], test: Iterable[str]) -> list[str]:
    """What a report must say about a split by slice; nothing about any other."""
    if not isinstance(dataset, SlicesAsCases):
        return []
    both, tested = dataset.on_both_sides(train, test)
    return [f"Split by slice: {both} of {tested} tested patients are trained on too (leakage); n counts slices."]


def _slice(volume: Volume, index: int) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] = volume.index_to_mm([index, 0, 0])
    return Volume(volume.voxels[index : index + 1], affine)
