import numpy as np
import pydicom
import pytest

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.io.contours import Shaping
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.rtstruct import read_rois, references
from oncoseg.io.rtstruct_writer import rtstruct
from oncoseg.io.structures import MadeBy, Structure
from oncoseg.volume import Volume

MODEL = MadeBy("LiteMedSAM", "0.1", "ab" * 32, "1 box, by the user", "SEMIAUTOMATIC")


@pytest.fixture
def written(mock, tmp_path):
    """Write name -> array as an RTSTRUCT for a CT of the given grid; returns file, CT folder and what was written."""

    def write(masks, image, *, shaping=None, add_to=None, made_by=MODEL, name="rt.dcm"):
        folder = tmp_path / "ct"
        if not folder.exists():
            mock.write_ct(folder, image)
        structures = [Structure(n, image.with_voxels(mask), "GTV") for n, mask in masks.items()]
        made, rois = rtstruct(structures, open_reference(folder), made_by, shaping=shaping, add_to=add_to)
        made.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name, folder, rois

    return write


def test_our_reader_gets_every_voxel_back_on_every_kind_of_grid(volume, written):
    mask = np.random.default_rng(2).random(volume.shape) < 0.4
    path, _, (roi,) = written({"GTV-1": mask}, volume)
    np.testing.assert_array_equal(read_rois(path, volume)["GTV-1"].voxels, mask)
    assert roi.dice == 1.0


def test_plastimatch_gets_every_voxel_back(hard_mask, ct_grid, written, plastimatch):
    path, folder, _ = written({"GTV-1": hard_mask}, ct_grid)
    np.testing.assert_array_equal(plastimatch(path, folder)["GTV-1"], hard_mask)


def test_the_validator_finds_no_error(hard_mask, ct_grid, written, faults):
    path, _, _ = written({"GTV-1": hard_mask, "nothing": np.zeros_like(hard_mask)}, ct_grid)
    assert faults(path) == []


def test_what_is_added_to_passes_the_validator_and_both_readers(axial, written, faults, plastimatch):
    mask = np.zeros(axial.shape, bool)
    mask[2:4, 3:9, 3:9] = True
    first, folder, _ = written({"GTV-1": mask}, axial)
    second, _, _ = written({"GTV-2": ~mask}, axial, add_to=first, name="second.dcm")
    assert faults(second) == []
    for read in (plastimatch(second, folder), {n: v.voxels for n, v in read_rois(second, axial).items()}):
        np.testing.assert_array_equal(read["GTV-1"], mask)
        np.testing.assert_array_equal(read["GTV-2"], ~mask)


def test_the_object_says_whose_it_is_and_what_made_it(axial, written):
    path, folder, _ = written({"GTV-1": axial.voxels > 0}, axial)
    made, source = pydicom.dcmread(path), pydicom.dcmread(next(folder.iterdir()))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate"):
        assert made[keyword].value == source[keyword].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.ApprovalStatus == "UNAPPROVED"
    assert "Research use only" in made.StructureSetDescription
    (roi,) = made.StructureSetROISequence
    assert roi.ROIGenerationAlgorithm == "SEMIAUTOMATIC"
    assert "LiteMedSAM" in roi.ROIGenerationDescription
    assert "ab" * 32 in roi.ROIDescription
    assert "1 box, by the user" in roi.ROIDescription
    algorithm = roi.ROIDerivationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("LiteMedSAM", "0.1")
    assert made.RTROIObservationsSequence[0].RTROIInterpretedType == "GTV"
    assert references(path).series == {source.SeriesInstanceUID}


def test_every_contour_refers_to_the_slice_it_lies_on(volume, written):
    path, folder, _ = written({"GTV-1": np.ones(volume.shape, bool)}, volume)
    places = {str(d.SOPInstanceUID): d for d in map(pydicom.dcmread, folder.iterdir())}
    for contour in pydicom.dcmread(path).ROIContourSequence[0].ContourSequence:
        source = places[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        cosines = np.array(source.ImageOrientationPatient, float)
        normal = np.cross(cosines[:3], cosines[3:])
        away = (
            np.array(contour.ContourData, float).reshape(-1, 3) - np.array(source.ImagePositionPatient, float)
        ) @ normal
        assert np.abs(away).max() < 1e-3


def test_numbers_fit_decimal_strings(volume, written):
    path, _, _ = written({"GTV-1": volume.voxels > 0}, volume)
    for contour in pydicom.dcmread(path).ROIContourSequence[0].ContourSequence:
        texts = contour.get_item("ContourData").value.split(b"\\")
        assert max(map(len, texts)) <= 16
        assert not any(text.startswith(b"-0 ") or text == b"-0" for text in texts)


def test_nothing_that_was_stated_is_nothing_that_is_claimed(axial, written):
    path, _, _ = written({"GTV-1": axial.voxels > 0}, axial, made_by=MadeBy())
    (roi,) = pydicom.dcmread(path).StructureSetROISequence
    assert roi.ROIGenerationAlgorithm == ""
    assert "not stated" in roi.ROIGenerationDescription
    assert "ROIDerivationAlgorithmIdentificationSequence" not in roi


def test_adding_keeps_the_other_rois_and_never_touches_the_file(axial, mock, written, tmp_path):
    old = {"Lung": [mock.square((2, 8, 6), 2, axial)], "GTV-1": [mock.square((3, 8, 6), 1.3, axial)]}
    given = mock.write_rtstruct(tmp_path / "given.dcm", old)
    before = given.read_bytes()
    path, _, (roi,) = written({"GTV-2": axial.voxels > 0}, axial, add_to=given)
    assert given.read_bytes() == before
    made, source = pydicom.dcmread(path), pydicom.dcmread(given)
    assert made.SOPInstanceUID != source.SOPInstanceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert roi.number == 3
    assert (made.FrameOfReferenceUID, made.ReferringPhysicianName, made.PositionReferenceIndicator) == (
        mock.FRAME,
        "",
        "",
    )
    for name, mask in read_rois(given, axial).items():
        np.testing.assert_array_equal(read_rois(path, axial)[name].voxels, mask.voxels)
    for k in range(2):
        assert made.ROIContourSequence[k] == source.ROIContourSequence[k]


def test_an_approval_ends_when_something_is_added(axial, mock, written, tmp_path):
    approved = mock.rtstruct({"Lung": []})
    approved.ApprovalStatus, approved.ReviewDate, approved.ReviewerName = "APPROVED", "20200101", "Doe^J"
    approved.save_as(tmp_path / "approved.dcm", enforce_file_format=True)
    path, _, _ = written({"GTV": axial.voxels > 0}, axial, add_to=tmp_path / "approved.dcm")
    made = pydicom.dcmread(path)
    assert made.ApprovalStatus == "UNAPPROVED"
    assert "ReviewerName" not in made


def test_two_rois_of_one_name_are_refused(axial, mock, written, tmp_path):
    given = mock.write_rtstruct(tmp_path / "given.dcm", {"gtv-1 ": []})
    with pytest.raises(InputError, match="two ROIs called 'GTV-1'"):
        written({"GTV-1": axial.voxels > 0}, axial, add_to=given)


def test_structure_sets_of_other_images_are_refused(axial, mock, written, tmp_path):
    other = mock.rtstruct({"a": []}, frame="9.9")
    other.save_as(tmp_path / "frame.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"frame of reference 9\.9, the image has 1\.2\.3\.1"):
        written({"b": axial.voxels > 0}, axial, add_to=tmp_path / "frame.dcm")
    patient = mock.rtstruct({"a": []})
    patient.PatientID = "P2"
    patient.save_as(tmp_path / "patient.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="another PatientID"):
        written({"b": axial.voxels > 0}, axial, add_to=tmp_path / "patient.dcm")
    series = mock.rtstruct({"a": []})
    study = series.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].SeriesInstanceUID = "7.7"
    series.save_as(tmp_path / "series.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"drawn on series 7\.7"):
        written({"b": axial.voxels > 0}, axial, add_to=tmp_path / "series.dcm")


def test_only_an_rtstruct_can_be_added_to(axial, mock, written):
    mock_ct = written({"a": axial.voxels > 0}, axial)[1] / "slice-000.dcm"
    with pytest.raises(InputError, match="not an RTSTRUCT"):
        written({"b": axial.voxels > 0}, axial, add_to=mock_ct)


def test_masks_on_another_grid_are_refused(axial, mock, tmp_path):
    mock.write_ct(tmp_path / "ct", axial)
    affine = axial.affine.copy()
    affine[0, 3] += 5
    moved = Volume(axial.voxels > 0, affine)
    with pytest.raises(GridMismatchError, match="ROI 'GTV'"):
        rtstruct([Structure("GTV", moved, "GTV")], open_reference(tmp_path / "ct"), MODEL)


def test_shaping_says_the_dice_it_costs(ct_grid, holed_mask, written):
    exact = written({"GTV": holed_mask}, ct_grid)[2][0]
    path, _, (shaped,) = written({"GTV": holed_mask}, ct_grid, shaping=Shaping(thin_mm=0.6), name="thin.dcm")
    assert shaped.points < exact.points / 2
    read = read_rois(path, ct_grid)["GTV"].voxels
    # Vertices of thinned outlines may lie on voxel centres, where the 4 decimals of the file decide.
    both = 2 * (read & holed_mask).sum() / (read.sum() + holed_mask.sum())
    assert shaped.dice == pytest.approx(both, abs=2e-3)
    assert 0.85 < shaped.dice < 1 == exact.dice


def test_names_beyond_latin_letters_come_back(axial, written):
    path, _, _ = written({"肿瘤 Läsion": axial.voxels > 0}, axial)
    assert list(read_rois(path, axial)) == ["肿瘤 Läsion"]


def test_contours_too_long_for_the_explicit_encoding_are_written_in_the_implicit_one(mock, written):
    image = Volume.from_spacing(np.zeros((1, 160, 160), np.int16), (3.0, 0.9, 0.9))
    comb = np.zeros(image.shape, bool)
    comb[0, 1:159:2, 1:159] = comb[0, :, 80] = True
    path, _, (roi,) = written({"comb": comb}, image)
    assert roi.contours == 1
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    np.testing.assert_array_equal(read_rois(path, image)["comb"].voxels, comb)


@pytest.mark.slow
def test_a_published_tumour_goes_round_without_loss(shared, tmp_path, plastimatch, faults):
    source = shared / "data/nsclc_radiomics/LUNG1-001"
    drawn = next(
        p for p in source.rglob("*.dcm") if pydicom.dcmread(p, specific_tags=["Modality"]).Modality == "RTSTRUCT"
    )
    reference = open_reference(source)
    mask = read_rois(drawn, reference.grid, pattern="^GTV-1$")["GTV-1"]
    made, _ = rtstruct([Structure("again", mask, "GTV")], reference, MODEL, add_to=drawn)
    made.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    assert faults(tmp_path / "rt.dcm") == []
    np.testing.assert_array_equal(
        read_rois(tmp_path / "rt.dcm", reference.grid, pattern="again")["again"].voxels, mask.voxels
    )
    folder = reference.headers[0].path.parent
    np.testing.assert_array_equal(plastimatch(tmp_path / "rt.dcm", folder)["again"], mask.voxels)
