"""De-identified objects are as valid as they were, and objects of other tools are read."""

import json
import subprocess

import numpy as np
import pydicom
import pytest

from oncoseg.io.deidentified import Deidentifying, deidentified_copy
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.images import write_volume
from oncoseg.io.pseudonyms import Pseudonyms
from oncoseg.io.rtstruct_writer import rtstruct
from oncoseg.io.seg import read_segments
from oncoseg.io.seg_writer import segmentation
from oncoseg.io.sr_writer import Finding, structured_report
from oncoseg.io.structures import RESEARCH_USE, MadeBy, Structure
from oncoseg.measurements import measure
from oncoseg.volume import Volume

HOW = Deidentifying(Pseudonyms(bytes(32)))


@pytest.fixture
def objects(mock, ct_grid, holed_mask, tmp_path):
    """An RTSTRUCT, a SEG and an SR of one mask, by our writers."""
    image = Volume(np.full(ct_grid.shape, 40, np.int16), ct_grid.affine)
    mock.write_ct(tmp_path / "ct", image)
    reference = open_reference(tmp_path / "ct")
    structure = Structure("GTV-1", image.with_voxels(holed_mask), "GTV")
    made_by = MadeBy("unet", "1", "ab" * 32)
    drawn, _ = rtstruct([structure], reference, made_by)
    segmented = segmentation([structure], reference, made_by)
    lesions = measure(structure.mask, image)
    findings = [Finding("GTV-1", lesion, len(lesions)) for lesion in lesions]
    report = structured_report(findings, reference, made_by, segmented=segmented)
    return {"rtstruct": drawn, "seg": segmented, "sr": report}


@pytest.mark.parametrize("dates", ["shift", "remove"])
def test_objects_stay_valid(dates, objects, faults, tmp_path):
    for name, made in objects.items():
        path = tmp_path / f"{name}.dcm"
        deidentified_copy(made, Deidentifying(HOW.pseudonyms, dates)).save_as(path, enforce_file_format=True)
        assert faults(path) == [], name


def test_the_object_itself_stays_as_it_is(objects):
    before = {name: str(made) for name, made in objects.items()}
    for made in objects.values():
        deidentified_copy(made, HOW)
    assert {name: str(made) for name, made in objects.items()} == before


def test_reports_keep_numbers_codes_and_the_words_on_their_use(objects):
    content = deidentified_copy(objects["sr"], HOW).ContentSequence
    assert "Numeric Value" in str(content)
    assert content[-1].TextValue == RESEARCH_USE
    assert "unet" in objects["sr"].ContentSequence[-1].TextValue


def test_empty_patients_are_told_apart_by_their_study(mock):
    first, second = (mock.dataset("1.2.840.10008.5.1.4.1.1.2", "CT") for _ in range(2))
    first.PatientID = second.PatientID = ""
    second.StudyInstanceUID = "1.2.99"
    ids = {deidentified_copy(made, HOW).PatientID for made in (first, second)}
    assert len(ids) == 2


@pytest.mark.parametrize("skip_empty", ["0", "1"])
def test_segmentations_written_by_dcmqi_are_read(skip_empty, axial, mock, dcmqi_tool, tmp_path):
    tool = dcmqi_tool("itkimage2segimage")
    mock.write_ct(tmp_path / "ct", axial)
    mask = np.zeros(axial.shape, bool)
    mask[1:3, 3:7, 4:9] = True
    write_volume(tmp_path / "mask.nii.gz", axial.with_voxels(mask))
    code = {"CodingSchemeDesignator": "SCT", "CodeValue": "86049000", "CodeMeaning": "Neoplasm, Primary"}
    segment = {
        "labelID": 1,
        "SegmentDescription": "Tumor",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": code,
        "SegmentedPropertyTypeCodeSequence": code,
        "recommendedDisplayRGBValue": [255, 0, 0],
    }
    about = {"ContentCreatorName": "Reader", "SeriesDescription": "mock", "SeriesNumber": "300", "InstanceNumber": "1"}
    (tmp_path / "about.json").write_text(json.dumps(about | {"segmentAttributes": [[segment]]}))
    command = ["--inputImageList", "mask.nii.gz", "--inputDICOMDirectory", "ct", "--outputDICOM", "seg.dcm"]
    more = ["--inputMetadata", "about.json", "--skip", skip_empty]
    subprocess.run([tool, *command, *more], check=True, capture_output=True, cwd=tmp_path)
    assert pydicom.dcmread(tmp_path / "seg.dcm").NumberOfFrames == (2 if skip_empty == "1" else axial.shape[0])
    (found,) = read_segments(tmp_path / "seg.dcm", axial).values()
    np.testing.assert_array_equal(found.voxels, mask)
