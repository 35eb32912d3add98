import json

import numpy as np
import pydicom
import pytest

from oncoseg.files import sha256
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.images import write_volume
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.seg import read_segments
from oncoseg.volume import Volume


@pytest.fixture
def clinic(mock_patient, tmp_path):
    """A CT series, its reference, and a mask of one ball as NIfTI."""
    patient = mock_patient("P1")
    patient.ct()
    folder = patient.folder / "0.000000-NA-82046"
    reference = open_reference(folder)
    index = np.indices(reference.grid.shape).transpose(1, 2, 3, 0)
    ball = np.linalg.norm((index - np.array([6, 30, 20])) * [3, 1, 1], axis=-1) <= 7
    mask = reference.grid.with_voxels(ball)
    write_volume(tmp_path / "mask.nii.gz", mask)
    return folder, mask, patient


def outputs(tmp_path):
    return {
        name: tmp_path / f"out/{name}.{'html' if name == 'sheet' else 'dcm'}"
        for name in ("rtstruct", "seg", "sr", "sheet")
    }


def options(files):
    return [part for name, path in files.items() for part in (f"--{name}", path)]


def test_all_four_files_hold_the_mask(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    files = outputs(tmp_path)
    result = oncoseg(
        "export", tmp_path / "mask.nii.gz", "--reference", folder, *options(files), "--roi", "GTV-1", "--site", "lung"
    )
    assert result.code == 0, result.err
    np.testing.assert_array_equal(read_rois(files["rtstruct"], mask)["GTV-1"].voxels, mask.voxels)
    np.testing.assert_array_equal(read_segments(files["seg"], mask)["GTV-1"].voxels, mask.voxels)
    assert pydicom.dcmread(files["sr"]).Modality == "SR"
    assert "GTV-1" in files["sheet"].read_text()
    assert "Dice 1.0000" in result.err
    assert "mL" in result.err


def test_lungs_that_are_given_say_where_a_lesion_is(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    write_volume(tmp_path / "lungs.nii.gz", mask.with_voxels(np.full(mask.shape, 2, np.uint8)))
    command = ("export", tmp_path / "mask.nii.gz", "--reference", folder, "--sr", tmp_path / "sr.dcm", "--site", "Lung")
    result = oncoseg(*command, "--lungs", tmp_path / "lungs.nii.gz")
    assert result.code == 0, result.err
    assert "left lung, middle third" in result.err
    assert b"7771000" in (tmp_path / "sr.dcm").read_bytes()  # SNOMED CT, left
    result = oncoseg(*command)
    assert result.code == 0, result.err
    assert "not located in the lungs: lungs (classical): no right lung was found" in result.err
    assert b"7771000" not in (tmp_path / "sr.dcm").read_bytes()


def test_people_who_drew_are_named_as_such(oncoseg, clinic, tmp_path):
    folder, *_ = clinic
    command = ("export", tmp_path / "mask.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    assert oncoseg(*command, "--manual").code == 0
    (roi,) = pydicom.dcmread(tmp_path / "rt.dcm").StructureSetROISequence
    assert (roi.ROIGenerationAlgorithm, roi.ROIDescription.split(",")[0]) == ("MANUAL", "Drawn by people")


def test_model_weights_and_prompts_are_inside_the_objects(oncoseg, clinic, tmp_path):
    folder, *_ = clinic
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    (tmp_path / "prompts.json").write_text(json.dumps([{"type": "click", "index": [6, 30, 20]}]))
    files = outputs(tmp_path)
    said = (
        "--model",
        "LiteMedSAM",
        "--weights",
        tmp_path / "weights.safetensors",
        "--prompts",
        tmp_path / "prompts.json",
    )
    result = oncoseg("export", tmp_path / "mask.nii.gz", "--reference", folder, *options(files), *said)
    assert result.code == 0, result.err
    digest = sha256(tmp_path / "weights.safetensors")
    for name in ("rtstruct", "seg", "sr"):
        text = files[name].read_text("latin-1")
        for part in ("LiteMedSAM", digest, "[6,30,20]"):
            assert part in text, (name, part)
    assert pydicom.dcmread(files["rtstruct"]).StructureSetROISequence[0].ROIGenerationAlgorithm == "SEMIAUTOMATIC"


def test_what_nobody_stated_is_said(oncoseg, clinic, tmp_path):
    folder, *_ = clinic
    result = oncoseg("export", tmp_path / "mask.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    assert "nothing says what drew the mask" in result.err


def test_labels_become_rois_by_name(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    labels = mask.voxels.astype(np.uint8)
    labels[2:4, 40:50, 40:50] = 3
    write_volume(tmp_path / "labels.nii.gz", mask.with_voxels(labels))
    command = ("export", tmp_path / "labels.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    result = oncoseg(*command)
    assert (result.code, "--roi NAME=1 --roi NAME=3" in result.err) == (2, True)
    assert oncoseg(*command, "--roi", "GTV-1=1", "--roi", "Lung_L=3").code == 0
    read = read_rois(tmp_path / "rt.dcm", mask)
    np.testing.assert_array_equal(read["Lung_L"].voxels, labels == 3)
    kinds = [o.RTROIInterpretedType for o in pydicom.dcmread(tmp_path / "rt.dcm").RTROIObservationsSequence]
    assert kinds == ["GTV", "ORGAN"]


def test_probabilities_become_a_fractional_segment_and_contours_above_the_threshold(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    probability = np.where(mask.voxels, 0.6, 0.1).astype(np.float32)
    probability[6, 30, 20] = 0.9
    write_volume(tmp_path / "p.nii.gz", mask.with_voxels(probability))
    files = {n: p for n, p in outputs(tmp_path).items() if n in ("rtstruct", "seg")}
    result = oncoseg("export", tmp_path / "p.nii.gz", "--reference", folder, *options(files), "--threshold", "0.8")
    assert result.code == 0, result.err
    assert np.argwhere(read_rois(files["rtstruct"], mask)["GTV"].voxels).tolist() == [[6, 30, 20]]
    assert pydicom.dcmread(files["seg"]).SegmentationType == "FRACTIONAL"
    np.testing.assert_array_equal(read_segments(files["seg"], mask)["GTV"].voxels, mask.voxels)


def test_rois_are_added_beside_others(oncoseg, clinic, tmp_path):
    folder, mask, patient = clinic
    patient.rtstruct(names=("GTV-1", "Lung-Left"))
    drawn = patient.folder / "1.000000-NA-20718/1-1.dcm"
    before = drawn.read_bytes()
    command = ("export", tmp_path / "mask.nii.gz", "--reference", folder, "--add-to", drawn)
    result = oncoseg(*command, "--rtstruct", tmp_path / "rt.dcm", "--roi", "GTV-1")
    assert (result.code, "two ROIs called 'GTV-1'" in result.err) == (2, True)
    assert oncoseg(*command, "--rtstruct", tmp_path / "rt.dcm", "--roi", "GTV-1 oncoseg").code == 0
    assert list(read_rois(tmp_path / "rt.dcm", mask)) == ["GTV-1", "Lung-Left", "GTV-1 oncoseg"]
    result = oncoseg(*command, "--rtstruct", drawn, "--roi", "GTV-2")
    assert (result.code, "would be written over" in result.err) == (2, True)
    assert drawn.read_bytes() == before


def test_an_input_is_never_written_over(oncoseg, clinic, tmp_path):
    folder, *_ = clinic
    slices = {path: path.read_bytes() for path in folder.iterdir()}
    for target in (tmp_path / "mask.nii.gz", next(iter(slices))):
        result = oncoseg("export", tmp_path / "mask.nii.gz", "--reference", folder, "--rtstruct", target)
        assert (result.code, "would be written over" in result.err) == (2, True)
    assert all(path.read_bytes() == content for path, content in slices.items())


def test_a_failure_leaves_no_file_at_all(oncoseg, clinic, tmp_path):
    folder, *_ = clinic
    files = outputs(tmp_path)
    result = oncoseg("export", tmp_path / "mask.nii.gz", "--reference", folder, *options(files), "--site", "lnug")
    assert (result.code, "lung" in result.err) == (2, True)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_one_file_that_cannot_be_written_keeps_back_the_others(clinic, tmp_path):
    from oncoseg.io.together import written_together

    def failing(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"):
        written_together({tmp_path / "a.dcm": lambda path: path.write_text("a"), tmp_path / "b.dcm": failing})
    assert not list(tmp_path.glob("*.dcm"))


def test_an_empty_mask_is_refused_with_a_way_out(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    write_volume(tmp_path / "empty.nii.gz", mask.with_voxels(np.zeros(mask.shape, bool)))
    files = outputs(tmp_path)
    command = ("export", tmp_path / "empty.nii.gz", "--reference", folder, *options(files))
    result = oncoseg(*command)
    assert (result.code, "--allow-empty" in result.err) == (2, True)
    assert oncoseg(*command, "--allow-empty").code == 0
    assert not read_rois(files["rtstruct"], mask)["GTV"].voxels.any()
    assert "No lesion was found" in files["sheet"].read_text()


def test_masks_are_turned_and_set_into_the_grid_of_the_series(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    cropped = mask.crop((3, 20, 10), (9, 40, 30))
    affine = cropped.affine.copy()
    affine[:3, 3] = cropped.index_to_mm([5, 0, 19])
    affine[:3, 0] *= -1
    affine[:3, 2] *= -1
    write_volume(tmp_path / "turned.nii.gz", Volume(cropped.voxels[::-1, :, ::-1], affine))
    result = oncoseg("export", tmp_path / "turned.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    assert result.code == 0, result.err
    np.testing.assert_array_equal(read_rois(tmp_path / "rt.dcm", mask)["GTV"].voxels, mask.voxels)


def test_a_mask_of_another_grid_is_refused(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    affine = mask.affine.copy()
    affine[2, 3] += 1.5
    write_volume(tmp_path / "shifted.nii.gz", Volume(mask.voxels, affine))
    result = oncoseg("export", tmp_path / "shifted.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    assert (result.code, "not on the same grid" in result.err) == (2, True)


def test_a_series_with_a_missing_slice_is_refused(oncoseg, clinic, tmp_path):
    folder, *_ = clinic
    sorted(folder.iterdir())[5].unlink()
    result = oncoseg("export", tmp_path / "mask.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    assert (result.code, "Missing: 1 slice" in result.err) == (2, True)


def test_of_several_series_the_one_that_the_mask_fits_is_taken(oncoseg, clinic, tmp_path):
    folder, mask, _ = clinic
    for path in sorted(folder.iterdir()):
        made = pydicom.dcmread(path)
        made.SeriesInstanceUID, made.SOPInstanceUID = "1.9.9", f"1.9.9.{made.InstanceNumber}"
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.ImagePositionPatient[2] += 1.5
        made.save_as(folder / f"between-{path.name}")
    result = oncoseg("export", tmp_path / "mask.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    assert result.code == 0, result.err
    np.testing.assert_array_equal(read_rois(tmp_path / "rt.dcm", mask)["GTV"].voxels, mask.voxels)
    write_volume(tmp_path / "other.nii.gz", Volume(mask.voxels, mask.affine + 0.4 * np.eye(4, k=3)))
    result = oncoseg("export", tmp_path / "other.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt2.dcm")
    assert (result.code, "holds 2 image series" in result.err) == (2, True)


def test_thinning_says_what_it_costs(oncoseg, clinic, tmp_path):
    folder, *_ = clinic
    command = ("export", tmp_path / "mask.nii.gz", "--reference", folder, "--rtstruct", tmp_path / "rt.dcm")
    result = oncoseg(*command, "--thin", "1.5")
    assert result.code == 0
    assert "Dice 0." in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say what to write"),
        (["--seg", "s.dcm", "--add-to", "rt.dcm"], "--add-to needs --rtstruct"),
        (["--sheet", "sheet.docx"], ".pdf or .html"),
        (["--rtstruct", "r.dcm", "--manual", "--model", "x"], "--manual"),
        (["--sr", "sr.dcm", "--type", "ORGAN"], "Measurements are of tumours"),
        (["--rtstruct", "r.dcm", "--type", "tumour"], "none of GTV"),
        (["--rtstruct", "r.dcm", "--seg", "r.dcm"], "given twice"),
        (["--rtstruct", "r.dcm", "--thin", "-1"], "thin_mm"),
        (["--sheet", "s.html", "--site", "lungs"], "Unknown body site 'lungs'"),
        (["--sr", "sr.dcm", "--lungs", "mask.nii.gz"], "--site lung"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, oncoseg, clinic, tmp_path, monkeypatch):
    folder, *_ = clinic
    monkeypatch.chdir(tmp_path)
    result = oncoseg("export", tmp_path / "mask.nii.gz", "--reference", folder, *arguments)
    assert (result.code, message in result.err) == (2, True), result.err
    assert not list(tmp_path.glob("*.dcm"))
