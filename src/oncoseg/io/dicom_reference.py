"""The image series that clinical objects are written for: its grid, its slices, and whose it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from oncoseg.errors import InputError
from oncoseg.io.dicom import IMAGE_MODALITIES, Series, find_series, read_series, series_at
from oncoseg.io.dicom_grid import order_slices
from oncoseg.io.dicom_header import Header, refusing_damage
from oncoseg.io.structures import onto_grid
from oncoseg.volume import Volume

#: Copied as they are from the image into whatever is drawn on it, with the name that PS3.3 gives the module.
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")


@dataclass(frozen=True, eq=False)
class Reference:
    """An image series in order of its slices.

    Attributes:
        series: its files and identifiers.
        headers: in order of the slices.
        grid: a volume on its grid, without voxels of its own.
    """

    series: Series
    headers: tuple[Header, ...] = field(repr=False)
    grid: Volume = field(repr=False)

    @cached_property
    def datasets(self) -> list[Dataset]:
        """All elements but the pixels of every slice, in order; slices of one file share theirs."""
        read: dict[Path, Dataset] = {}
        for path in self.series.files:
            with refusing_damage(path, "DICOM image"):
                read[path] = pydicom.dcmread(path, stop_before_pixels=True)
        return [read[header.path] for header in self.headers]

    def named(self, slice_index: int) -> tuple[str, str, list[int] | None]:
        """What refers to a slice: class and instance UID, and the number of its frame, from 1, in a list.

        The list is None where the slice is a whole file.
        """
        source, frame = self.datasets[slice_index], self.headers[slice_index].frame
        return str(source.SOPClassUID), str(source.SOPInstanceUID), None if frame is None else [frame + 1]

    @property
    def order(self) -> NDArray[np.intp]:
        """Which slice each frame is, in the order of the frames in their file; 0, 1 ... where slices are files."""
        frames = [n if header.frame is None else header.frame for n, header in enumerate(self.headers)]
        return np.argsort(frames)

    @property
    def files(self) -> frozenset[Path]:
        """Every file of the series, resolved."""
        return frozenset(header.path.resolve() for header in self.headers)

    def image(self) -> Volume:
        """The voxels as `dicom.read_series` reads them."""
        return read_series(self.series)

    def mm(self, slice_index: int, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """LPS mm (n, 3) of positions (n, 2) in (row, column), by the slice's own tags (PS3.3 C.7.6.2.1.1)."""
        header = self.headers[slice_index]
        cosines = np.array(header.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
        row_mm, column_mm = header.numbers("PixelSpacing", 2)
        first = np.array(header.numbers("ImagePositionPatient", 3))
        moved: NDArray[np.float64] = (
            first + pixels[:, 1:] * column_mm * cosines[0] + pixels[:, :1] * row_mm * cosines[1]
        )
        return moved


def open_reference(path: Path, fits: Volume | None = None, *, chosen: Series | None = None) -> Reference:
    """The image series in a folder, or the one that a DICOM file belongs to.

    Args:
        path: folder or file.
        fits: a mask; of several series in a folder the one whose voxels are the mask's is taken.
        chosen: the series, where it was chosen already.

    Raises:
        InputError: when there is none, or several of which not exactly one fits, when slices are missing or doubled,
            or the series does not say in which frame of reference it lies.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist. Give the folder with the DICOM images that the mask was drawn on.")
    series = chosen
    if series is None and fits is not None and path.is_dir():
        series = _fitting(path, fits)
    series = series or series_at(path)
    grid = order_slices(series.headers)
    if not series.frame_of_reference:
        raise InputError(f"{series} has no FrameOfReferenceUID, so nothing can be drawn on it. Export it again.")
    if grid.headers[0].frame is not None and len(series.files) > 1:
        raise InputError(
            f"{series} consists of several multi-frame files. Put them together first; objects refer to one file."
        )
    missing = [h.path for h in grid.headers if not h.text("SOPInstanceUID")]
    if missing:
        raise InputError(f"{missing[0]} has no SOPInstanceUID, so nothing can refer to it. Export it again.")
    empty = np.broadcast_to(np.zeros((), bool), grid.shape)
    return Reference(series, grid.headers, Volume(empty, grid.affine))


def _fitting(folder: Path, mask: Volume) -> Series | None:
    """The only one of several image series that a mask fits; None when there is no choice, or none is clear."""
    images = [s for s in find_series(folder) if s.modality in IMAGE_MODALITIES]
    found = []
    for series in images if len(images) > 1 else []:
        try:
            grid = order_slices(series.headers)
            onto_grid(mask, Volume(np.broadcast_to(np.zeros((), bool), grid.shape), grid.affine), "mask and series")
        except InputError:
            continue
        found.append(series)
    return found[0] if len(found) == 1 else None


def identified_like(made: Dataset, reference: Reference, texts: Sequence[str] = ()) -> None:
    """Give an object the patient, study and frame of reference of an image; what the image leaves out stays empty.

    Args:
        made: the object; its character set becomes Unicode when any text needs it, Latin-1 otherwise.
        reference: the image.
        texts: other texts that will be in the object.
    """
    source = reference.datasets[0]
    copied = {keyword: str(source.get(keyword, "") or "") for keyword in (*PATIENT, *STUDY)}
    made.SpecificCharacterSet = character_set([*copied.values(), *texts])
    for keyword, text in copied.items():
        setattr(made, keyword, text)
    made.FrameOfReferenceUID = reference.series.frame_of_reference
    say_deidentified(made, reference)


def say_deidentified(made: Dataset, reference: Reference) -> None:
    """Copy what the image says of its de-identification; a method must be named (PS3.3 C.7.1.1), if only as unknown."""
    source = reference.datasets[0]
    if str(source.get("PatientIdentityRemoved", "")) != "YES":
        return
    made.PatientIdentityRemoved = "YES"
    for keyword in ("DeidentificationMethod", "DeidentificationMethodCodeSequence"):
        if source.get(keyword):
            setattr(made, keyword, source[keyword].value)
    if "DeidentificationMethod" not in made and "DeidentificationMethodCodeSequence" not in made:
        made.DeidentificationMethod = "not stated by the image"


@contextmanager
def names_as_they_are() -> Iterator[None]:
    """Keep highdicom from telling the user that a patient's name, which is the image's, has a single component."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent the intended person name")
        yield


def character_set(texts: Sequence[str]) -> str:
    """ISO_IR 100 (Latin-1), which every system reads, or ISO_IR 192 (UTF-8) where that is not enough."""
    return "ISO_IR 100" if all(text.isascii() for text in texts) else "ISO_IR 192"


def complete(reference: Reference) -> list[Dataset]:
    """Copies of the files of the slices in which elements that DICOM demands, even empty ones, are there.

    One a slice, in order; the only one of a multi-frame image.
    """
    made = []
    several = reference.headers[0].frame is not None
    for source in reference.datasets[:1] if several else reference.datasets:
        copied = Dataset(source)
        several_sets = not isinstance(source.get("SpecificCharacterSet", ""), str)
        if several_sets:
            copied.decode()
        for keyword in (*PATIENT, *STUDY):
            # As text: names keep the bytes of their own character set otherwise.
            setattr(copied, keyword, str(source.get(keyword, "") or ""))
        if several_sets:
            # Several sets in turn (ISO 2022), which highdicom does not know; the texts above are Unicode by now.
            copied.SpecificCharacterSet = "ISO_IR 192"
        made.append(copied)
    return made
