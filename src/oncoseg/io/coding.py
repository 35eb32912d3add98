"""Codes for what is drawn: SNOMED CT and DICOM concepts of structures and of body sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import oncoseg
from oncoseg.errors import UnknownNameError
from oncoseg.io.structures import Structure

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept


class Concept(NamedTuple):
    """A SNOMED CT concept: code and the meaning that PS3.16 prints with it."""

    value: str
    meaning: str

    def coded(self) -> CodedConcept:
        """As highdicom wants it."""
        from highdicom.sr import CodedConcept  # takes a second, and only exports need it

        return CodedConcept(self.value, "SCT", self.meaning)


#: Body sites by the name they have on the command line (PS3.16, CID 4031 and 7192).
SITES = {
    "adrenal": Concept("23451007", "Adrenal gland"),
    "bladder": Concept("89837001", "Bladder"),
    "bone": Concept("272673000", "Bone"),
    "brain": Concept("12738006", "Brain"),
    "breast": Concept("76752008", "Breast"),
    "colon": Concept("71854001", "Colon"),
    "heart": Concept("80891009", "Heart"),
    "kidney": Concept("64033007", "Kidney"),
    "liver": Concept("10200004", "Liver"),
    "lung": Concept("39607008", "Lung"),
    "lymph node": Concept("59441001", "Lymph node"),
    "mediastinum": Concept("72410000", "Mediastinum"),
    "oesophagus": Concept("32849002", "Esophagus"),
    "pancreas": Concept("15776009", "Pancreas"),
    "prostate": Concept("41216001", "Prostate"),
    "rectum": Concept("34402009", "Rectum"),
    "spinal cord": Concept("2748008", "Spinal cord"),
    "spleen": Concept("78961009", "Spleen"),
    "stomach": Concept("69695003", "Stomach"),
    "thyroid": Concept("69748006", "Thyroid"),
}
NEOPLASM = Concept("108369006", "Neoplasm")
_ABNORMAL = Concept("49755003", "Morphologically Abnormal Structure")
_ANATOMY, _TISSUE = Concept("123037004", "Anatomical Structure"), Concept("85756007", "Tissue")
_CONCEPT = Concept("309825002", "Spatial and Relational Concept")
_TARGETS = {
    "CTV": Concept("228792002", "Clinical target volume"),
    "PTV": Concept("228793007", "Planning target volume"),
}


def site(name: str) -> Concept:
    """The concept of a body site.

    Raises:
        UnknownNameError: for a name that is not in `SITES`.
    """
    if name.strip().casefold() not in SITES:
        raise UnknownNameError("body site", name, SITES)
    return SITES[name.strip().casefold()]


def category_and_type(structure: Structure) -> tuple[Concept, Concept]:
    """What kind of thing a structure is: a neoplasm for a GTV, a target, the organ its name says, or tissue."""
    if structure.kind == "GTV":
        return _ABNORMAL, NEOPLASM
    if structure.kind in _TARGETS:
        return _CONCEPT, _TARGETS[structure.kind]
    words = structure.name.casefold().replace("_", " ").replace("-", " ").replace("esophagus", "oesophagus")
    named = [concept for organ, concept in SITES.items() if organ in words.replace("ooes", "oes")]
    return _ANATOMY, named[0] if len(named) == 1 else _TISSUE


def of_its_own(series_number: int) -> dict[str, Any]:
    """What an object of ours has of its own, as highdicom's classes want it: new UIDs, numbers, and what wrote it."""
    from highdicom import UID

    return {
        "series_instance_uid": UID(),
        "series_number": series_number,
        "sop_instance_uid": UID(),
        "instance_number": 1,
        "manufacturer": "oncoseg",
        "manufacturer_model_name": "oncoseg",
        "software_versions": oncoseg.__version__,
        "device_serial_number": "none",
    }
