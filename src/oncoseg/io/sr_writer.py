"""Writing structured reports through highdicom: measurements of lesions by template TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

import oncoseg
from oncoseg.io.coding import NEOPLASM, SITES, Concept, of_its_own, site
from oncoseg.io.dicom_reference import Reference, character_set, complete, names_as_they_are, say_deidentified
from oncoseg.io.structures import LONG, RESEARCH_USE, MadeBy
from oncoseg.measurements import Axis, LesionMeasurement

if TYPE_CHECKING:
    from highdicom.sr import ComprehensiveSR, Measurement

SERIES_NUMBER = 7003
_UNKNOWN = Concept("261665006", "Unknown")
_PROCEDURES = {"CT": "CTUnspecifiedBodyRegion", "MR": "MRIUnspecifiedBodyRegion", "PT": "PETUnspecifiedBodyRegion"}


@dataclass(frozen=True)
class Finding:
    """A lesion to report.

    Attributes:
        name: of the ROI it belongs to.
        lesion: its measurements; the number is told where the ROI has several.
        of: how many lesions the ROI has.
    """

    name: str
    lesion: LesionMeasurement
    of: int = 1

    @property
    def title(self) -> str:
        """The ROI's name, with the lesion's number where there are several."""
        return self.name if self.of == 1 else f"{self.name} {self.lesion.number}"


def structured_report(
    findings: Sequence[Finding],
    reference: Reference,
    made_by: MadeBy,
    *,
    where: str | None = None,
    segmented: Dataset | None = None,
) -> ComprehensiveSR:
    """A report with one group of measurements for every lesion, ready to be saved.

    A group holds volume (mm3), long and short axis (mm), for CT the mean HU, and the site, with side and height in the
    lung where the lesion has a location. It refers to its segment where a segmentation is given and the ROI is one
    lesion; else the axes come with their lines on the slice, which the template for segments (TID 1411) has no room
    for.

    Args:
        findings: none for a report that says that nothing was found.
        reference: the image that was measured.
        made_by: what drew the lesions.
        where: body site of `coding.SITES`; None is reported as unknown.
        segmented: the DICOM-SEG that holds the lesions.

    Returns:
        The report, which calls itself complete, preliminary and unverified.

    Raises:
        UnknownNameError: for a body site that has no code.
    """
    import highdicom
    from pydicom.sr.codedict import codes

    place = _UNKNOWN if where is None else site(where)
    sources = complete(reference)
    groups = [_group(finding, reference, made_by, _site(finding, place), segmented) for finding in findings]
    content = highdicom.sr.MeasurementReport(
        observation_context=highdicom.sr.ObservationContext(observer_device_context=_observer()),
        procedure_reported=getattr(codes.LN, _PROCEDURES.get(reference.series.modality, _PROCEDURES["CT"])),
        imaging_measurements=groups or [_nothing(reference, place)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    found = "" if findings else " No lesion was found."
    comment = highdicom.sr.TextContentItem(codes.DCM.Comment, f"{RESEARCH_USE} {made_by.sentence}{found}", "CONTAINS")
    content[0].ContentSequence.append(comment)
    with names_as_they_are():
        made = highdicom.sr.ComprehensiveSR(
            evidence=[*sources, *([] if segmented is None else [segmented])],
            content=content,
            **of_its_own(SERIES_NUMBER),
            series_description="oncoseg SR, research use only",
            is_complete=True,
        )
    say_deidentified(made, reference)
    texts = [*(f.title for f in findings), str(made.PatientName), made_by.sentence]
    made.SpecificCharacterSet = character_set(texts)
    return made


def _observer() -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    attributes = highdicom.sr.DeviceObserverIdentifyingAttributes(
        uid=highdicom.UID(), name="oncoseg", manufacturer_name="oncoseg", model_name=f"oncoseg {oncoseg.__version__}"
    )
    return highdicom.sr.ObserverContext(codes.DCM.Device, attributes)


def _nothing(reference: Reference, place: Concept) -> Any:
    """A group that says that there is no neoplasm."""
    import highdicom
    from pydicom.sr.codedict import codes

    sr = highdicom.sr
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=highdicom.UID(), identifier="no lesion"),
        finding_type=NEOPLASM.coded(),
        finding_sites=[sr.FindingSite(place.coded())],
        qualitative_evaluations=[sr.QualitativeEvaluation(codes.DCM.PresenceOfProperty, codes.SCT.Absent)],
        source_images=[sr.SourceImageForMeasurementGroup(*reference.named(0))],
    )


def _site(finding: Finding, place: Concept) -> Any:
    """The body site; in a lung with its side (CID 244) and its height (CID 2: superior, intermediate, inferior)."""
    import highdicom
    from pydicom.sr.codedict import codes

    location = finding.lesion.location
    if location is None or place != SITES["lung"]:
        return highdicom.sr.FindingSite(place.coded())
    heights = {"upper": codes.SCT.Superior, "middle": codes.SCT.Intermediate, "lower": codes.SCT.Inferior}
    side = codes.SCT.Right if location.side == "right" else codes.SCT.Left
    return highdicom.sr.FindingSite(place.coded(), laterality=side, topographical_modifier=heights[location.third])


def _group(finding: Finding, reference: Reference, made_by: MadeBy, where: Any, segmented: Dataset | None) -> Any:
    """The measurements of one lesion (TID 1411 with its segment, TID 1501 without)."""
    import highdicom

    sr = highdicom.sr
    numbers = {} if segmented is None else {str(s.SegmentLabel): s for s in segmented.SegmentSequence}
    segment = numbers.get(finding.name) if finding.of == 1 else None
    uid = None if segment is None else str(segment.TrackingUID)
    parameters = [f"weights_sha256: {made_by.weights_sha256 or 'none'}", f"prompts: {made_by.prompts or 'none stated'}"]
    algorithm = sr.AlgorithmIdentification(made_by.algorithm[:LONG] or "not stated", made_by.version, parameters)
    facts: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=uid or highdicom.UID(), identifier=finding.title),
        "finding_type": NEOPLASM.coded(),
        "finding_sites": [where],
        "algorithm_id": algorithm,
        "measurements": _measurements(finding.lesion, reference, lines=segment is None),
    }
    if segment is None or segmented is None:
        image = sr.SourceImageForMeasurementGroup(*reference.named(finding.lesion.slice_index))
        return sr.MeasurementsAndQualitativeEvaluations(**facts, source_images=[image])
    drawn = sr.ReferencedSegment(
        segmented.SOPClassUID,
        segmented.SOPInstanceUID,
        int(segment.SegmentNumber),
        source_series=sr.SourceSeriesForSegmentation(reference.series.uid),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(**facts, referenced_segment=drawn)


def _measurements(lesion: LesionMeasurement, reference: Reference, *, lines: bool) -> list[Measurement]:
    import highdicom
    from pydicom.sr.codedict import codes

    def measured(name: Any, value: float, unit: Any, **more: Any) -> Measurement:
        return highdicom.sr.Measurement(name, round(value, 3), unit, **more)

    made = [measured(codes.SCT.Volume, lesion.volume_mm3, codes.UCUM.CubicMillimeter)]
    for name, axis in ((codes.SCT.LongAxis, lesion.long_axis), (codes.SCT.ShortAxis, lesion.short_axis)):
        drawn = [_line(axis, lesion.slice_index, reference)] if lines else None
        made.append(measured(name, axis.length_mm, codes.UCUM.Millimeter, referenced_coordinates=drawn))
    if lesion.mean is not None and reference.series.modality == "CT":
        made.append(
            measured(
                codes.DCM.AttenuationCoefficient, lesion.mean, codes.UCUM.HounsfieldUnit, derivation=codes.SCT.Mean
            )
        )
    return made


def _line(axis: Axis, slice_index: int, reference: Reference) -> Any:
    """The line on its slice: (column, row) with the middle of the first pixel at (0.5, 0.5) (PS3.3 C.18.6.1.1)."""
    import highdicom

    image = highdicom.sr.SourceImageForRegion(*reference.named(slice_index))
    points = np.array([axis.start, axis.end])[:, ::-1] + 0.5
    return highdicom.sr.CoordinatesForMeasurement("POLYLINE", points, image)
