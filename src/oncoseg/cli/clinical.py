"""What verbs that write clinical objects share: where to, and all of them at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg.cli.show import say
from oncoseg.errors import InputError

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from pydicom.dataset import Dataset

    from oncoseg.io.contours import Shaping
    from oncoseg.io.deidentified import Deidentifying
    from oncoseg.io.dicom import Series
    from oncoseg.io.dicom_reference import Reference
    from oncoseg.io.rtstruct_writer import WrittenRoi
    from oncoseg.io.structures import MadeBy, Structure
    from oncoseg.io.together import Writer
    from oncoseg.prompt import Prompt
    from oncoseg.volume import Volume


@dataclass(frozen=True)
class Targets:
    """The files that are asked for; None for those that are not."""

    rtstruct: Path | None = None
    seg: Path | None = None
    sr: Path | None = None
    sheet: Path | None = None

    @property
    def files(self) -> list[Path]:
        """Those that are asked for."""
        return [path for path in (self.rtstruct, self.seg, self.sr, self.sheet) if path is not None]

    def require_writable(self, inputs: Iterable[Path]) -> None:
        """Raise InputError unless every file could be written, none over an input: asked before long work."""
        from oncoseg.files import require_writable
        from oncoseg.io.together import require_not_over

        require_not_over(self.files, inputs)
        for path in self.files:
            require_writable(path)
        if self.sheet is not None:
            from oncoseg.report.reading_sheet import require_sheet

            require_sheet(self.sheet)


@dataclass(frozen=True)
class Choices:
    """How the objects are written.

    Attributes:
        add_to: RTSTRUCT whose ROIs are kept.
        shaping: of contours.
        site: body site, None when unknown.
        label_map: write the SEG as a label map.
        lungs: labels of the lungs, 1 right, 2 left, for the site "lung"; None to find them.
        allow_empty: write structures without a voxel.
        key: file of `oncoseg deidentify --key`: the objects are de-identified by it, to go with images that are.

    Raises:
        InputError: when the key is none.
        UnknownNameError: for a body site that has no code.
    """

    add_to: Path | None = None
    shaping: Shaping | None = None
    site: str | None = None
    label_map: bool = False
    lungs: Path | None = None
    allow_empty: bool = False
    key: Path | None = None

    def __post_init__(self) -> None:
        if self.site is not None:
            from oncoseg.io.coding import site

            site(self.site)
            object.__setattr__(self, "site", self.site.strip().casefold())
        if self.key is not None:
            from oncoseg.io.pseudonyms import read_key

            read_key(self.key)


def open_for(
    targets: Targets, image: Path, *, alone: bool, given: Sequence[Path] = (), series: Series | None = None
) -> Reference | None:
    """The series that clinical files are written for; None when none is asked for.

    Args:
        targets: what is asked for.
        image: the image that a model looks at.
        alone: whether the model says the tumour alone.
        given: further files that nothing may be written over.
        series: the one of several that was chosen already.

    Raises:
        InputError: when the image is not DICOM, `alone` is not true, or a file cannot be written.
    """
    if not targets.files:
        return None
    if not alone:
        raise InputError("--labels writes label maps; for RTSTRUCT, SEG and reports use oncoseg export on the result.")
    if not image.is_dir() and image.name.lower().endswith((".nii", ".nii.gz", ".nrrd")):
        raise InputError(f"{image} is not DICOM: RTSTRUCT, SEG and reports need the DICOM series as IMAGE.")
    from oncoseg.io.dicom_reference import open_reference

    reference = open_reference(image, chosen=series)
    targets.require_writable([*given, *reference.files])
    return reference


def made_by_model(full_name: str, model: str, weights: Path | None, prompts: Sequence[Prompt]) -> MadeBy:
    """What goes into the objects about a model that has just run; the weights are found as for the run itself."""
    from oncoseg import registry
    from oncoseg.cli.settings import named_model
    from oncoseg.contracts import choose_variant
    from oncoseg.files import sha256
    from oncoseg.io.structures import MadeBy
    from oncoseg.prompt import to_json
    from oncoseg.score import ledger_of
    from oncoseg.weights.catalogue import locate

    name, file = named_model(model, weights)
    base, variant = registry.split_variant(name)
    published = choose_variant(registry.load("models", base).INFOS, variant).weights
    if file is None and published is not None:
        file = locate(published, say)
    digest = sha256(file) if file is not None and file.is_file() else ""
    listed = in_brief(to_json(prompts, lambda _, number: f"mask {number}"))
    return MadeBy(
        f"{full_name} ({name})",
        weights_sha256=digest,
        prompts=f"{ledger_of(prompts).label}: {listed}" if prompts else "none",
        generation="SEMIAUTOMATIC" if any(p.source != "automatic" for p in prompts) else "AUTOMATIC",
    )


def in_brief(content: Any, longest: int = 600) -> str:
    """Plain data as one line of JSON, cut with the number of characters that are left out."""
    text = json.dumps(content, separators=(",", ":"))
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text) - longest} more characters)"


def write_clinical(
    structures: Sequence[Structure], reference: Reference, made_by: MadeBy, *, targets: Targets, choices: Choices
) -> None:
    """Make every object that is asked for, then write all of them or none, and say what was written.

    Raises:
        InputError: for an empty structure without `allow_empty`, measurements without a tumour, and as the writers.
    """
    from oncoseg.io.together import written_together

    _require_voxels(structures, choices)
    how = _deidentifying(choices.key)
    writers: dict[Path, Writer] = {}
    rois: list[WrittenRoi] = []
    if targets.rtstruct is not None:
        from oncoseg.io.rtstruct_writer import rtstruct

        made, rois = rtstruct(structures, reference, made_by, add_to=choices.add_to, shaping=choices.shaping)
        writers[targets.rtstruct] = _saving(made, how)
    segmented = None
    if targets.seg is not None:
        from oncoseg.io.seg_writer import Kind, segmentation

        fractional = any(s.probability is not None for s in structures)
        kind: Kind = "LABELMAP" if choices.label_map else "FRACTIONAL" if fractional else "BINARY"
        segmented = segmentation(structures, reference, made_by, kind=kind, where=choices.site)
        writers[targets.seg] = _saving(segmented, how)
    if targets.sr is not None or targets.sheet is not None:
        writers |= _measured(
            structures, reference, made_by, targets=targets, choices=choices, segmented=segmented, how=how
        )
    written_together(writers)
    for path in writers:
        say(f"wrote {path}")
    _tell(structures, rois)


def _deidentifying(key: Path | None) -> Deidentifying | None:
    if key is None:
        return None
    from oncoseg.io.deidentified import Deidentifying
    from oncoseg.io.pseudonyms import read_key

    return Deidentifying(read_key(key))


def _saving(made: Dataset, how: Deidentifying | None) -> Writer:
    """What writes an object, as it is or de-identified; it is not changed itself, since others refer to it."""
    from oncoseg.io.deidentified import deidentified_copy
    from oncoseg.io.together import saving

    return saving(made if how is None else deidentified_copy(made, how))


def _require_voxels(structures: Sequence[Structure], choices: Choices) -> None:
    for structure in structures:
        if not choices.allow_empty and not structure.mask.voxels.any():
            raise InputError(
                f"'{structure.name}' has no voxel, so there is nothing to write. If that is the result, --allow-empty "
                "writes it as an empty structure."
            )


def _measured(
    structures: Sequence[Structure],
    reference: Reference,
    made_by: MadeBy,
    *,
    targets: Targets,
    choices: Choices,
    segmented: Segmentation | None,
    how: Deidentifying | None,
) -> dict[Path, Writer]:
    """The report and the sheet on the lesions of every GTV."""
    from oncoseg.io.sr_writer import Finding, structured_report
    from oncoseg.measurements import measure

    tumours = [s for s in structures if s.kind == "GTV"]
    if not tumours:
        raise InputError("Measurements are of tumours and none of the structures is one: give --type GTV.")
    image, site = reference.image(), choices.site
    lungs = _lungs(image, reference, choices) if any(s.mask.voxels.any() for s in tumours) else None
    lesions = {s.name: measure(s.mask, image, lungs) for s in tumours}
    findings = [Finding(name, lesion, len(found)) for name, found in lesions.items() for lesion in found]
    writers: dict[Path, Writer] = {}
    if targets.sr is not None:
        report = structured_report(findings, reference, made_by, where=site, segmented=segmented)
        writers[targets.sr] = _saving(report, how)
    if targets.sheet is not None:
        from oncoseg.report.reading_sheet import Sheet, write_sheet

        masks = {s.name: s.mask for s in tumours}
        uid = reference.series.uid if how is None else how.pseudonyms.uid(reference.series.uid)
        sheet = Sheet(image, masks, findings, uid, made_by.sentence, site)
        writers[targets.sheet] = lambda path: write_sheet(path, sheet)
    for finding in findings:
        lesion = finding.lesion
        say(
            f"{finding.title}: {lesion.millilitres:.2f} mL, {lesion.long_axis.length_mm:.1f} x "
            f"{lesion.short_axis.length_mm:.1f} mm on slice {lesion.slice_index}"
            + (f", {lesion.location}" if lesion.location else "")
        )
    return writers


def _lungs(image: Volume, reference: Reference, choices: Choices) -> Volume | None:
    """The lungs that lesions are located in: those that are given, or found in a CT whose site is the lung."""
    from oncoseg.io.images import read_image
    from oncoseg.io.structures import onto_grid
    from oncoseg.preprocess.lungs import lungs, reject_reason

    if choices.lungs is not None:
        return onto_grid(read_image(choices.lungs), image, f"the lungs {choices.lungs} and the image")
    if choices.site != "lung" or reference.series.modality != "CT":
        return None
    found = lungs(image)
    if (reason := reject_reason(found)) is not None:
        say(f"lesions are not located in the lungs: {reason}; --lungs FILE of oncoseg export gives them")
        return None
    return found.labels


def _tell(structures: Sequence[Structure], rois: Sequence[WrittenRoi]) -> None:
    volumes = {s.name: int(s.mask.voxels.sum()) * s.mask.voxel_volume_mm3 / 1000 for s in structures}
    for roi in rois:
        kept = "" if roi.dice is None else f", Dice {roi.dice:.4f} with the mask"
        size = f"{roi.contours} contours, {roi.points} points"
        say(f"ROI {roi.number} {roi.name}: {volumes[roi.name]:.2f} mL in {size}{kept}")
