"""The phantom on the shelf of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oncoseg.case import TUMOUR, Case
from oncoseg.config import content_key, fill, plain
from oncoseg.contracts import Dataset, DatasetInfo, Entry
from oncoseg.datasets.phantom.configuration import PhantomConfig
from oncoseg.datasets.phantom.scan import Scan, make_scan
from oncoseg.errors import UnknownNameError

#: Part of the fingerprint: raise it when equal options give other voxels.
_VERSION = 1

INFO = DatasetInfo(
    name="phantom",
    title="Thorax phantom",
    summary="Procedural thorax CT with tumours of chosen size, place and texture; needs no files.",
    licence="Apache-2.0",
    doi=None,
    modality="CT",
    synthetic=True,
    warning="Synthetic: procedural phantom; numbers on it say that the software works, nothing about patients.",
)


class Phantom:
    """Cases computed when they are loaded; nothing is stored."""

    info = INFO

    def __init__(self, config: PhantomConfig) -> None:
        self.config = config
        patients = config.patients or config.cases
        self._entries = {
            f"phantom-{i:04d}": Entry(f"phantom-{i:04d}", f"phantom-patient-{i % patients:04d}")
            for i in range(config.cases)
        }

    def entries(self) -> Sequence[Entry]:
        """Every case, sorted by name."""
        return tuple(self._entries.values())

    def load(self, case: str) -> Case:
        """Compute one case: masks `tumour`, `lung_left`, `lung_right`; facts on every tumour.

        Raises:
            UnknownNameError: for a name not in `entries`.
            InputError: when a tumour of the wanted size finds no place.
        """
        if case not in self._entries:
            raise UnknownNameError("case", case, self._entries)
        number, patient = int(case.removeprefix("phantom-")), self._entries[case].patient
        scan = make_scan(self.config, patient=int(patient.removeprefix("phantom-patient-")), case=number)
        masks = {TUMOUR: scan.tumour, "lung_left": scan.lung_left, "lung_right": scan.lung_right}
        return Case(case, patient, scan.image, masks, _facts(scan, self.config), (str(INFO.warning),))

    def fingerprint(self) -> str:
        """Hex SHA-256 of the options and the phantom's version."""
        return content_key({"phantom": _VERSION, "options": plain(self.config)})


def build(**options: Any) -> Dataset:
    """The data set; `options` are the fields of `PhantomConfig`.

    Raises:
        ConfigError: for an unknown option (near names suggested) or a value out of range.
    """
    return Phantom(fill(PhantomConfig, options, "data set phantom"))


def _facts(scan: Scan, config: PhantomConfig) -> dict[str, str | float]:
    """Facts of a case: what its tumours were asked to be, and the volume they have."""
    facts: dict[str, str | float] = {
        "modality": "CT",
        "kernel": config.kernel,
        "noise_hu": config.noise_hu,
        "tumours": float(len(scan.tumours)),
        "tumour_volume_ml": float(scan.tumour.voxels.sum()) * scan.tumour.voxel_volume_mm3 / 1000,
    }
    for number, tumour in enumerate(scan.tumours, start=1):
        facts |= {
            f"tumour_{number}_volume_ml": tumour.volume_ml,
            f"tumour_{number}_position": tumour.position,
            f"tumour_{number}_texture": tumour.texture,
            f"tumour_{number}_irregularity": tumour.irregularity,
        }
    return facts
