"""Multi-frame images are the volumes that their slices would be, one a file."""

import copy
import json

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from oncoseg.errors import InputError
from oncoseg.io.deidentified import Deidentifying, deidentify_file
from oncoseg.io.dicom import find_series, read_image, read_series
from oncoseg.io.dicom_reference import open_reference
from oncoseg.io.pseudonyms import with_key
from oncoseg.io.rtstruct import read_rois
from oncoseg.io.rtstruct_writer import rtstruct
from oncoseg.io.seg import read_segments
from oncoseg.io.seg_writer import segmentation
from oncoseg.io.sr_writer import Finding, structured_report
from oncoseg.io.structures import MadeBy, Structure, onto_grid
from oncoseg.io.studies import find_studies
from oncoseg.measurements import measure
from oncoseg.preparation.repairing import repair_folder
from oncoseg.volume import Volume


@pytest.fixture
def enhanced(mock, tmp_path):
    """Write a volume as one Legacy Converted Enhanced CT, frames in any order; returns the file."""

    def write(volume, *, name="enhanced", syntax=ExplicitVRLittleEndian, change=lambda made: None, **tags):
        slices = [pydicom.dcmread(p) for p in mock.write_ct(tmp_path / f"{name}-plain", volume, **tags)]
        order = np.random.default_rng(3).permutation(len(slices))
        for k, made in enumerate(slices):  # so that the writer keeps this order
            made.InstanceNumber = int(order[k]) + 1
        made = highdicom.legacy.LegacyConvertedEnhancedCTImage(
            slices, highdicom.UID(), 1, highdicom.UID(), 1, transfer_syntax_uid=syntax
        )
        change(made)
        (tmp_path / name).mkdir()
        made.save_as(tmp_path / name / "image.dcm")
        return tmp_path / name / "image.dcm"

    return write


def test_a_multi_frame_image_is_the_volume_of_its_frames(volume, enhanced):
    path = enhanced(volume)
    (series,) = find_series(path.parent)
    assert (len(series.files), len(series.headers)) == (1, len(volume.voxels))
    image = read_series(series)
    np.testing.assert_array_equal(image.voxels, volume.voxels)
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-3)
    assert image.voxels.dtype == np.int16


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_frames_are_read_exactly(syntax, enhanced, mock, tmp_path):
    voxels = np.random.default_rng(0).integers(-900, 900, (4, 40, 36)).astype(np.int16)
    volume = Volume.from_spacing(voxels, (3.0, 0.9, 0.8))
    np.testing.assert_array_equal(read_image(enhanced(volume, syntax=syntax)).voxels, voxels)


def test_scaling_of_each_frame_counts(axial, enhanced):
    def change(made):
        shared = made.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        for number, group in enumerate(made.PerFrameFunctionalGroupsSequence):
            own = copy.deepcopy(shared)
            own.RescaleIntercept = -1024 + 100 * number
            group.PixelValueTransformationSequence = [own]  # comes before the shared one, which stays

    image = read_image(enhanced(axial, change=change))
    added = (image.voxels - axial.voxels).reshape(len(axial.voxels), -1)
    assert sorted(added[:, 0].tolist()) == [0, 100, 200, 300, 400, 500]
    assert (added == added[:, :1]).all()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_a_single_frame_is_a_volume_of_one_slice(syntax, axial, enhanced):
    def change(made):
        measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = 3  # the writer cannot know it of one slice

    image = read_image(enhanced(axial.crop((2, 0, 0), (3, *axial.shape[1:])), change=change, syntax=syntax))
    np.testing.assert_array_equal(image.voxels, axial.voxels[2:3])
    assert image.spacing[0] == 3


def test_a_damaged_one_stops_no_other_case(axial, enhanced, mock, tmp_path):
    mock.write_ct(tmp_path / "tree" / "sound", axial)
    damaged = enhanced(axial, change=_one_short).replace(tmp_path / "tree" / "damaged.dcm")
    with pytest.raises(InputError, match="describes 5"):
        find_series(tmp_path / "tree")
    (study,) = find_studies(tmp_path / "tree")
    assert len(study.image.headers) == 6
    assert study.problem is None
    mended = repair_folder(tmp_path / "tree", tmp_path / "mended")
    assert mended.left_out == (), "what is damaged stays, so that checking names it"
    assert (tmp_path / "mended" / damaged.name).exists()


def _without_groups(made):
    del made.PerFrameFunctionalGroupsSequence


def _one_short(made):
    made.PerFrameFunctionalGroupsSequence.pop()


def _cut(made):
    made.PixelData = made.PixelData[:-64]


def _twice(made):
    first, second = made.PerFrameFunctionalGroupsSequence[:2]
    second.PlanePositionSequence = first.PlanePositionSequence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_groups, "no functional groups"),
        (_one_short, "says that it has 6 frames and describes 5"),
        (_cut, "6 frames need 2304"),
        (_twice, r"Missing: 1 slice\(s\) between .*image.dcm, frame \d .* and .*image.dcm, frame \d"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(change, message, axial, enhanced):
    path = enhanced(axial, change=change)
    with pytest.raises(InputError, match=message) as refused:
        read_image(path)
    assert str(path) in str(refused.value)


def test_objects_refer_to_frames_and_hold_the_mask(axial, enhanced, faults, tmp_path):
    path = enhanced(axial, ReferringPhysicianName="", StudyID="1")
    reference = open_reference(path)
    voxels = np.zeros(axial.shape, bool)
    voxels[2:5, 4:9, 3:8] = True
    voxels[2, 6, 5] = False
    mask, made_by = reference.grid.with_voxels(voxels), MadeBy("model")
    structures = [Structure("GTV", mask, "GTV")]
    contours, _ = rtstruct(structures, reference, made_by)
    contours.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    segmented = segmentation(structures, reference, made_by)
    segmented.save_as(tmp_path / "seg.dcm")
    findings = [Finding("GTV", lesion) for lesion in measure(mask, reference.image())]
    for name, given in (("sr", segmented), ("lines", None)):
        structured_report(findings, reference, made_by, segmented=given).save_as(tmp_path / f"{name}.dcm")
    np.testing.assert_array_equal(read_rois(tmp_path / "rt.dcm", axial)["GTV"].voxels, voxels)
    np.testing.assert_array_equal(read_segments(tmp_path / "seg.dcm", axial)["GTV"].voxels, voxels)
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    for contour in contours.ROIContourSequence[0].ContourSequence:
        frame = groups[contour.ContourImageSequence[0].ReferencedFrameNumber - 1]
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        assert float(contour.ContourData[2]) == pytest.approx(position[2], abs=1e-3)
    for name in ("rt", "seg", "sr", "lines"):
        assert faults(tmp_path / f"{name}.dcm") == []


def test_dcmqi_reads_the_same_voxels(axial, enhanced, dcmqi, tmp_path):
    reference = open_reference(enhanced(axial))
    voxels = np.zeros(axial.shape, bool)
    voxels[1:4, 3:7, 2:9] = True
    made = segmentation([Structure("GTV", reference.grid.with_voxels(voxels), "GTV")], reference, MadeBy("model"))
    made.save_as(tmp_path / "seg.dcm")
    (found,) = dcmqi(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(onto_grid(found, axial, "segment and image").voxels > 0, voxels)


def test_several_multi_frame_files_of_a_series_are_read_and_not_drawn_on(axial, enhanced, tmp_path):
    halves = [Volume(axial.voxels[:3], axial.affine), axial.crop((3, 0, 0), axial.shape)]
    paths = [enhanced(half, name=f"half{n}") for n, half in enumerate(halves)]
    both = tmp_path / "both"
    both.mkdir()
    first = pydicom.dcmread(paths[0])
    for number, path in enumerate(paths):
        made = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(made, keyword, first[keyword].value)
        made.save_as(both / f"{number}.dcm")
    np.testing.assert_array_equal(read_image(both).voxels, axial.voxels)
    with pytest.raises(InputError, match="several multi-frame files"):
        open_reference(both)


def test_repairs_leave_a_multi_frame_file_whole(axial, enhanced, tmp_path):
    def twice(made):
        first, second = made.PerFrameFunctionalGroupsSequence[:2]
        second.PlanePositionSequence = first.PlanePositionSequence

    path = enhanced(axial, change=twice)
    (path.parent / "copy.dcm").write_bytes(path.read_bytes())
    mended = repair_folder(path.parent, tmp_path / "mended")
    assert [item.file for item in mended.left_out] == ["image.dcm"]  # the copy's name comes first


def test_a_de_identified_image_is_the_same_volume(axial, enhanced, tmp_path):
    path = enhanced(axial)
    deidentify_file(path, tmp_path / "clean.dcm", Deidentifying(with_key(tmp_path / "key")))
    np.testing.assert_array_equal(read_image(tmp_path / "clean.dcm").voxels, axial.voxels)
    assert "P1" not in json.dumps(pydicom.dcmread(tmp_path / "clean.dcm").to_json_dict())
