"""A patient whose every name, number and note is a word that can be searched for."""

from __future__ import annotations

import base64
import gzip
import re
import zipfile
from pathlib import Path

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

#: The mark of every planted text; nothing else holds it.
MARK = "KNRY"

_TEXTS = """
PatientName PatientID IssuerOfPatientID OtherPatientIDs OtherPatientNames PatientBirthName PatientMotherBirthName
PatientAddress PatientTelephoneNumbers PatientReligiousPreference PatientComments AdditionalPatientHistory Occupation
EthnicGroup CountryOfResidence RegionOfResidence MilitaryRank BranchOfService MedicalRecordLocator MedicalAlerts
Allergies PatientState SpecialNeeds PatientInstitutionResidence ResponsiblePerson ResponsibleOrganization
InstitutionName InstitutionAddress InstitutionalDepartmentName ReferringPhysicianName ReferringPhysicianAddress
ReferringPhysicianTelephoneNumbers PhysiciansOfRecord PerformingPhysicianName NameOfPhysiciansReadingStudy
OperatorsName RequestingPhysician RequestingService ScheduledPerformingPhysicianName AdmittingDiagnosesDescription
AccessionNumber StudyID StudyDescription SeriesDescription ProtocolName ImageComments StudyComments
DerivationDescription AcquisitionComments RequestedProcedureDescription RequestedProcedureID
RequestedProcedureComments PerformedProcedureStepDescription PerformedProcedureStepID AdmissionID
CurrentPatientLocation VisitComments StationName DeviceSerialNumber PlateID CassetteID GantryID DetectorID
ContributionDescription InterpretationAuthor InterpretationText ResultsComments ReasonForStudy TextComments
ClinicalTrialSubjectID ClinicalTrialSiteName ClinicalTrialCoordinatingCenterName AuthorObserverSequence
"""
_DATES = """
PatientBirthDate StudyDate SeriesDate AcquisitionDate ContentDate InstanceCreationDate AdmittingDate
ScheduledProcedureStepStartDate PerformedProcedureStepStartDate LastMenstrualDate
"""
TEXTS, DATES = _TEXTS.split(), _DATES.split()
#: A day that occurs nowhere else.
DAY = "19470613"
_BASE64 = re.compile(rb"(?<=base64,)[A-Za-z0-9+/\s]+={0,2}")
#: A UID root that occurs nowhere else.
ROOT = "1.2.826.0.1.7777777"


def plant(dataset: Dataset) -> list[str]:
    """Put marked texts into listed and private attributes, the preamble and sequences; returns those of the list."""
    planted = []
    for number, keyword in enumerate(TEXTS):
        text = f"{MARK}{number:03d}"
        if dictionary_VR(keyword) == "SQ":
            continue
        value = f"{text}^Jane" if dictionary_VR(keyword) == "PN" else text
        setattr(dataset, keyword, value)
        planted.append(text)
    for keyword in DATES:
        setattr(dataset, keyword, DAY)
    private = dataset.private_block(0x0029, f"{MARK} CREATOR", create=True)
    private.add_new(1, "LO", f"{MARK}900")
    private.add_new(2, "OB", f"{MARK}901".encode())
    safe = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    safe.add_new(0x00, "DS", "1.25")
    safe.add_new(0x01, "LO", f"{MARK}902")
    inner, deeper = Dataset(), Dataset()
    deeper.PersonName, deeper.InstitutionName = f"{MARK}903", f"{MARK}904"
    deeper.add_new(0x00091001, "UN", f"{MARK}905".encode())
    inner.PersonIdentificationCodeSequence = Items([deeper])
    inner.RequestedProcedureDescription = f"{MARK}906"
    dataset.RequestAttributesSequence = Items([inner])
    # What the table does not list: a text of no dictionary, a name inside of another text, overlays and curves.
    dataset.add_new(0x00091010, "UN", f"{MARK}907".encode())
    dataset.add_new(0x60004000, "LT", f"{MARK}908")
    dataset.add_new(0x50000040, "CS", f"{MARK}909")
    dataset.ImageID = "unlisted"
    dataset.FilterMaterial = f"seen by {MARK}000"
    dataset.preamble = f"{MARK}910".encode().ljust(128, b"\0")
    return planted


def hits(folder: Path, *, marks: tuple[str, ...] = (MARK, ROOT)) -> list[str]:
    """Every place below a folder where a mark is: in names and in bytes, also unpacked and as UTF-16."""
    found = []
    for path in sorted(folder.rglob("*")):
        if named := [mark for mark in marks if mark in str(path.relative_to(folder))]:
            found.append(f"name {path.relative_to(folder)}: {named}")
        if path.is_file():
            found += [f"{path.relative_to(folder)}: {text}" for text in _in_bytes(path, marks)]
    return found


def _in_bytes(path: Path, marks: tuple[str, ...]) -> list[str]:
    contents = [path.read_bytes()]
    if contents[0][:2] == b"\x1f\x8b":
        contents.append(gzip.decompress(contents[0]))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            contents += [archive.read(name) for name in archive.namelist()]
    for content in list(contents):  # four letters occur by chance in base64, and what it stands for is bytes
        contents += [base64.b64decode(text) for text in _BASE64.findall(content)]
    contents = [_BASE64.sub(b"", content) for content in contents]
    patterns = [re.escape(mark.encode(code)) for mark in marks for code in ("ascii", "utf-16-le")]
    found = []
    for content in contents:
        for match in re.finditer(b"|".join(patterns), content, re.IGNORECASE):
            around = content[max(0, match.start() - 40) : match.end() + 40]
            found.append(around.decode("latin-1"))
    return found
