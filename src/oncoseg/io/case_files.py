"""Cases whose image and masks are files: reads them, maps label values to ROIs, checks grids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import DatasetInfo, Entry
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.fingerprint import fingerprint
from oncoseg.io.images import read_image, read_labels, read_mask
from oncoseg.volume import Volume

#: File endings of images and masks that are one file, longest first.
SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")

#: ROI name -> the label values that make it up.
LabelMap = Mapping[str, tuple[int, ...]]

_TUMOUR_WORDS = ("tumour", "tumor", "cancer", "lesion", "gtv", "nodule")


@dataclass(frozen=True)
class CaseFiles:
    """Which files make up a case.

    Attributes:
        case, patient: names.
        image: file.
        labels: one file with a whole number per ROI, None when there is none.
        masks: ROI name -> file with a mask.
        facts, notes: handed on to the case.
    """

    case: str
    patient: str
    image: Path
    labels: Path | None = None
    masks: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, str | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the case."""
        return (self.image, *([self.labels] if self.labels else []), *self.masks.values())


class FileDataset:
    """A data set whose cases are files; what `oncoseg.datasets` builds from a folder layout.

    Attributes:
        info: what the data set is.
        root: folder of the files.
        labels: ROI name -> label values; None when every nonzero voxel of a label file is tumour.
    """

    def __init__(self, info: DatasetInfo, root: Path, cases: Iterable[CaseFiles], labels: LabelMap | None) -> None:
        self.info, self.root, self.labels = info, root, labels
        self._cases = {c.case: c for c in sorted(cases, key=lambda c: c.case)}
        if not self._cases:
            raise InputError(f"{root} holds no case of data set '{info.name}'. {info.summary}")

    def entries(self) -> Sequence[Entry]:
        """Every case, sorted by name; also those whose files turn out to be missing or broken."""
        return [Entry(c.case, c.patient) for c in self._cases.values()]

    def load(self, case: str) -> Case:
        """Read one case.

        Raises:
            UnknownNameError: for a name not in `entries`.
            InputError: names the file that is missing, broken, has label values outside the map, or lies
                on another grid than its image.
        """
        if case not in self._cases:
            raise UnknownNameError(f"case of {self.info.name}", case, self._cases)
        return read_case(self._cases[case], self.labels)

    def fingerprint(self) -> str:
        """Hex SHA-256 of names and contents of all files and of the label map."""
        about = {"patients": [list(e) for e in self.entries()], "labels": self.labels}
        return fingerprint(self.root, (f for c in self._cases.values() for f in c.files), about)


def read_case(files: CaseFiles, labels: LabelMap | None = None) -> Case:
    """Read image and masks of one case.

    Raises:
        InputError: names the file that cannot be used.
        GridMismatchError: names image and mask that do not lie on one grid.
    """
    image = read_image(files.image)
    image.require_finite(str(files.image))
    masks = {roi: _on_grid(read_mask(path), image, (files.image, path)) for roi, path in files.masks.items()}
    if files.labels is not None and labels is None:
        masks[TUMOUR] = _on_grid(read_mask(files.labels), image, (files.image, files.labels))
    elif files.labels is not None and labels is not None:
        values = _on_grid(read_labels(files.labels), image, (files.image, files.labels))
        masks.update(split_labels(values, labels, str(files.labels)))
    facts = {"slice_spacing_mm": image.spacing[0], "pixel_spacing_mm": image.spacing[1], **files.facts}
    return Case(files.case, files.patient, image, masks, facts, files.notes)


def split_labels(values: Volume, labels: LabelMap, what: str) -> dict[str, Volume]:
    """One bool volume per ROI of a label map.

    Args:
        values: whole numbers; 0 is background.
        labels: ROI name -> values; ROIs may share values (regions).
        what: names the file in the message.

    Raises:
        InputError: when a voxel has a value that is neither 0 nor in the map.
    """
    wanted = {v for group in labels.values() for v in group}
    single = {v: values.voxels == v for v in wanted}
    known = sum(int(np.count_nonzero(marked)) for v, marked in single.items() if v != 0)
    if known != np.count_nonzero(values.voxels):
        strange = sorted(set(np.unique(values.voxels).tolist()) - wanted - {0})
        raise InputError(
            f"{what} holds the label values {strange[:8]}, which are not in the label map "
            f"{ {roi: list(group) for roi, group in labels.items()} }. Add them to the map or correct the file."
        )
    return {roi: values.with_voxels(np.logical_or.reduce([single[v] for v in group])) for roi, group in labels.items()}


def label_map(labels: Mapping[str, int | Sequence[int]], tumour: str | None, where: str) -> dict[str, tuple[int, ...]]:
    """A label map with ROI names from a data set's own label names.

    Args:
        labels: the data set's name -> value, or values for a region; background (0) and "ignore" are left out.
        tumour: which name is the tumour; None when there is one foreground label, or one that sounds like it.
        where: names the file or option in the message.

    Returns:
        ROI name (lower case, words joined by "_") -> values; exactly one ROI is `tumour`.

    Raises:
        ConfigError: when it is not clear which label is the tumour.

    Example:
        >>> label_map({"background": 0, "pancreas": 1, "cancer": 2}, None, "dataset.json")
        {'pancreas': (1,), 'tumour': (2,)}
    """
    wanted = {name: _values(value) for name, value in labels.items() if name.lower() != "ignore"}
    wanted = {name: values for name, values in wanted.items() if values != (0,)}
    candidates = [name for name in wanted if any(word in name.lower() for word in _TUMOUR_WORDS)]
    chosen = [tumour] if tumour is not None else list(wanted) if len(wanted) == 1 else candidates
    if len(chosen) != 1 or chosen[0] not in wanted:
        raise ConfigError(
            f"{where}: which of the labels {', '.join(wanted)} is the tumour? Set the option `tumour` to one of them."
        )
    return {TUMOUR if name == chosen[0] else roi_name(name): values for name, values in wanted.items()}


def roi_name(name: str) -> str:
    """A label's or ROI's own name in lower case with words joined by "_", safe in file names.

    Example:
        >>> roi_name("Lung-Left (1)")
        'lung_left_1'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "roi"


def patient_of(case: str, pattern: str | None) -> str:
    """The patient in a case's name: what the regular expression's first group (or all of it) matches.

    Without a pattern every case is a patient of its own.

    Raises:
        ConfigError: when the pattern is no regular expression or is not found in the name.

    Example:
        >>> patient_of("LIDC-IDRI-0004_R_1", "(.+)_R_")
        'LIDC-IDRI-0004'
    """
    if pattern is None:
        return case
    try:
        match = re.search(pattern, case)
    except re.error as error:
        raise ConfigError(f"patient: '{pattern}' is not a regular expression: {error}.") from error
    if match is None:
        raise ConfigError(f"patient: '{pattern}' is not found in the name of case '{case}'.")
    return str(match.group(1) if match.groups() else match.group(0))


def without_suffix(name: str) -> str:
    """A file's name without `.nii.gz`, `.nii`, `.seg.nrrd` or `.nrrd`.

    Example:
        >>> without_suffix("lung_001.nii.gz")
        'lung_001'
    """
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _values(value: int | Sequence[int]) -> tuple[int, ...]:
    return (int(value),) if isinstance(value, int | str) else tuple(int(v) for v in value)


def _on_grid(mask: Volume, image: Volume, files: tuple[Path, Path]) -> Volume:
    image.require_same_grid(mask, f"image {files[0]} and mask {files[1]}")
    return mask
