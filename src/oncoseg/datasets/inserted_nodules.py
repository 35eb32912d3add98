"""Nodules of one data set in the lungs of another: whole thoraxes in which a real nodule has to be found.

Crops round a nodule say little about finding it. Here each nodule lies somewhere in a lung of a whole picture, with
an exact mask. What surrounds it was not its own, so numbers are about software, not about patients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from oncoseg import registry
from oncoseg.case import TUMOUR, Case
from oncoseg.config import content_key, fill
from oncoseg.contracts import Dataset, DatasetInfo, Entry
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.lesions import regions
from oncoseg.preprocess.cache import VolumeCache
from oncoseg.preprocess.insert import Inserted, Nodule, insert_nodule
from oncoseg.volume import Volume

INFO = DatasetInfo(
    name="inserted_nodules",
    title="Nodules pasted into thoraxes",
    summary=(
        "Give `donors`, a table with `use` and its options, e.g. lidc_nodules and `root`; `thoraxes` likewise, "
        "the phantom without tumours unless said."
    ),
    licence="those of donors and thoraxes",
    doi=None,
    modality="CT",
    synthetic=True,
    warning=(
        "Nodules of one data set were pasted into lungs of another, by default a procedural phantom: size, shape and "
        "texture of the tumours are as in the donors, place and surroundings are not. Nodules that grow on pleura or "
        "vessels are missing. Numbers on it say that the software works, nothing about patients."
    ),
)

#: Part of the fingerprint: raise it when equal options give other voxels.
_VERSION = 1
#: How masks are kept in one volume.
_BITS = {TUMOUR: 1, "lung_left": 2, "lung_right": 4}
#: Places tried for one nodule.
_TRIES = 40


@dataclass(frozen=True)
class InsertedNodulesOptions:
    """Which nodules are pasted into what.

    Attributes:
        donors: `use`, a name on the shelf of data sets, and its options; the largest lesion of each case is pasted.
        thoraxes: the same of cases with `lung_left` and `lung_right` and an empty tumour. Each donor patient gets the
            thorax of a patient of its own; a phantom makes as many as are needed.
        cases: only these cases of the donors; empty for all.
        seed: decides who is pasted into whom, and where.
        clearance_mm: of the nodule from the border of the lung.
        blend_mm: width of the faded edge of a nodule.
        keep: folder where cases are kept once they were made, about 3 bytes a voxel; None makes them at every loading.
    """

    donors: Mapping[str, Any]
    thoraxes: Mapping[str, Any] = field(default_factory=lambda: {"use": "phantom"})
    cases: tuple[str, ...] = ()
    seed: int = 0
    clearance_mm: float = 1.0
    blend_mm: float = 2.0
    keep: Path | None = None

    def __post_init__(self) -> None:
        for name in ("donors", "thoraxes"):
            if "use" not in getattr(self, name):
                raise ConfigError(f'inserted_nodules: {name} needs `use`, e.g. {name} = {{ use = "phantom" }}.')
        if min(self.clearance_mm, self.blend_mm) < 0:
            raise ConfigError("inserted_nodules: clearance_mm and blend_mm are mm from 0 on.")


class InsertedNodules:
    """One case a nodule, of the donor's patient and under the donor's name; computed when it is loaded."""

    info = INFO

    def __init__(self, options: InsertedNodulesOptions) -> None:
        self.options = options
        self._donors = _opened(options.donors)
        entries = list(self._donors.entries())
        for name in options.cases:
            if name not in {e.case for e in entries}:
                raise UnknownNameError("case of the donors of inserted_nodules", name, [e.case for e in entries])
        self._entries = {e.case: e for e in entries if not options.cases or e.case in options.cases}
        patients = sorted({e.patient for e in self._entries.values()})
        self._thoraxes = _opened(_enough(options.thoraxes, len(patients)))
        hosts = {e.patient: e.case for e in reversed(list(self._thoraxes.entries()))}
        if len(hosts) < len(patients):
            raise InputError(
                f"inserted_nodules: {len(patients)} patients give nodules and {len(hosts)} a thorax; every donor needs "
                "one of its own, or a thorax would be on two sides of a split. Name fewer `cases`."
            )
        order = np.random.default_rng(options.seed).permutation(len(hosts))
        ordered = [hosts[name] for name in sorted(hosts)]
        self._host = {patient: ordered[int(n)] for patient, n in zip(patients, order, strict=False)}

    def entries(self) -> Sequence[Entry]:
        """Every nodule, sorted by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def load(self, case: str) -> Case:
        """Paste one nodule: masks `tumour`, exactly what was pasted, `lung_left` and `lung_right`.

        Raises:
            UnknownNameError: for a name not in `entries`.
            InputError: when nothing is marked in the donor, the thorax has a tumour of its own, or the nodule finds no
                place in its lungs.
        """
        if case not in self._entries:
            raise UnknownNameError("case of inserted_nodules", case, self._entries)
        entry = self._entries[case]
        host = self._host[entry.patient]
        image, labels = self._kept(case, lambda: self._made(case, host))
        masks = {roi: labels.with_voxels((labels.voxels & bit) > 0) for roi, bit in _BITS.items()}
        volume = _millilitres(masks[TUMOUR])
        facts: dict[str, str | float] = {"modality": "CT", "thorax": host, "tumour_volume_ml": volume}
        return Case(case, entry.patient, image, masks, facts, (str(INFO.warning),))

    def fingerprint(self) -> str:
        """Hex SHA-256 that changes with donors, thoraxes, who is pasted into whom and where."""
        return self._content

    @cached_property
    def _content(self) -> str:
        chosen = self.options
        return content_key(
            {
                "inserted_nodules": _VERSION,
                "donors": self._donors.fingerprint(),
                "thoraxes": self._thoraxes.fingerprint(),
                "cases": sorted(self._entries),
                "seed": chosen.seed,
                "mm": [chosen.clearance_mm, chosen.blend_mm],
            }
        )

    def _kept(self, case: str, make: Callable[[], tuple[Volume, Volume]]) -> tuple[Volume, Volume]:
        """Image and labels of a case, from `keep` where they lie there."""
        if self.options.keep is None:
            return make()
        cache, content = VolumeCache(self.options.keep), self._content
        keys = [content_key([content, case, part]) for part in ("image", "labels")]
        held = [cache.get(key) for key in keys]
        if held[0] is None or held[1] is None:
            volumes = make()
            held = [cache.get_or_make(key, partial(_itself, v)) for key, v in zip(keys, volumes, strict=True)]
        image, labels = (entry.read() for entry in held if entry is not None)
        return image, labels

    def _made(self, case: str, host: str) -> tuple[Volume, Volume]:
        """The image, and the sum of the bits of the masks that a voxel is in."""
        donor, thorax = self._donors.load(case), self._thoraxes.load(host)
        if thorax.mask().voxels.any():
            raise InputError(
                f"inserted_nodules: thorax {host} has a tumour of its own, which no mask would tell from the pasted "
                "one. Take thoraxes without any, for the phantom tumours = [0, 0]."
            )
        lungs = {roi: thorax.mask(roi).voxels for roi in _BITS if roi != TUMOUR}
        lung = thorax.image.with_voxels(np.logical_or.reduce(list(lungs.values())))
        pasted = self._pasted(Nodule.cut(donor, lesion=_largest(donor)), thorax, lung, case)
        marked = {**lungs, TUMOUR: pasted.mask.voxels}
        labels = np.zeros(thorax.image.shape, np.uint8)
        for roi, bit in _BITS.items():
            labels[marked[roi]] += bit
        return pasted.image, thorax.image.with_voxels(labels)

    def _pasted(self, nodule: Nodule, thorax: Case, lung: Volume, case: str) -> Inserted:
        """The nodule at the first drawn place where all of it lies in the lung."""
        digest = hashlib.sha256(f"{self.options.seed} {case}".encode()).digest()[:8]
        rng = np.random.default_rng(int.from_bytes(digest))
        free = _places(lung, _radius_mm(nodule) + self.options.clearance_mm)
        refused = "its lungs have no place that is wide enough"
        for place in rng.permutation(free)[:_TRIES]:
            index = (int(place[0]), int(place[1]), int(place[2]))
            try:
                return insert_nodule(thorax, nodule, position_index=index, blend_mm=self.options.blend_mm, lung=lung)
            except InputError as error:
                refused = str(error)
        raise InputError(f"inserted_nodules: {case} finds no place in {thorax.name}: {refused}")


def build(**options: Any) -> InsertedNodules:
    """Open donors and thoraxes; options are the fields of `InsertedNodulesOptions`.

    Raises:
        ConfigError: for a wrong option.
        InputError: when a donor's patient would have to share a thorax with another.
    """
    return InsertedNodules(fill(InsertedNodulesOptions, options, "data set inserted_nodules"))


def _opened(table: Mapping[str, Any]) -> Dataset:
    options = {name: value for name, value in table.items() if name != "use"}
    dataset: Dataset = registry.load("datasets", table["use"]).build(**options)
    return dataset


def _enough(table: Mapping[str, Any], patients: int) -> Mapping[str, Any]:
    """The phantom without tumours, one case a patient, where the table leaves these open."""
    return {"cases": patients, "tumours": (0, 0), **table} if table["use"] == "phantom" else table


def _largest(case: Case) -> int:
    """Number of the largest lesion, as `Nodule.cut` counts them."""
    found = regions(case.mask())
    return max(range(len(found)), key=lambda n: int(found[n].voxels.sum()), default=0)


def _radius_mm(nodule: Nodule) -> float:
    """Of the ball of the nodule's volume: a nodule is seldom rounder, so what does not fit is tried elsewhere."""
    return float((3 * nodule.mask.voxels.sum() * nodule.mask.voxel_volume_mm3 / (4 * np.pi)) ** (1 / 3))


def _places(lung: Volume, away_mm: float) -> NDArray[np.int_]:
    """Voxels (n, 3) that lie so deep in the lung."""
    places: NDArray[np.int_] = np.argwhere(distance_transform_edt(lung.voxels, sampling=lung.spacing) > away_mm)
    return places


def _millilitres(mask: Volume) -> float:
    return float(mask.voxels.sum()) * mask.voxel_volume_mm3 / 1000


def _itself(volume: Volume) -> Volume:
    return volume
