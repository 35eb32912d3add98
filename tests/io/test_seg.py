import numpy as np
import pytest

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.io.seg import read_segments
from oncoseg.volume import Volume


def two_lesions(shape):
    masks = {"GTV-1": np.zeros(shape, bool), "Lung": np.zeros(shape, bool)}
    masks["GTV-1"][1:3, 2:5, 1:4] = True
    masks["GTV-1"][2, 3, 2] = False
    masks["Lung"][3, :, 2] = True
    return masks


@pytest.mark.parametrize("omit", [True, False])
def test_segments_come_back_on_every_kind_of_grid(omit, volume, mock, tmp_path):
    masks = two_lesions(volume.shape)
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, volume), masks, omit_empty_frames=omit)
    read = read_segments(path, volume)
    assert list(read) == ["GTV-1", "Lung"]
    for name, mask in masks.items():
        np.testing.assert_array_equal(read[name].voxels, mask)
        assert read[name].same_grid(volume)


def test_frames_in_reversed_order(volume, mock, tmp_path):
    masks = two_lesions(volume.shape)
    files = mock.write_ct(tmp_path, volume)[::-1]
    path = mock.write_seg(tmp_path / "seg.dcm", files, {name: mask[::-1] for name, mask in masks.items()})
    for name, mask in read_segments(path, volume).items():
        np.testing.assert_array_equal(mask.voxels, masks[name])


def test_an_image_read_with_other_axes_gets_the_same_voxels(axial, mock, tmp_path):
    masks = two_lesions(axial.shape)
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), masks)
    mirror = np.diag([-1.0, 1, -1, 1])
    mirror[:3, 3] = [axial.shape[0] - 1, 0, axial.shape[2] - 1]
    turned = Volume(axial.voxels[::-1, :, ::-1], axial.affine @ mirror)
    np.testing.assert_array_equal(read_segments(path, turned)["GTV-1"].voxels, masks["GTV-1"][::-1, :, ::-1])


def test_fractional_segments_are_inside_from_a_half(axial, mock, tmp_path):
    probability = np.zeros(axial.shape, np.float32)
    probability[2, 3, 4:7] = [0.4, 0.6, 1.0]
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), {"GTV": probability}, kind="FRACTIONAL")
    assert np.argwhere(read_segments(path, axial)["GTV"].voxels).tolist() == [[2, 3, 5], [2, 3, 6]]


def test_label_maps(axial, mock, tmp_path):
    masks = two_lesions(axial.shape)
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), masks, kind="LABELMAP")
    read = read_segments(path, axial)
    assert list(read) == ["GTV-1", "Lung"]
    for name, mask in masks.items():
        np.testing.assert_array_equal(read[name].voxels, mask)


def test_names_come_from_the_description_then_the_label(axial, mock, tmp_path):
    def describe(made):
        made.SegmentSequence[0].SegmentDescription = "GTV-1"
        made.SegmentSequence[0].SegmentLabel = "Neoplasm, Primary"

    masks = two_lesions(axial.shape)
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), masks, edit=describe)
    assert list(read_segments(path, axial)) == ["GTV-1", "Lung"]


@pytest.mark.parametrize("shift_mm", [(0, 0, 1.5), (0.5, 0, 0), (0, 0, -300)])
def test_a_segmentation_of_another_grid_is_refused(shift_mm, axial, mock, tmp_path):
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), two_lesions(axial.shape))
    affine = axial.affine.copy()
    affine[:3, 3] += shift_mm
    with pytest.raises(GridMismatchError, match=r"seg\.dcm: frame 1 at .* does not lie on the image's grid"):
        read_segments(path, Volume(axial.voxels, affine))


def test_a_segmentation_of_another_voxel_size_is_refused(axial, mock, tmp_path):
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), two_lesions(axial.shape))
    finer = Volume.from_spacing(np.zeros((6, 32, 24)), (3.0, 0.977 / 2, 0.977 / 2), axial.affine[:3, 3])
    with pytest.raises(GridMismatchError, match="does not lie on"):
        read_segments(path, finer)


def test_a_segmentation_without_references_is_refused(axial, mock, tmp_path):
    def forget(made):
        del made.ReferencedSeriesSequence
        for group in made.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence

    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), two_lesions(axial.shape), edit=forget)
    with pytest.raises(InputError, match="references no image series"):
        read_segments(path, axial)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.995])
def test_truncated_files_are_refused(share, axial, mock, tmp_path):
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path, axial), two_lesions(axial.shape))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"seg\.dcm"):
        read_segments(path, axial)


def test_other_objects_are_refused(axial, mock, tmp_path):
    path = mock.write_ct(tmp_path, axial)[0]
    with pytest.raises(InputError, match="is not a DICOM-SEG"):
        read_segments(path, axial)


@pytest.mark.parametrize("z", [-340.0, 97.5])
def test_the_broken_real_segmentation_is_refused(z, shared):
    path = shared / "data" / "lidc_idri" / "LIDC-IDRI-0001" / "SEG" / "nodule.dcm"
    image = Volume.from_spacing(np.zeros((133, 512, 512), bool), (2.5, 0.703125, 0.703125), (-166, -171.7, z))
    with pytest.raises(InputError, match=r"nodule\.dcm references no image series.*\(0, 0, 97\.5\) mm"):
        read_segments(path, image)


#: What other tools leave out of their segmentations; none of it is needed to place a mask.
LEFT_OUT = [
    "ContentLabel", "ReferencedSeriesSequence", "SegmentAlgorithmType", "SegmentAlgorithmName", "TrackingUID",
    "DimensionIndexSequence", "DimensionOrganizationSequence", "FrameContentSequence", "DimensionIndexValues",
    "DerivationImageSequence", "SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence",
    "SegmentsOverlap", "MaximumFractionalValue", "FrameOfReferenceUID",
]  # fmt: skip


@pytest.mark.parametrize("keyword", LEFT_OUT)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_what_masks_do_not_need_may_be_missing(keyword, kind, axial, mock, tmp_path):
    def without(made):
        groups = [*made.PerFrameFunctionalGroupsSequence, *made.SharedFunctionalGroupsSequence]
        contents = [content for group in groups for content in group.get("FrameContentSequence", [])]
        for item in (made, *made.SegmentSequence, *groups, *contents):
            if keyword in item:
                delattr(item, keyword)

    mask = np.zeros(axial.shape, bool)
    mask[1:3, 2:6, 3:9] = True
    path = mock.write_seg(
        tmp_path / "seg.dcm", mock.write_ct(tmp_path / "ct", axial), {"tumour": mask}, kind=kind, edit=without
    )
    np.testing.assert_array_equal(read_segments(path, axial)["tumour"].voxels, mask)


def test_frames_of_bits_that_do_not_fill_bytes(mock, tmp_path):
    image = Volume.from_spacing(np.zeros((5, 11, 13), np.int16), (3.0, 1.0, 1.0))
    mask = np.random.default_rng(0).random(image.shape) > 0.5
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path / "ct", image), {"tumour": mask})
    np.testing.assert_array_equal(read_segments(path, image)["tumour"].voxels, mask)


def test_places_in_every_frame_in_place_of_all_together(axial, mock, tmp_path):
    def moved(made):
        shared = made.SharedFunctionalGroupsSequence[0]
        for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            for group in made.PerFrameFunctionalGroupsSequence:
                setattr(group, keyword, shared[keyword].value)
            delattr(shared, keyword)

    mask = np.zeros(axial.shape, bool)
    mask[2, 2:6, 3:9] = True
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path / "ct", axial), {"tumour": mask}, edit=moved)
    np.testing.assert_array_equal(read_segments(path, axial)["tumour"].voxels, mask)


def test_a_segmentation_without_places_is_refused(axial, mock, tmp_path):
    def nowhere(made):
        del made.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence

    mask = np.ones(axial.shape, bool)
    path = mock.write_seg(tmp_path / "seg.dcm", mock.write_ct(tmp_path / "ct", axial), {"tumour": mask}, edit=nowhere)
    with pytest.raises(InputError, match="frame 1 has no PlaneOrientationSequence"):
        read_segments(path, axial)
