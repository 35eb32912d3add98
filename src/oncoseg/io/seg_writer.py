"""Writing DICOM-SEG through highdicom: masks as bits, probabilities as fractions, every segment coded.

The reader is `io.seg`, which places each frame by its own position and knows nothing of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.io.coding import category_and_type, of_its_own, site
from oncoseg.io.dicom_reference import Reference, character_set, complete, names_as_they_are, say_deidentified
from oncoseg.io.structures import LONG, RESEARCH_USE, MadeBy, Structure, require_distinct

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

SERIES_NUMBER = 7002
Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]


def segmentation(
    structures: Sequence[Structure],
    reference: Reference,
    made_by: MadeBy,
    *,
    kind: Kind = "BINARY",
    where: str | None = None,
) -> Segmentation:
    """A segmentation object, ready to be saved, with one segment for every structure.

    Args:
        structures: on the grid of `reference`.
        reference: the image they were drawn on.
        made_by: what drew them.
        kind: BINARY, which every reader knows; FRACTIONAL for probabilities (structures without one are 0 and 1),
            in steps of 1/255; LABELMAP for structures that do not overlap: smaller, and known to few readers.
        where: body site of `coding.SITES`; None when it is not known.

    Returns:
        The object, with frames for the slices where something is (all, when nothing is anywhere).

    Raises:
        InputError: for two segments of one name, overlapping structures in a label map, no structure.
        GridMismatchError: for a structure on another grid.
    """
    import highdicom  # takes a second, and only segmentations need it

    if not structures:
        raise InputError("A segmentation needs at least one structure.")
    require_distinct([s.name for s in structures])
    for structure in structures:
        reference.grid.require_same_grid(structure.mask, f"the image series and segment '{structure.name}'")
    pixels = _pixels(structures, kind)
    with names_as_they_are():
        made = highdicom.seg.Segmentation(
            source_images=complete(reference),
            pixel_array=pixels[reference.order],
            segmentation_type=kind,
            segment_descriptions=[_described(n, s, made_by, where) for n, s in enumerate(structures, start=1)],
            **of_its_own(SERIES_NUMBER),
            fractional_type="PROBABILITY",
            content_description=RESEARCH_USE[:LONG],
            content_label="SEGMENTATION",
            series_description="oncoseg SEG, research use only",
            omit_empty_frames=bool(pixels.any()),
        )
    say_deidentified(made, reference)
    made.SpecificCharacterSet = character_set([*(s.name for s in structures), str(made.PatientName), made_by.sentence])
    return made


def _pixels(structures: Sequence[Structure], kind: Kind) -> NDArray[Any]:
    """Array (slice, row, column, segment); (slice, row, column) of numbers from 1 in a label map."""
    if kind == "FRACTIONAL":
        shown = [s.probability or s.mask for s in structures]
        return np.stack([volume.voxels.astype(np.float32) for volume in shown], axis=-1)
    if kind == "BINARY":
        return np.stack([s.mask.voxels for s in structures], axis=-1).astype(np.uint8)
    labels = np.zeros(structures[0].mask.shape, np.uint8)
    for number, structure in enumerate(structures, start=1):
        if labels[structure.mask.voxels].any():
            raise InputError(f"'{structure.name}' overlaps another structure, which a label map cannot hold.")
        labels[structure.mask.voxels] = number
    return labels


def _described(number: int, structure: Structure, made_by: MadeBy, where: str | None) -> SegmentDescription:
    import highdicom
    from pydicom.sr.codedict import codes

    category, kind = category_and_type(structure)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=made_by.algorithm[:LONG] or "not stated",
        family=codes.DCM.ArtificialIntelligence,
        version=made_by.version[:LONG],
        source="oncoseg",
        parameters={"weights_sha256": made_by.weights_sha256 or "none", "prompts": made_by.prompts or "none stated"},
    )
    by_hand = made_by.generation == "MANUAL"
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.name,
        segmented_property_category=category.coded(),
        segmented_property_type=kind.coded(),
        algorithm_type=made_by.generation or "AUTOMATIC",
        algorithm_identification=None if by_hand else algorithm,
        tracking_uid=highdicom.UID(),
        tracking_id=structure.name,
        anatomic_regions=None if where is None else [site(where).coded()],
    )
