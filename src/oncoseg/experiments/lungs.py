"""Lungs for the cases of any data set: drawn, by the classical method, or by a network of lungmask.

A case gets the masks `lung_right` and `lung_left`, and its facts say under `lungs` how they were made. Lung masks and
the tumour may overlap; whoever merges them into one label map gives the voxel to the tumour. Cases whose lungs cannot
be used are left out with the reason, before anybody is put on a side of a split.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oncoseg.case import Case
from oncoseg.config import content_key
from oncoseg.contracts import Damaged, Dataset, DatasetInfo, Entry, Excluding
from oncoseg.errors import ConfigError, InputError, suggest
from oncoseg.fetch import cache_folder
from oncoseg.files import read_json, sha256, write_json
from oncoseg.preprocess.cache import VolumeCache, volume_key
from oncoseg.preprocess.lungs import REVISION, Lungs, lungs, reject_reason
from oncoseg.volume import Volume

RIGHT, LEFT = "lung_right", "lung_left"
DRAWN, CLASSICAL = "drawn", "classical"

_log = logging.getLogger(__name__)


class Method(NamedTuple):
    """How lungs are made: `identity` is plain data that decides the result, `make` None for drawn ones."""

    identity: Any
    make: Callable[[Volume], Lungs] | None


def lung_method(name: str) -> Method:
    """A method by name; a network's file is hashed here and read when it is first used.

    Args:
        name: "drawn", "classical", or the path of a weights file of lungmask.

    Raises:
        ConfigError: when it is none of them.
    """
    if name == DRAWN:
        return Method(DRAWN, None)
    if name == CLASSICAL:
        return Method([CLASSICAL, REVISION], lungs)
    path = Path(name)
    if not path.is_file():
        raise ConfigError(
            f"lungs = '{name}' is neither a method nor a file. {suggest(name, (DRAWN, CLASSICAL))} "
            "Or give the path of a weights file such as unet_r231-d5d2fc3d.pth."
        )
    return Method(["lungmask", sha256(path), REVISION], functools.partial(_by_network, path))


class WithLungs:
    """A data set whose cases have lungs.

    The first look at its cases makes the lungs of all of them, which takes seconds a case; masks and verdicts are
    kept in the user's cache folder, found by the content of image and method.

    Args:
        dataset: any.
        method: see `lung_method`.

    Attributes:
        info: of the data set.
    """

    def __init__(self, dataset: Dataset, method: str) -> None:
        self.info: DatasetInfo = dataset.info
        self._dataset, self._method = dataset, lung_method(method)
        self._cache = VolumeCache(cache_folder() / "lungs")

    def entries(self) -> Sequence[Entry]:
        """Every case whose lungs can be used, sorted by name."""
        return [e for e in self._dataset.entries() if e.case not in self._rejected]

    @property
    def excluded(self) -> Mapping[str, str]:
        """Case -> reason: what the data set leaves out, and cases whose lungs cannot be used."""
        before = self._dataset.excluded if isinstance(self._dataset, Excluding) else {}
        return {**before, **self._rejected}

    @property
    def damaged(self) -> Mapping[str, str]:
        """As the data set says."""
        return self._dataset.damaged if isinstance(self._dataset, Damaged) else {}

    def load(self, case: str) -> Case:
        """One case with `lung_right` and `lung_left`.

        Raises:
            UnknownNameError: for a name the data set does not have.
            InputError: names the file that is wrong, or says why the lungs cannot be used.
        """
        loaded = self._dataset.load(case)
        found = self._lungs(loaded)
        reason = self._reason(found, loaded)
        if found is None or reason:
            raise InputError(f"case {case} of {self.info.name} is left out: {reason}")
        masks = {**loaded.masks, RIGHT: found.right, LEFT: found.left}
        return dataclasses.replace(loaded, masks=masks, facts={**loaded.facts, "lungs": found.origin})

    def fingerprint(self) -> str:
        """Hex SHA-256 that also changes with the method."""
        return content_key({"dataset": self._dataset.fingerprint(), "lungs": self._method.identity})

    @functools.cached_property
    def _rejected(self) -> dict[str, str]:
        fingerprint = self.fingerprint()
        verdicts = {e.case: self._verdict(e.case, fingerprint) for e in self._dataset.entries()}
        rejected = {case: reason for case, reason in verdicts.items() if reason is not None}
        for case, reason in rejected.items():
            _log.warning("%s: case %s is left out: %s", self.info.name, case, reason)
        return rejected

    def _verdict(self, case: str, fingerprint: str) -> str | None:
        """Why a case cannot be used, None when it can; remembered, so that its voxels are read once."""
        kept = self._cache.folder / "verdicts" / f"{content_key([fingerprint, case])}.json"
        if kept.exists():
            reason: str | None = read_json(kept)["reason"]
            return reason
        try:
            loaded = self._dataset.load(case)
        except InputError:
            return None  # it stays a case, and loading it says what is wrong with its files
        _log.info("%s: lungs of case %s", self.info.name, case)
        reason = self._reason(self._lungs(loaded), loaded)
        write_json(kept, {"case": case, "reason": reason})
        return reason

    def _reason(self, found: Lungs | None, case: Case) -> str | None:
        if found is None:
            missing = " and ".join(roi for roi in (RIGHT, LEFT) if roi not in case.masks)
            return f"lungs (drawn): {missing} was not drawn; it has {', '.join(case.masks) or 'no mask'}"
        if self._method.make is None and found.right_ml and found.left_ml:
            return None  # the criteria are for programs: what people drew is believed
        return reject_reason(found)

    def _lungs(self, case: Case) -> Lungs | None:
        make = self._method.make
        if make is None:
            if RIGHT not in case.masks or LEFT not in case.masks:
                return None
            return Lungs(case.masks[RIGHT], case.masks[LEFT], DRAWN)
        key = volume_key(case.image, {"lungs": self._method.identity})
        about = self._cache.folder / f"{key}.json"
        if not about.exists():
            made = make(case.image)
            self._cache.get_or_make(key, lambda: made.labels)
            write_json(about, {"origin": made.origin, "components": made.components})
            return made
        facts = read_json(about)
        labels = self._cache.get_or_make(key, lambda: make(case.image).labels).read().voxels
        right, left = case.image.with_voxels(labels == 1), case.image.with_voxels(labels == 2)
        return Lungs(right, left, facts["origin"], facts["components"])


@functools.lru_cache(maxsize=1)
def _network(path: Path) -> Any:
    from oncoseg.inference.lungmask import load_lung_network

    return load_lung_network(path)


def _by_network(path: Path, image: Volume) -> Lungs:
    from oncoseg.inference.lungmask import network_lungs

    return network_lungs(image, _network(path))
