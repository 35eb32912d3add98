"""DICOM image series with the RTSTRUCT and SEG objects that were drawn on them, as cases.

Files are told apart by their identifiers; folder and file names mean nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pydicom
from pydicom.filereader import read_partial

from oncoseg.case import TUMOUR, Case
from oncoseg.errors import InputError
from oncoseg.io.dicom import Series, find_series, group_headers, headers_of, read_series
from oncoseg.io.dicom_grid import order_slices, tilt_degrees
from oncoseg.io.dicom_header import UNREADABLE, Header
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.seg import read_segments
from oncoseg.io.series_choice import candidates, told
from oncoseg.volume import Volume

#: ROI name here -> regular expressions for names in the files, tried in turn, without regard to case.
Aliases = Mapping[str, Sequence[str]]

_CONTOURS = 0x30060039  # ROIContourSequence: the long part of an RTSTRUCT, after the names
_FUNCTIONAL_GROUPS = 0x52009229  # SharedFunctionalGroupsSequence: the long part of a SEG


@dataclass(frozen=True)
class Drawing:
    """An RTSTRUCT or SEG object, known by its head.

    Attributes:
        path: the file.
        modality: "RTSTRUCT" or "SEG".
        names: of its ROIs (RTSTRUCT) or segment descriptions (SEG), in file order.
        series: SeriesInstanceUIDs it refers to.
    """

    path: Path
    modality: str
    names: tuple[str, ...]
    series: frozenset[str]


@dataclass(frozen=True)
class Study:
    """An image series and what was drawn on it.

    Attributes:
        case, patient: names; the case is the patient, numbered where a patient has several series.
        image: the series.
        drawings: in order of file name.
        problem: what is damaged or incomplete, None when its headers are in order.
        notes: how it was chosen.
    """

    case: str
    patient: str
    image: Series
    drawings: tuple[Drawing, ...]
    problem: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadingRules:
    """What is taken from the drawings of a study.

    Attributes:
        aliases: ROI name -> patterns; the first pattern that fits any name decides. `tumour` must be among them.
        prefer: which object is read when a study has both.
        several: when the deciding pattern fits several names: their "union", or the "first" in file order.
        hu_reach: (low, high) that a CT's values must go below and above to be HU of what it shows; None skips it.
        suspects: case -> what others reported about it; noted with the case, which is decided by checks alone.
        series: "all" image series of a study are cases, or the "best" one with a drawing, see `io.series_choice`.
        key: file of `oncoseg deidentify --key`; cases and patients are named as it names them, and messages hold no
            name, path or description of the files. None names them by PatientID.
    """

    aliases: Aliases
    prefer: Literal["RTSTRUCT", "SEG"] = "RTSTRUCT"
    several: Literal["union", "first"] = "union"
    hu_reach: tuple[float, float] | None = None
    suspects: Mapping[str, str] = field(default_factory=dict)
    series: Literal["all", "best"] = "all"
    key: Path | None = None


def find_studies(root: Path) -> list[Study]:
    """Every image series below a folder with its drawings, sorted by case name.

    A drawing belongs to the series it refers to; when that series is not there, to the only image series
    of its study. Series with damaged, missing or duplicated slices are listed with their `problem`.

    Raises:
        InputError: when `root` is no folder.
    """
    return survey(root)[0]


def survey(root: Path) -> tuple[list[Study], dict[Path, str], list[Path]]:
    """`find_studies`, and with them what is wrong with damaged files beside no image, and drawings of no image."""
    series, damaged = _find_readable_series(root)
    images = [s for s in series if s.modality in ("CT", "MR", "PT")]
    found = [d for s in series if s.modality in ("RTSTRUCT", "SEG") for d in _drawings(s, images, damaged)]
    drawings = [(drawing, uid) for drawing, uid in found if uid is not None]
    counts = Counter(s.patient for s in images)
    numbers: Counter[str] = Counter()
    studies = []
    for image in images:
        numbers[image.patient] += 1
        name = re.sub(r"[^\w.-]+", "_", image.patient) or "patient"
        case = name if counts[image.patient] == 1 else f"{name}_{numbers[image.patient]}"
        own = tuple(d for d, uid in drawings if uid == image.uid)
        studies.append(Study(case, image.patient or name, image, own, _problem(image, damaged)))
    folders = {file.parent for image in images for file in image.files}
    strays = {file: message for file, message in damaged.items() if file.parent not in folders}
    unused = [drawing.path for drawing, uid in found if uid is None]
    return sorted(studies, key=lambda s: s.case), strays, unused


def read_study(study: Study, rules: ReadingRules) -> Case:
    """Image and masks of one study; `tumour` is there and not empty.

    Raises:
        InputError: names the file, and the ROIs it has where none is the tumour.
    """
    drawing = _chosen_drawing(study, rules)
    if drawing is None:
        raise InputError(f"case {study.case}: {study.problem or without_tumour(study, rules)}")
    image = read_series(study.image)
    _require_hu(study, image, rules)
    chosen = {roi: names for roi in rules.aliases if (names := _matching(drawing.names, rules.aliases[roi]))}
    notes = list(study.notes)
    if len(chosen[TUMOUR]) > 1:
        notes.append(f"tumour: {rules.several} of {', '.join(chosen[TUMOUR])}")
    if study.case in rules.suspects:
        notes.append(f"known as suspicious ({rules.suspects[study.case]}); all checks passed")
    if tilt := tilt_degrees(image):
        notes.append(f"tilted gantry: the slices lie {tilt:.1f} degrees off the table's direction")
    taken = {roi: names if rules.several == "union" else names[:1] for roi, names in chosen.items()}
    read = _read_masks(drawing, study.image, image, [name for names in taken.values() for name in names])
    masks = {}
    for roi, names in taken.items():
        if drawn := [mask for name in names for mask in _called(name, read, drawing.names)]:
            masks[roi] = _union(drawn)
    if TUMOUR not in masks or not masks[TUMOUR].voxels.any():
        raise InputError(f"{drawing.path}: {', '.join(taken[TUMOUR])} holds no voxel of the image.")
    facts = {"slice_spacing_mm": image.spacing[0], "pixel_spacing_mm": image.spacing[1], **study.image.facts}
    return Case(study.case, study.patient, image, masks, facts, tuple(notes))


def _find_readable_series(root: Path) -> tuple[list[Series], dict[Path, str]]:
    """All series without the files that are damaged, and for each of those what is wrong."""
    try:
        return find_series(root), {}
    except InputError:
        if not root.is_dir():
            raise
    readable: list[Header] = []
    damaged: dict[Path, str] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        try:
            readable += headers_of(path)
        except InputError as error:
            damaged[path] = str(error)
    return group_headers(readable), damaged


def _drawings(
    series: Series, images: Sequence[Series], damaged: dict[Path, str]
) -> Iterator[tuple[Drawing, str | None]]:
    """Each file of a series of drawings with the UID of the image it belongs to, if any; adds to those damaged."""
    known = {s.uid for s in images}
    same_study = [s.uid for s in images if (s.patient, s.study) == (series.patient, series.study)]
    for path in series.files:
        try:
            drawing = _read_head(path, series.modality)
        except InputError as error:
            damaged[path] = str(error)
            continue
        owners = [uid for uid in drawing.series if uid in known] or same_study
        yield drawing, owners[0] if len(owners) == 1 else None


def _read_head(path: Path, modality: str) -> Drawing:
    stop = _CONTOURS if modality == "RTSTRUCT" else _FUNCTIONAL_GROUPS
    try:
        with path.open("rb") as stream:
            head = read_partial(stream, stop_when=lambda tag, vr, length: int(tag) >= stop)
        if modality == "RTSTRUCT":
            names = [str(roi.get("ROIName", "")) for roi in head.get("StructureSetROISequence", [])]
        else:
            names = [_segment_name(s) for s in head.get("SegmentSequence", [])]
        return Drawing(path, modality, tuple(names), frozenset(_referenced(head)))
    except UNREADABLE as error:
        raise InputError(f"{path} is a damaged {modality}: {error}.") from error


def _segment_name(segment: pydicom.Dataset) -> str:
    """A segment's description, or its label where there is none."""
    return str(segment.get("SegmentDescription") or segment.get("SegmentLabel", "")).strip()


def _referenced(head: pydicom.Dataset) -> Iterator[str]:
    for series in head.get("ReferencedSeriesSequence", []):
        yield str(series.get("SeriesInstanceUID", ""))
    for frame in head.get("ReferencedFrameOfReferenceSequence", []):
        for study in frame.get("RTReferencedStudySequence", []):
            for series in study.get("RTReferencedSeriesSequence", []):
                yield str(series.get("SeriesInstanceUID", ""))


def _problem(image: Series, damaged: Mapping[Path, str]) -> str | None:
    """What headers alone say against an image."""
    folders = {file.parent for file in image.files}
    for file, message in damaged.items():
        if file.parent in folders:  # it may be the first or last slice, which no gap would give away
            return message
    try:
        order_slices(image.headers)
    except InputError as error:
        return str(error)
    return None


def without_tumour(study: Study, rules: ReadingRules) -> str | None:
    """Why a study has no tumour by these rules; None when it has one."""
    if _chosen_drawing(study, rules) is not None:
        return None
    if not study.drawings:
        return f"no readable RTSTRUCT or SEG refers to {study.image}"
    found = "; ".join(f"{d.path} has {', '.join(d.names) or 'no ROI'}" for d in study.drawings)
    patterns = ", ".join(rules.aliases[TUMOUR])
    return f"no ROI fits the patterns for the tumour ({patterns}): {found}. Set the option `tumour` to add a pattern."


def _chosen_drawing(study: Study, rules: ReadingRules) -> Drawing | None:
    """The first drawing with a tumour, of the preferred kind if there is one."""
    fitting = [d for d in study.drawings if _matching(d.names, rules.aliases[TUMOUR])]
    return min(fitting, key=lambda d: d.modality != rules.prefer, default=None)


def _matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The names that the first fitting pattern fits."""
    names = list(dict.fromkeys(names))
    for pattern in patterns:
        fitting = [n for n in names if re.search(pattern, n.strip(), re.IGNORECASE)]
        if fitting:
            return fitting
    return []


def _require_hu(study: Study, image: Volume, rules: ReadingRules) -> None:
    if rules.hu_reach is None or study.image.modality != "CT":
        return
    low, high = float(image.voxels.min()), float(image.voxels.max())
    if low > rules.hu_reach[0] or high < rules.hu_reach[1]:
        raise InputError(
            f"case {study.case}: the values of {study.image} reach from {low:g} to {high:g} and are not HU. "
            "Check RescaleSlope and RescaleIntercept in its files."
        )


def _read_masks(drawing: Drawing, series: Series, image: Volume, names: Sequence[str]) -> dict[str, Volume]:
    """Masks by name; ROIs that are points and no regions are left out."""
    if drawing.modality == "SEG":
        return {name: mask for name, mask in read_segments(drawing.path, image).items() if name in names}
    pattern = f"^(?:{'|'.join(re.escape(name) for name in names)})$"
    return read_rois(drawing.path, image, pattern=pattern, frame_of_reference=series.frame_of_reference or None)


def _called(name: str, read: Mapping[str, Volume], names: Sequence[str]) -> list[Volume]:
    """The masks of one name: several ROIs may have the same, which the reader numbers."""
    numbered = re.compile(re.escape(name) + r" \(\d+\)")
    repeated = names.count(name) > 1
    return [m for key, m in read.items() if key == name or (repeated and numbered.fullmatch(key))]


def best_of_each(studies: Sequence[Study], rules: ReadingRules) -> tuple[list[Study], dict[str, str]]:
    """The best image series of every study, before others one with a tumour, and why the others are passed over."""
    groups: dict[tuple[str, str], list[Study]] = {}
    for study in studies:
        groups.setdefault((study.patient, study.image.study), []).append(study)
    taken: list[Study] = []
    passed_over: dict[str, str] = {}
    for group in groups.values():
        drawn = [s for s in group if _chosen_drawing(s, rules) is not None] or group
        best, *others = candidates([s.image for s in drawn])
        chosen = next(s for s in drawn if s.image is best.series)
        if len(group) > 1:
            about = told(best, others)
            nothing = f"; passed over without a tumour: {len(group) - len(drawn)}" if len(drawn) < len(group) else ""
            chosen = replace(chosen, notes=(f"{about}{nothing}",))
            passed_over |= {
                s.case: f"series = best takes {chosen.case}, {about}" for s in group if s.case != chosen.case
            }
        taken.append(chosen)
    return sorted(taken, key=lambda s: s.case), passed_over


def _union(masks: Sequence[Volume]) -> Volume:
    joined = masks[0].voxels.copy()
    for mask in masks[1:]:
        joined |= mask.voxels
    return masks[0].with_voxels(joined)
