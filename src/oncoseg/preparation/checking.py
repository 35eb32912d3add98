"""What is wrong or unusual in a data set, case by case, before anything is trained or scored on it."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from oncoseg.case import TUMOUR, Case
from oncoseg.contracts import Damaged, Dataset, Excluding, Undrawn
from oncoseg.errors import OncosegError
from oncoseg.fetch import Say
from oncoseg.lesions import regions
from oncoseg.volume import Volume

Severity = Literal["error", "warning", "info"]

#: Slices further apart than this are thick for tumours.
THICK_SLICES_MM = 5.0
#: Voxel sizes outside this range are rather a wrong unit than a scanner's.
PLAUSIBLE_SPACING_MM = (0.1, 12.0)
#: A tumour smaller than this many voxels, or larger than this many mL, deserves a look.
FEW_VOXELS, LARGE_ML = 10, 2000.0
#: Below this median a "tumour" on CT is mostly air: the mask may be shifted or flipped.
AIR_HU = -750.0


@dataclass(frozen=True)
class Finding:
    """One remark about one case.

    Attributes:
        case: its name; "" for the data set as a whole.
        severity: "error": cannot be used; "warning": results may be wrong or undefined; "info": good to know.
        message: what, with values, and what to do.
    """

    case: str
    severity: Severity
    message: str


def check_dataset(dataset: Dataset, say: Say = lambda line: None) -> list[Finding]:
    """Read every case and say what is wrong with it.

    Checked are: files and geometry (by loading), spacing and tilt, voxel values (NaN, HU), the reference (there,
    not empty, not cut off by the image's border, not in air), equal images under different names,
    and patients whose names differ only in spelling; of images on which nothing is drawn, the images. A bad case
    never stops the others.

    Args:
        dataset: any data set.
        say: told each case's name before it is read.

    Returns:
        Findings in order of case; empty when there is nothing to say.
    """
    excluded = dataset.excluded if isinstance(dataset, Excluding) else {}
    damaged = dataset.damaged if isinstance(dataset, Damaged) else {}
    findings = [Finding(case, "error", f"left out: {reason}") for case, reason in damaged.items()]
    findings += [Finding(c, "warning", f"left out: {reason}") for c, reason in excluded.items() if c not in damaged]
    if isinstance(dataset, Undrawn):
        for case in dataset.undrawn:
            say(case)
            findings += _image_alone(dataset, case)
    images: dict[str, tuple[str, str]] = {}
    for entry in dataset.entries():
        say(entry.case)
        try:
            loaded = dataset.load(entry.case)
        except OncosegError as error:
            findings.append(Finding(entry.case, "error", str(error)))
            continue
        findings += check_case(loaded, str(loaded.facts.get("modality", dataset.info.modality)))
        findings += _duplicate(loaded, images)
    findings += _spellings(dataset)
    return sorted(findings, key=lambda f: f.case)


def _image_alone(dataset: Undrawn, case: str) -> list[Finding]:
    try:
        image, modality = dataset.image_of(case)
    except OncosegError as error:
        return [Finding(case, "error", str(error))]
    remarks = [*_geometry(image), *_values(image, modality)]
    found = [Finding(case, severity, message) for severity, message in remarks]
    size = f"{_show(image.spacing)} mm, {' x '.join(map(str, image.shape))} voxels"
    return [*found, Finding(case, "info", f"the image reads ({modality}, {size}): fit to predict on, not to score on.")]


def check_case(case: Case, modality: str = "any") -> list[Finding]:
    """Findings of one case that was read; `modality` "CT" checks HU too."""
    remarks = [*_geometry(case.image), *_values(case.image, modality), *_reference(case, modality)]
    return [Finding(case.name, severity, message) for severity, message in remarks]


def _geometry(image: Volume) -> Iterator[tuple[Severity, str]]:
    low, high = PLAUSIBLE_SPACING_MM
    if not all(low <= s <= high for s in image.spacing):
        yield "warning", f"the voxel size {_show(image.spacing)} mm is not a scanner's; check the unit in the header."
    elif image.spacing[0] > THICK_SLICES_MM:
        yield "info", f"slices are {image.spacing[0]:g} mm apart; small tumours may lie between them."
    axes = image.affine[:3, :3] / image.spacing
    turn = float(np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=0).min(), -1, 1))))
    if turn > 1:
        yield "info", f"the grid is turned or sheared by {turn:.0f} degrees against the patient's axes."


def _values(image: Volume, modality: str) -> Iterator[tuple[Severity, str]]:
    voxels = image.voxels
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        yield "error", f"{int((~np.isfinite(voxels)).sum())} voxels are NaN or infinite; repair or re-export the image."
        return
    low, high = float(voxels.min()), float(voxels.max())
    if low == high:
        yield "error", f"every voxel has the value {low:g}; the image is empty."
    elif modality == "CT" and (low >= 0 or high - low < 100):
        yield (
            "warning",
            f"values from {low:g} to {high:g} are not HU; check the rescale intercept or the window applied.",
        )
    elif modality == "CT" and low < -1024:
        below = int((voxels < -1024).sum())
        yield "info", f"{below} voxels are below -1024 HU (down to {low:g}): padding outside the scanner's circle."


def _reference(case: Case, modality: str) -> Iterator[tuple[Severity, str]]:
    if TUMOUR not in case.masks:
        yield "error", f"there is no mask 'tumour', only {', '.join(case.masks) or 'none'}; name one with `tumour`."
        return
    mask = case.mask()
    count = int(mask.voxels.sum())
    if count == 0:
        yield "warning", "the reference is empty: overlap and distances are undefined and are counted as such."
        return
    volume_ml = count * mask.voxel_volume_mm3 / 1000
    if count < FEW_VOXELS or volume_ml > LARGE_ML:
        yield "warning", f"the tumour has {count} voxels ({volume_ml:.3g} mL); check the label map and the mask."
    lesions = len(regions(mask))
    if lesions > 1:
        yield "info", f"the tumour consists of {lesions} separate lesions."
    (whole,) = regions(mask, "volume")
    if any(a == 0 or b == n for a, b, n in zip(whole.start, whole.stop, mask.shape, strict=True)):
        yield "info", "the tumour touches the border of the image and may be cut off."
    median = float(np.median(case.image.voxels[mask.voxels]))
    if modality == "CT" and median < AIR_HU:
        yield (
            "warning",
            f"the tumour's median is {median:.0f} HU, that of lung or air: is the mask shifted or flipped?",
        )


def _duplicate(case: Case, images: dict[str, tuple[str, str]]) -> list[Finding]:
    """Equal voxels were seen before: fatal under another patient's name, since splits go by patient."""
    digest = hashlib.sha256(np.ascontiguousarray(case.image.voxels).data).hexdigest()
    other, patient = images.setdefault(digest, (case.name, case.patient))
    if other == case.name:
        return []
    message = f"the image equals that of case {other} of patient {patient}, voxel for voxel"
    if patient == case.patient:
        return [Finding(case.name, "warning", f"{message}; it counts twice.")]
    return [Finding(case.name, "error", f"{message}; remove one, or give both to one patient.")]


def _spellings(dataset: Dataset) -> Iterator[Finding]:
    names: dict[str, set[str]] = defaultdict(set)
    for entry in dataset.entries():
        names[re.sub(r"[\W_]+", "", entry.patient.lower())].add(entry.patient)
    for spellings in names.values():
        if len(spellings) > 1:
            listed = ", ".join(f"'{s}'" for s in sorted(spellings))
            yield Finding("", "warning", f"patients {listed} may be one person; a split would tell them apart.")


def _show(numbers: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{n:.4g}" for n in numbers) + ")"
