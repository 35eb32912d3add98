import numpy as np
import pydicom
import pytest

from oncoseg.errors import GridMismatchError, InputError, UnknownNameError
from oncoseg.io.coding import SITES, category_and_type, site
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.rtstruct_writer import rtstruct
from oncoseg.io.seg import read_segments
from oncoseg.io.seg_writer import segmentation
from oncoseg.io.structures import MadeBy, Structure, onto_grid
from oncoseg.volume import Volume

MODEL = MadeBy("LiteMedSAM", "0.1", "ab" * 32, "1 box, by the user" * 10, "SEMIAUTOMATIC")


@pytest.fixture
def written(mock, tmp_path):
    """Write name -> array as a SEG for a CT of the given grid."""

    def write(masks, image, *, probabilities=None, made_by=MODEL, **options):
        if not (tmp_path / "ct").exists():
            mock.write_ct(tmp_path / "ct", image)
        shown = probabilities or {}
        structures = [
            Structure(n, image.with_voxels(m), "GTV", image.with_voxels(shown[n]) if n in shown else None)
            for n, m in masks.items()
        ]
        made = segmentation(structures, open_reference(tmp_path / "ct"), made_by, **options)
        made.save_as(tmp_path / "seg.dcm")
        return tmp_path / "seg.dcm"

    return write


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_our_reader_gets_every_voxel_back_on_every_kind_of_grid(kind, volume, written):
    noise = np.random.default_rng(3).random(volume.shape)
    masks = {"GTV-1": noise < 0.3, "GTV-2": noise > 0.8}
    read = read_segments(written(masks, volume, kind=kind), volume)
    for name, mask in masks.items():
        np.testing.assert_array_equal(read[name].voxels, mask)


def test_dcmqi_gets_every_voxel_back_through_the_affine(hard_mask, ct_grid, written, dcmqi):
    (read,) = dcmqi(written({"GTV-1": hard_mask}, ct_grid))
    np.testing.assert_array_equal(onto_grid(read, ct_grid, "dcmqi's and ours").voxels > 0, hard_mask)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_the_validator_finds_no_error(kind, hard_mask, ct_grid, written, faults):
    masks = {"GTV-1": hard_mask, "nothing": np.zeros_like(hard_mask)}
    assert faults(written(masks, ct_grid, kind=kind, where="lung")) == []
    assert faults(written({"nothing": masks["nothing"]}, ct_grid, kind=kind)) == []


def test_probabilities_are_kept_in_steps_of_a_255th(axial, written):
    probability = np.random.default_rng(4).random(axial.shape).astype(np.float32)
    path = written({"GTV": probability > 0.5}, axial, probabilities={"GTV": probability}, kind="FRACTIONAL")
    made = pydicom.dcmread(path)
    assert (made.SegmentationType, made.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    heights = [float(f.PlanePositionSequence[0].ImagePositionPatient[2]) for f in made.PerFrameFunctionalGroupsSequence]
    stored = made.pixel_array[np.argsort(heights)]
    assert np.abs(stored / made.MaximumFractionalValue - probability).max() <= 0.5 / 255 + 1e-6


def test_a_segment_is_coded_and_says_what_made_it(axial, written):
    path = written({"GTV": axial.voxels > 0}, axial, where="lung")
    made = pydicom.dcmread(path)
    (segment,) = made.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"  # SNOMED CT: neoplasm
    assert segment.AnatomicRegionSequence[0].CodeValue == "39607008"  # SNOMED CT: lung
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("LiteMedSAM", "0.1")
    assert "ab" * 32 in algorithm.AlgorithmParameters
    assert "1 box, by the user" in algorithm.AlgorithmParameters
    assert segment.TrackingUID
    assert segment.TrackingID == "GTV"
    assert "Research use only" in made.ContentDescription
    assert (made.PatientID, made.StudyInstanceUID) == ("P1", "1.2.3.2")


def test_what_people_drew_is_not_called_an_algorithm(axial, written):
    (segment,) = pydicom.dcmread(
        written({"GTV": axial.voxels > 0}, axial, made_by=MadeBy(generation="MANUAL"))
    ).SegmentSequence
    assert segment.SegmentAlgorithmType == "MANUAL"
    assert "SegmentationAlgorithmIdentificationSequence" not in segment


def test_an_empty_mask_is_an_empty_segment(axial, written):
    path = written({"GTV": np.zeros(axial.shape, bool)}, axial)
    assert not read_segments(path, axial)["GTV"].voxels.any()


def test_names_beyond_latin_letters_come_back(axial, written):
    assert list(read_segments(written({"肿瘤": axial.voxels > 0}, axial), axial)) == ["肿瘤"]


def test_overlap_is_refused_in_a_label_map(axial, written):
    with pytest.raises(InputError, match="'b' overlaps"):
        written({"a": axial.voxels > 0, "b": axial.voxels > 100}, axial, kind="LABELMAP")


def test_masks_on_another_grid_and_equal_names_are_refused(axial, mock, tmp_path):
    mock.write_ct(tmp_path / "ct", axial)
    reference = open_reference(tmp_path / "ct")
    with pytest.raises(GridMismatchError, match="segment 'GTV'"):
        segmentation([Structure("GTV", Volume(axial.voxels[1:] > 0, axial.affine), "GTV")], reference, MODEL)
    twice = [Structure(name, axial.with_voxels(axial.voxels > 0), "GTV") for name in ("GTV", "gtv")]
    with pytest.raises(InputError, match="two ROIs called 'gtv'"):
        segmentation(twice, reference, MODEL)


@pytest.mark.parametrize(
    ("name", "kind", "meaning"),
    [
        ("anything", "GTV", "Neoplasm"),
        ("PTV 60", "PTV", "Planning target volume"),
        ("Lung_L", "ORGAN", "Lung"),
        ("Esophagus", "ORGAN", "Esophagus"),
        ("spinal-cord", "ORGAN", "Spinal cord"),
        ("ring", "CONTROL", "Tissue"),
    ],
)
def test_types_follow_kind_and_name(name, kind, meaning, axial):
    structure = Structure(name, axial.with_voxels(axial.voxels > 0), kind)
    assert category_and_type(structure)[1].meaning == meaning


def test_codes_are_those_that_pydicom_prints(axial):
    from pydicom.sr.codedict import codes

    known = {code.value: code.meaning for name in codes.SCT.dir() if (code := getattr(codes.SCT, name))}
    for concept in SITES.values():
        assert concept.value in known, concept
    with pytest.raises(UnknownNameError, match="lung"):
        site("lungs")


@pytest.mark.filterwarnings("error")
def test_images_that_name_no_method_of_their_deidentification_give_objects_that_do(mock, axial, tmp_path, faults):
    mock.write_ct(tmp_path / "ct", axial, PatientIdentityRemoved="YES", PatientName="LUNG1-001")
    reference = open_reference(tmp_path / "ct")
    structure = Structure("GTV", axial.with_voxels(axial.voxels > 0), "GTV")
    made = segmentation([structure], reference, MODEL)
    made.save_as(tmp_path / "seg.dcm")
    contours, _ = rtstruct([structure], reference, MODEL)
    contours.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    for name in ("seg.dcm", "rt.dcm"):
        assert pydicom.dcmread(tmp_path / name).DeidentificationMethod == "not stated by the image"
        assert faults(tmp_path / name) == []
