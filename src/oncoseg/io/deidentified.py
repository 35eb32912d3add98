"""DICOM data sets without what identifies a patient: the basic profile of PS3.15 Annex E.

Which attribute is removed, emptied or replaced is the table E.1-1 as the library dicom-anonymizer generates it from the
standard. Walked here is every level of every sequence, which that library leaves to its caller, and UIDs and dates come
from `io.pseudonyms`, so that what refers to each other goes on doing so.
"""

from __future__ import annotations

import copy
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pydicom
from pydicom.datadict import dictionary_has_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag, Tag

import oncoseg
from oncoseg.files import write_bytes
from oncoseg.io.dicom_header import refusing_damage
from oncoseg.io.pseudonyms import Pseudonyms
from oncoseg.io.structures import RESEARCH_USE

#: "shift" moves a patient's dates by one number of days; "remove" empties or replaces them as the table says.
Dates = Literal["shift", "remove"]

#: Edition of the table in dicom-anonymizer.
TABLE = "dicomfields_2026c"
#: Private attributes known to be safe (PS3.15 table E.3.10-1) and whose values are numbers: (group, creator) -> bytes.
SAFE_PRIVATE = {
    (0x7053, "Philips PET Private Group"): frozenset({0x00, 0x09}),
    (0x0019, "GEMS_ACQU_01"): frozenset({0x23, 0x24, 0x27}),
}
_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "UL", "US"})
#: Free text that no table lists is emptied all the same.
_FREE_TEXT = frozenset({"AE", "LT", "PN", "ST", "UC", "UR", "UT"})
_SHORT_TEXT = frozenset({"CS", "LO", "SH"})
_DATES = frozenset({"DA", "DT", "TM"})
_BYTES = frozenset({"OB", "OV", "UN"})
#: Bytes that are the image itself, or how it is shown.
_KEPT_BYTES = frozenset({"PixelData", "PixelPaddingValue", "ICCProfile", "FileMetaInformationVersion"})
#: UIDs that say what something is and not which one.
_KINDS_OF_UID = re.compile(r"ClassUID|TransferSyntax|CodingScheme|ContextUID|MappingResourceUID|TemplateExtension")
#: What refers to images, drawn objects and frames of reference; the table would remove some of it with its UIDs.
_REFERRING = frozenset({
    "ContentSequence",
    "DerivationImageSequence",
    "ReferencedFrameOfReferenceSequence",
    "ReferencedStudySequence",
    "SourceImageSequence",
})  # fmt: skip
#: Names of what is drawn: kept where they are words of the field (option "clean descriptors", PS3.15 E.3.6).
_DRAWN = {"ROIName": "ROINumber", "SegmentLabel": "SegmentNumber", "SegmentDescription": "SegmentNumber"}
_WORDS = re.compile(
    r"(?:[gcpi]tvn?|tumou?r|lesion|nodule|neoplasm|neoplastic|primary|mass|organ|lungs?|heart|o?esophagus|spinal|cord|liver"
    r"|kidneys?|pancreas|body|external|skin|trachea|aorta|bones?|brain|brainstem|bladder|rectum|prostate|stomach|spleen"
    r"|bowel|carina|ring|ptvs?|left|right|total|prob|l|r|p|n|ln|and|of|minus|plus|segment|roi|structure|sct|avg|mip"
    r"|\d{1,2}|[abc])",
    re.IGNORECASE,
)
#: Attributes whose values, wherever they occur again, are taken out of texts that no table lists.
_IDENTITY = (
    "PatientName", "PatientID", "OtherPatientNames", "OtherPatientIDs", "PatientBirthName", "PatientMotherBirthName",
    "AccessionNumber", "StudyID", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingPhysician", "InstitutionName", "StationName",
    "PatientAddress", "PatientTelephoneNumbers", "DeviceSerialNumber", "PatientBirthDate", "RequestingService",
)  # fmt: skip
#: Shorter parts of names and numbers occur in texts by chance; up to the second length only whole words count.
_SHORTEST, _WHOLE = 3, 6
#: Free text that must not be empty, and what stands for it.
_NEEDED, _REMOVED = frozenset({"TextValue", "TrackingID"}), "REMOVED"
#: What stands for dates and times that must be there.
_DUMMIES = {"DA": "19000101", "DT": "19000101000000", "TM": "000000"}
#: Encapsulated PDF, CDA, STL, OBJ and MTL Storage.
_ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104."
_METHOD = "oncoseg {version}: PS3.15 Annex E basic profile, {table}"


@dataclass(frozen=True)
class Deidentifying:
    """How data sets are de-identified.

    Attributes:
        pseudonyms: the keyed mapping of UIDs, patients and dates.
        dates: what becomes of dates.
    """

    pseudonyms: Pseudonyms
    dates: Dates = "shift"


def identity_of(dataset: Dataset) -> str:
    """What tells a data set's patient from others: PatientID, or the study where it is empty."""
    return str(dataset.get("PatientID", "") or "").strip() or str(dataset.get("StudyInstanceUID", "") or "")


def deidentify(dataset: Dataset, how: Deidentifying) -> Dataset:
    """Take out of a whole data set what identifies its patient; changed in place, and returned.

    Done at every level of nesting: the actions of table E.1-1 (PS3.15); UIDs, also those the table does not list,
    mapped; private attributes removed except the few safe ones with numbers; attributes no dictionary knows removed;
    free text and bytes that the table does not list emptied; short texts in which a name or number of the patient
    occurs again emptied; names of ROIs and segments kept when they are words of the field, else numbered. Preamble and
    file meta information are made anew.

    Pixels are not looked at: text burned into them stays. `BurnedInAnnotation` says what the file says of it.

    Returns:
        The data set; it says what was done to it (PatientIdentityRemoved and its codes).
    """
    identity = identity_of(dataset)
    walk = _Walk(how, identity, _secrets(dataset))
    _make_file_meta(dataset, how)
    walk.clean(dataset)
    pseudonym = how.pseudonyms.patient(identity)
    dataset.PatientID = dataset.PatientName = pseudonym
    _say_done(dataset, how)
    return dataset


class _Walk:
    """One data set on its way through the table."""

    def __init__(self, how: Deidentifying, identity: str, secrets: re.Pattern[str] | None) -> None:
        self.how, self.identity, self.secrets = how, identity, secrets
        self.actions, self.repeating = _table()

    def clean(self, dataset: Dataset) -> None:
        """Every element of a data set, and of those inside it."""
        safe = set(_safe_private(dataset))
        for tag in list(dataset.keys()):
            if tag.is_private:
                if tag not in safe:
                    del dataset[tag]
            elif not dictionary_has_tag(tag) or any(_in_group(tag, group) for group in self.repeating):
                del dataset[tag]
            else:
                self._element(dataset, tag)

    def _element(self, dataset: Dataset, tag: BaseTag) -> None:
        element = dataset[tag]
        keyword, vr = element.keyword, element.VR
        action = self.actions.get((tag.group, tag.element))
        if keyword in _DRAWN:
            element.value = drawn_name(str(element.value or ""), dataset.get(_DRAWN[keyword]))
        elif vr == "UI":
            if action is not None or not _KINDS_OF_UID.search(keyword):
                element.value = _each(element.value, self.how.pseudonyms.uid)
        elif vr in ("DA", "DT") and self.how.dates == "shift" and keyword != "PatientBirthDate":
            element.value = _each(element.value, lambda when: self.how.pseudonyms.moved(when, self.identity))
        elif vr == "TM" and self.how.dates == "shift" and keyword != "PatientBirthTime":
            element.value = _each(element.value, lambda time: time if re.fullmatch(r"[\d.]{0,13}", time) else "")
        elif vr == "SQ" and (action is None or keyword in _REFERRING):
            for item in element.value or []:
                self.clean(item)
        elif action is not None:
            self._act(dataset, tag, action)
        elif keyword in _NEEDED:
            element.value = RESEARCH_USE if RESEARCH_USE in str(element.value) else _REMOVED
        elif self._reveals(element):
            element.value = b"" if vr in _BYTES else ""

    def _act(self, dataset: Dataset, tag: BaseTag, action: Callable[[Dataset, BaseTag], None]) -> None:
        element = dataset[tag]
        if element.VR == "SQ" and "empty" in action.__name__:
            element.value = []
        elif element.VR in ("AS", "SQ"):
            # Of sequences the library treats one level and leaves private attributes inside.
            del dataset[tag]
        elif element.VR in _DATES and action.__name__ == "delete":
            del dataset[tag]
        elif element.VR in _DATES:
            # The library's year 1 is no date to validators.
            element.value = _DUMMIES[element.VR] if "replace" in action.__name__ else ""
        else:
            action(dataset, tag)

    def _reveals(self, element: pydicom.DataElement) -> bool:
        """Whether an element that the table does not list may identify somebody all the same."""
        if element.VR in _FREE_TEXT:
            return True
        if element.VR in _BYTES:
            return element.keyword not in _KEPT_BYTES
        if element.VR in _DATES:
            return True
        return bool(element.VR in _SHORT_TEXT and self.secrets and self.secrets.search(_flat(element.value)))


def deidentified_copy(dataset: Dataset, how: Deidentifying) -> Dataset:
    """`deidentify` for an object that stays as it is, such as one that was just made."""
    plain = Dataset(copy.deepcopy({element.tag: element for element in dataset}))
    plain.file_meta = dataset.file_meta
    return deidentify(plain, how)


def deidentify_file(source: Path, target: Path, how: Deidentifying) -> None:
    """Write one file without what identifies its patient, whole or not at all, in its own transfer syntax.

    Raises:
        InputError: when the file is damaged or no DICOM, or the target cannot be written.
    """
    with refusing_damage(source, "DICOM file"):
        dataset = deidentify(pydicom.dcmread(source), how)
        written = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom shows the values that it finds strange, and those may be names
            dataset.save_as(written, enforce_file_format=True)
    write_bytes(target, written.getvalue())


def why_left_out(source: Path) -> str | None:
    """Why a file cannot be de-identified by its header; None when it can.

    Raises:
        InputError: when the file is damaged or no DICOM.
    """
    wanted = ["SOPClassUID", "BurnedInAnnotation"]
    with refusing_damage(source, "DICOM file"):
        dataset = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=wanted)
        if str(dataset.get("BurnedInAnnotation", "")).strip() == "YES":
            return "it says that text is burned into its pixels"
        if str(dataset.get("SOPClassUID", "")).startswith(_ENCAPSULATED):
            return "it holds a document (PDF, CDA or a model), which cannot be looked into"
    return None


def drawn_name(name: str, number: Any) -> str:
    """The name of a ROI or segment when every word of it is one of the field, else "ROI N".

    Example:
        >>> drawn_name("GTV-1", 1), drawn_name("Lung_L", 2), drawn_name("GTV Jane Doe", 3)
        ('GTV-1', 'Lung_L', 'ROI 3')
    """
    words = [word for word in re.split(r"[\W_]+|(?<=[a-zA-Z])(?=\d)", name) if word]
    numbers = sum(word.isdigit() for word in words)
    known = numbers < min(3, len(words)) and all(_WORDS.fullmatch(word) for word in words)
    return name.strip() if known else f"ROI {number if number is not None else 0}"


def _flat(value: Any) -> str:
    return "\\".join(map(str, value)) if isinstance(value, pydicom.multival.MultiValue) else str(value or "")


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """A value, or each of several, changed as text."""
    if isinstance(value, pydicom.multival.MultiValue | list):
        return [change(str(v)) for v in value]
    return change(str(value)) if value else ""


def _secrets(dataset: Dataset) -> re.Pattern[str] | None:
    """Finds the patient's and others' names and numbers in a text, also in parts; None when there are none."""
    parts: set[str] = set()
    for keyword in _IDENTITY:
        text = _flat(dataset.get(keyword, ""))
        parts |= {text, *re.split(r"[\s^=\\,;]+", text)}
    patterns = [re.escape(p) if len(p) > _WHOLE else rf"\b{re.escape(p)}\b" for p in parts if len(p) >= _SHORTEST]
    return re.compile("|".join(sorted(patterns, key=len, reverse=True)), re.IGNORECASE) if patterns else None


def _safe_private(dataset: Dataset) -> Iterator[BaseTag]:
    """Private attributes that stay, with the elements that reserve their blocks."""
    for (group, creator), offsets in SAFE_PRIVATE.items():
        for block in range(0x10, 0x100):
            owner = Tag(group, block)
            if owner not in dataset or str(dataset[owner].value).strip() != creator:
                continue
            tags = [Tag(group, block << 8 | offset) for offset in offsets]
            kept = [tag for tag in tags if tag in dataset and dataset[tag].VR in _NUMBERS]
            yield from [owner, *kept] if kept else []


def _in_group(tag: BaseTag, pattern: tuple[int, ...]) -> bool:
    group, element, group_mask, element_mask = pattern
    return bool(tag.group & group_mask == group & group_mask and tag.element & element_mask == element & element_mask)


@cache
def _table() -> tuple[Mapping[tuple[int, int], Any], tuple[tuple[int, ...], ...]]:
    """Actions of single attributes, and the repeating groups that are removed."""
    from dicomanonymizer.simpledicomanonymizer import initialize_actions  # takes most of a second

    actions = initialize_actions(TABLE)
    single = {(tag[0], tag[1]): action for tag, action in actions.items() if len(tag) == 2}
    return single, tuple(tag for tag in actions if len(tag) > 2)


def _make_file_meta(dataset: Dataset, how: Deidentifying) -> None:
    """File meta information of this file alone: no sending system, no private information, an empty preamble."""
    before = dataset.file_meta
    made = FileMetaDataset()
    made.TransferSyntaxUID = before.TransferSyntaxUID
    made.MediaStorageSOPClassUID = dataset.get("SOPClassUID", before.get("MediaStorageSOPClassUID", ""))
    uid = str(dataset.get("SOPInstanceUID", "") or before.get("MediaStorageSOPInstanceUID", ""))
    made.MediaStorageSOPInstanceUID = how.pseudonyms.uid(uid)
    dataset.file_meta = made
    dataset.preamble = bytes(128)


def _say_done(dataset: Dataset, how: Deidentifying) -> None:
    """What was done, in the words and codes of PS3.15 E.1 and PS3.16 CID 7050."""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = _METHOD.format(version=oncoseg.__version__, table=TABLE)
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if how.dates == "shift" else "REMOVED"
    options = {
        "113100": "Basic Application Confidentiality Profile",
        "113104": "Clean Structured Content Option",
        "113105": "Clean Descriptors Option",
        "113111": "Retain Safe Private Option",
    }
    if how.dates == "shift":
        options["113107"] = "Retain Longitudinal Temporal Information Modified Dates Option"
    codes = []
    for value, meaning in options.items():
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    dataset.DeidentificationMethodCodeSequence = codes
