"""Which of several image series in a folder is best to look for tumours on, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncoseg.errors import InputError
from oncoseg.io.dicom import IMAGE_MODALITIES, Series, choose_image
from oncoseg.io.dicom_grid import order_slices

#: Normals within this cosine of an axis are along it.
_ALONG = 0.95
#: A series that covers less than this share of the longest one is a part of it.
_PART = 0.8
_PLANES = ("sagittal", "coronal", "axial")
#: Kernels for lung or bone, whose noise hides soft tissue: GE, Philips and Canon by name, Siemens from number 60 on.
_SHARP = re.compile(r"lung|bone|edge|chst|detail|\by[a-d]\b|^[el]$|^fc[358]\d", re.IGNORECASE)
_SIEMENS = re.compile(r"^[BHITU][a-z]?(\d\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A series with what decides on it.

    Attributes:
        series: the series.
        problem: why its files are no volume, None when they are.
        plane: "axial", "coronal", "sagittal" or "oblique"; "" with a problem.
        length_mm: how far it reaches along its slices.
        slice_mm: distance of its slices.
        kernel: "soft", "sharp" or "unknown".
    """

    series: Series
    problem: str | None
    plane: str = ""
    length_mm: float = 0.0
    slice_mm: float = 0.0
    kernel: str = "unknown"

    def __str__(self) -> str:
        if self.problem:
            return f"{self.series}: {self.problem}"
        named = self.series.facts.get("kernel")
        kernel = f", kernel {named} ({self.kernel})" if named else ""
        slices = f"{len(self.series.headers)} slices of {self.slice_mm:.3g} mm"
        return f"{self.series}: {self.plane}, {slices} over {self.length_mm:.0f} mm{kernel}"


def candidates(series: Sequence[Series]) -> list[Candidate]:
    """Image series, the best first.

    In this order: a whole volume before files that are none, axial before other planes, all of the body before a part
    (under 80 % of the longest), CT before others, a soft kernel before a sharp one, thin slices before thick ones.
    """
    looked = [_looked_at(s) for s in series]
    longest = max((c.length_mm for c in looked if c.plane == "axial"), default=0.0)
    return sorted(looked, key=lambda c: _order(c, longest))


def why(best: Candidate, other: Candidate) -> str:
    """The first thing in which a series is better than another, as words; "its identifier" when nothing differs."""
    if other.problem and not best.problem:
        return "its files form a volume"
    if best.plane != other.plane:
        return f"it is {best.plane}"
    if other.length_mm < _PART * best.length_mm:
        return f"it covers {best.length_mm:.0f} mm instead of {other.length_mm:.0f} mm"
    if best.series.modality != other.series.modality:
        return f"it is {best.series.modality}"
    if best.kernel != other.kernel:
        return f"its kernel is {best.kernel}"
    if best.slice_mm < other.slice_mm:
        return f"its slices are thinner ({best.slice_mm:.3g} instead of {other.slice_mm:.3g} mm)"
    return "its identifier alone"


def pick_series(series: Sequence[Series], where: Path, wanted: str) -> tuple[Series, str]:
    """The image series that is asked for among several, and why it is that one, in words.

    Args:
        series: those found, of any modality.
        where: the folder, for messages.
        wanted: "best" for the first of `candidates`, or a SeriesInstanceUID.

    Raises:
        InputError: when there is no image series, none with that UID, or the best one's files are no volume.
    """
    images = [s for s in series if s.modality in IMAGE_MODALITIES]
    if not images:
        return choose_image(series, where), ""  # which says what is there instead
    if wanted != "best":
        found = next((s for s in images if s.uid == wanted), None)
        if found is None:
            uids = ", ".join(s.uid for s in images)
            raise InputError(f"{where} has no image series {wanted}. Say best, or one of: {uids}.")
        return found, f"series {wanted} of {len(images)}, as asked for"
    best, *others = candidates(images)
    if best.problem:
        raise InputError(f"None of the {len(images)} image series in {where} is a volume. {best.problem}")
    return best.series, told(best, others)


def told(best: Candidate, others: Sequence[Candidate]) -> str:
    """Which series was taken and why, without any name: for notes that are kept."""
    reasons = "; ".join(dict.fromkeys(why(best, other) for other in others)) or "it is the only one"
    kernel = best.series.facts.get("kernel", "")
    about = f"{best.series.modality}, {best.plane}, {best.slice_mm:.3g} mm" + (f", kernel {kernel}" if kernel else "")
    return f"best of {1 + len(others)} series: {about}, because {reasons}"


def _order(candidate: Candidate, longest: float) -> tuple[object, ...]:
    return (
        candidate.problem is not None,
        candidate.plane != "axial",
        candidate.length_mm < _PART * longest,
        candidate.series.modality != "CT",
        ("soft", "unknown", "sharp").index(candidate.kernel),
        candidate.slice_mm,
        candidate.series.uid,
    )


def _looked_at(series: Series) -> Candidate:
    try:
        grid = order_slices(series.headers)
    except InputError as error:
        return Candidate(series, str(error))
    normal = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    normal /= np.linalg.norm(normal)
    axis = int(np.abs(normal).argmax())
    plane = _PLANES[axis] if abs(normal[axis]) >= _ALONG else "oblique"
    slice_mm = float(np.linalg.norm(grid.affine[:3, 0]))
    kernel = kernel_of(str(series.facts.get("kernel", "")))
    return Candidate(series, None, plane, slice_mm * grid.shape[0], slice_mm, kernel)


def kernel_of(name: str) -> str:
    """What a kernel's name says: "soft", "sharp", or "unknown" for no name.

    Example:
        >>> [kernel_of(name) for name in ("B31f", "Br64d", "LUNG", "STANDARD", "")]
        ['soft', 'sharp', 'sharp', 'soft', 'unknown']
    """
    first = name.split("\\")[0].strip()
    if not first:
        return "unknown"
    siemens = _SIEMENS.match(first)
    if siemens:
        return "sharp" if int(siemens[1]) >= 60 else "soft"
    return "sharp" if _SHARP.search(first) else "soft"
