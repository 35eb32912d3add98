import importlib.util
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from oncoseg.errors import InputError
from oncoseg.io.deidentified import drawn_name
from oncoseg.io.dicom import find_series, read_image
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.pseudonyms import read_key, with_key
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.seg import read_segments
from oncoseg.io.seg_writer import segmentation
from oncoseg.io.sr_writer import Finding, structured_report
from oncoseg.io.structures import MadeBy, Structure
from oncoseg.measurements import measure
from oncoseg.preparation.deidentifying import deidentify_folder
from oncoseg.volume import Volume


def _module(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mock, canary = _module("mock_dicom"), _module("canary")


@pytest.fixture
def image():
    voxels = np.random.default_rng(5).integers(-900, 100, (4, 24, 24)).astype(np.int16)
    return Volume.from_spacing(voxels, (3.0, 0.9, 0.9), (-12.5, 30.25, -400.0))


@pytest.fixture
def mask(image):
    inside = np.zeros(image.shape, bool)
    inside[1:3, 8:15, 9:17] = True
    return image.with_voxels(inside)


@pytest.fixture
def study(tmp_path, image, mask):
    """CT, RTSTRUCT, SEG and SR of one patient full of marks, in folders and files with marks in their names."""
    folder = tmp_path / "in" / f"{canary.MARK} Jane" / f"{canary.DAY}"
    slices = mock.ct_slices(image)
    uids = {}
    for made in slices:
        canary.plant(made)
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{canary.ROOT}.{len(uids)}"
        made.StudyInstanceUID, made.SeriesInstanceUID = f"{canary.ROOT}.100", f"{canary.ROOT}.101"
        made.FrameOfReferenceUID = f"{canary.ROOT}.102"
        uids[made.SOPInstanceUID] = made
    mock.save(folder / "ct", slices, prefix=f"{canary.MARK}-slice")
    reference = open_reference(folder / "ct")
    tumour = Structure("GTV-1", mask, "GTV")
    made_by = MadeBy("unet", "1", "ab" * 32)
    segmented = segmentation([tumour], reference, made_by)
    found = measure(mask, image)
    report = structured_report(
        [Finding("GTV-1", x, len(found)) for x in found], reference, made_by, segmented=segmented
    )
    corners = mock.square((1, 11, 12), 3.2, image)
    drawn = mock.rtstruct(
        {"GTV-1": [corners], f"{canary.MARK} Jane": [corners]}, frame=f"{canary.ROOT}.102", refers_to=f"{canary.ROOT}.1"
    )
    for made in (segmented, report, drawn):
        kept = made.get("PatientID"), made.SOPInstanceUID
        canary.plant(made)
        made.StudyInstanceUID = f"{canary.ROOT}.100"
        assert kept[1] == made.SOPInstanceUID
    referenced = drawn.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    referenced.RTReferencedSeriesSequence[0].SeriesInstanceUID = f"{canary.ROOT}.101"
    for name, made in {"seg": segmented, "sr": report, "rt": drawn}.items():
        made.save_as(folder / f"{canary.MARK}-{name}.dcm", enforce_file_format=True)
    (folder / "notes.txt").write_text(canary.MARK)
    return tmp_path / "in"


@pytest.fixture
def key(tmp_path):
    return tmp_path / "safe" / "key"


def _files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _by_modality(folder):
    return {s.modality: s for s in find_series(folder)}


def test_at_least_sixty_places_are_planted():
    assert len(canary.TEXTS) + len(canary.DATES) + 10 >= 90
    made = mock.dataset("1.2.840.10008.5.1.4.1.1.2", "CT")
    assert len(canary.plant(made)) >= 60


@pytest.mark.parametrize("dates", ["shift", "remove"])
def test_no_mark_is_left(study, tmp_path, key, dates):
    assert len(canary.hits(study)) > 100  # the search finds what is there
    result = deidentify_folder(study, tmp_path / "out", dates=dates, key=key)
    assert (result.written, result.others, result.failed) == (7, 1, {})
    assert canary.hits(tmp_path / "out", marks=(canary.MARK, canary.ROOT, canary.DAY, "Jane", "Doe")) == []


def test_the_source_is_not_touched(study, tmp_path, key):
    before = _files(study)
    deidentify_folder(study, tmp_path / "out", key=key)
    assert _files(study) == before


def test_pixels_and_drawings_are_the_same_and_still_belong_together(study, tmp_path, key, image, mask):
    before = _by_modality(study)
    deidentify_folder(study, tmp_path / "out", key=key)
    found = _by_modality(tmp_path / "out")
    assert {s.patient for s in found.values()} == {read_key(key).patient(before["CT"].patient)}
    ct = found["CT"]
    np.testing.assert_array_equal(read_image(ct.files[0].parent).voxels, image.voxels)
    instances = {h.text("SOPInstanceUID") for h in ct.headers}
    drawn = pydicom.dcmread(found["RTSTRUCT"].files[0])
    frame = drawn.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == ct.frame_of_reference == drawn.StructureSetROISequence[0][0x30060024].value
    assert frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID == ct.uid
    contour = drawn.ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in instances
    rois = read_rois(found["RTSTRUCT"].files[0], image, frame_of_reference=ct.frame_of_reference)
    assert list(rois) == ["GTV-1", "ROI 2"]
    np.testing.assert_array_equal(rois["GTV-1"].voxels, rois["ROI 2"].voxels)
    (segment,) = read_segments(found["SEG"].files[0], image).values()
    np.testing.assert_array_equal(segment.voxels, mask.voxels)
    assert pydicom.dcmread(found["SEG"].files[0]).ReferencedSeriesSequence[0].SeriesInstanceUID == ct.uid
    report = pydicom.dcmread(found["SR"].files[0])
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    referenced = {
        i.ReferencedSOPInstanceUID for s in evidence.ReferencedSeriesSequence for i in s.ReferencedSOPSequence
    }
    assert referenced - {found["SEG"].headers[0].text("SOPInstanceUID")} <= instances
    assert "Numeric Value" in str(report.ContentSequence)


def test_dates_move_together_and_times_stay(study, tmp_path, key):
    before = pydicom.dcmread(_by_modality(study)["CT"].files[0])
    deidentify_folder(study, tmp_path / "out", key=key)
    after = pydicom.dcmread(_by_modality(tmp_path / "out")["CT"].files[0])
    days = read_key(key).days(before.PatientID)
    assert 1 <= days <= 3652
    moved = np.datetime64("1947-06-13") - np.timedelta64(days, "D")
    assert after.StudyDate == after.AcquisitionDate == str(moved).replace("-", "")
    assert after.StudyTime == before.StudyTime
    assert after.PatientBirthDate == ""
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"


def test_it_says_what_was_done(study, tmp_path, key):
    deidentify_folder(study, tmp_path / "out", dates="remove", key=key)
    made = pydicom.dcmread(_by_modality(tmp_path / "out")["CT"].files[0])
    assert made.PatientIdentityRemoved == "YES"
    assert {c.CodeValue for c in made.DeidentificationMethodCodeSequence} == {"113100", "113104", "113105", "113111"}
    assert made.StudyDate == ""


def test_safe_private_numbers_stay_and_nothing_else_private(study, tmp_path, key):
    deidentify_folder(study, tmp_path / "out", key=key)
    made = pydicom.dcmread(_by_modality(tmp_path / "out")["CT"].files[0])
    assert [str(e.tag) for e in made if e.tag.is_private] == ["(7053,0010)", "(7053,1000)"]


def test_an_interrupted_run_goes_on_with_its_key_and_gives_the_same_files(study, tmp_path, key):
    whole = deidentify_folder(study, tmp_path / "whole", key=key)
    deidentify_folder(study, tmp_path / "again", key=key)
    lost = sorted((tmp_path / "again").rglob("*.dcm"))[2]
    lost.unlink()
    (lost.parent / ".partial-xyz-killed.dcm").write_bytes(b"half")
    result = deidentify_folder(study, tmp_path / "again", key=key)
    assert (result.written, result.skipped) == (1, whole.written - 1)
    assert _files(tmp_path / "again") == _files(tmp_path / "whole")
    with pytest.raises(InputError, match="made with other dates"):
        deidentify_folder(study, tmp_path / "again", dates="remove", key=key)
    with pytest.raises(InputError, match="made with another key"):
        deidentify_folder(study, tmp_path / "again", key=tmp_path / "other-key")


def test_a_key_is_private_and_never_in_the_output(study, tmp_path, key):
    deidentify_folder(study, tmp_path / "out", key=key)
    assert key.stat().st_mode & 0o077 == 0
    assert canary.hits(tmp_path / "out", marks=(key.read_text().strip(),)) == []
    with pytest.raises(InputError, match="Keep it somewhere else"):
        deidentify_folder(study, tmp_path / "new", key=tmp_path / "new" / "key")
    (tmp_path / "bad").write_text("secret")
    with pytest.raises(InputError, match="holds no key"):
        deidentify_folder(study, tmp_path / "new", key=tmp_path / "bad")


def test_never_in_place_and_never_into_a_foreign_folder(study, tmp_path):
    for target in (study, study / "out", study.parent):
        with pytest.raises(InputError, match="lie in each other"):
            deidentify_folder(study, target)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        deidentify_folder(study, tmp_path / "full")


def test_burned_in_text_and_documents_are_left_out_and_damaged_files_named(study, tmp_path, key, image):
    slices = mock.ct_slices(image, SeriesInstanceUID="1.9")
    slices[0].BurnedInAnnotation = "YES"
    slices[1].SOPClassUID = slices[1].file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    paths = mock.save(study / "more", slices)
    paths[2].write_bytes(paths[2].read_bytes()[:400])
    result = deidentify_folder(study, tmp_path / "out", key=key)
    assert [*result.left_out] == paths[:2]
    assert [*result.failed] == [paths[2]]
    assert "damaged" in result.failed[paths[2]]
    assert result.written == 8


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_transfer_syntaxes_stay(tmp_path, key, image, syntax):
    slices = mock.ct_slices(image, syntax=syntax)
    for made in slices:
        canary.plant(made)
        if syntax == "1.2.840.10008.1.2.2":
            made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    mock.save(tmp_path / "in", slices)
    deidentify_folder(tmp_path / "in", tmp_path / "out", key=key)
    (series,) = find_series(tmp_path / "out")
    assert series.headers[0].transfer_syntax == syntax
    np.testing.assert_array_equal(read_image(tmp_path / "out").voxels, image.voxels)
    assert canary.hits(tmp_path / "out") == []


def test_two_patients_stay_two(tmp_path, key, image):
    for patient in ("A", "B"):
        slices = mock.ct_slices(image, PatientID=patient, SeriesInstanceUID=f"1.{ord(patient)}")
        mock.save(tmp_path / "in" / patient, slices)
    deidentify_folder(tmp_path / "in", tmp_path / "out", key=key)
    assert len({s.patient for s in find_series(tmp_path / "out")}) == 2
    assert len(list((tmp_path / "out").glob("PAT-*"))) == 2


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("GTV-1", "GTV-1"),
        ("gtv1", "gtv1"),
        ("Lung_L", "Lung_L"),
        ("Spinal-Cord", "Spinal-Cord"),
        ("Neoplasm, Primary",) * 2,
        ("GTV Smith", "ROI 4"),
        ("", "ROI 4"),
        ("19470613", "ROI 4"),
        ("13-06-47", "ROI 4"),
    ],
)
def test_only_words_of_the_field_stay_in_names_of_rois(name, shown):
    assert drawn_name(name, 4) == shown


def test_uids_are_valid(study, tmp_path, key):
    deidentify_folder(study, tmp_path / "out", key=key)
    for series in find_series(tmp_path / "out"):
        for header in series.headers:
            assert re.fullmatch(r"2\.25\.(0|[1-9]\d{0,38})", header.text("SOPInstanceUID"))


@pytest.mark.parametrize("when", ["19470613", "19470613101500", "19470613101500.123456+0100"])
def test_dates_and_times_are_moved_by_days(when, key):
    names = with_key(key)
    moved = names.moved(when, "P1")
    assert moved[8:] == when[8:]
    assert (
        1 <= (np.datetime64("1947-06-13") - np.datetime64(f"{moved[:4]}-{moved[4:6]}-{moved[6:8]}")).astype(int) <= 3652
    )


@pytest.mark.parametrize("when", ["", "KNRY", "19470613KNRY", "19471399", "1947.06.13", "00010101"])
def test_what_is_no_date_becomes_nothing(when, key):
    assert with_key(key).moved(when, "P1") == ""


def test_another_key_gives_other_names(tmp_path):
    first, second = with_key(tmp_path / "a"), with_key(tmp_path / "b")
    assert first.uid("1.2.3") == read_key(tmp_path / "a").uid("1.2.3") != second.uid("1.2.3")
    assert first.patient("P1") == first.patient("P1 ") != second.patient("P1")
    assert first.uid("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"
    assert "P1" not in repr(first)
    assert first.key.hex() not in repr(first)
