import numpy as np
import pytest

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.io.images import SUFFIXES, WRITTEN, read_image, read_labels, read_mask, write_volume
from oncoseg.volume import Volume


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_is_written_is_read(suffix, volume, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_volume(path, volume)
    read = read_image(path)
    np.testing.assert_array_equal(read.voxels, volume.voxels)
    assert read.same_grid(volume, 1e-3)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_masks_are_read_as_bool(suffix, volume, tmp_path):
    mask = volume.with_voxels(volume.voxels > 0)
    write_volume(tmp_path / f"a{suffix}", mask)
    read = read_mask(tmp_path / f"a{suffix}")
    assert read.voxels.dtype == bool
    np.testing.assert_array_equal(read.voxels, mask.voxels)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(np.uint8, np.int16), (np.int16, np.int16), (np.int32, np.int16), (np.float32, np.float32)],
)
def test_images_come_as_int16_or_float32(dtype, expected, axial, tmp_path):
    write_volume(tmp_path / "a.nii.gz", axial.with_voxels(np.abs(axial.voxels // 32).astype(dtype)))
    assert read_image(tmp_path / "a.nii.gz").voxels.dtype == expected


def test_whole_numbers_beyond_int16_come_as_float32(axial, tmp_path):
    write_volume(tmp_path / "a.nii.gz", axial.with_voxels(axial.voxels.astype(np.int32) + 40000))
    read = read_image(tmp_path / "a.nii.gz")
    assert read.voxels.dtype == np.float32
    np.testing.assert_array_equal(read.voxels, axial.voxels.astype(int) + 40000)


def test_dicom_folders_and_files(axial, mock, tmp_path):
    paths = mock.write_ct(tmp_path / "series", axial)
    bare = [path.rename(path.with_suffix("")) for path in mock.write_ct(tmp_path / "bare", axial)]
    for path in (tmp_path / "series", paths[3], tmp_path / "bare", bare[2]):
        np.testing.assert_array_equal(read_image(path).voxels, axial.voxels)


def test_a_folder_of_several_series_lists_them(axial, mock, tmp_path):
    mock.write_ct(tmp_path / "a", axial)
    mock.write_ct(tmp_path / "b", axial, SeriesInstanceUID="1.9", SeriesDescription="second")
    with pytest.raises(InputError, match=r"2 image series:\n.*\n.*"):
        read_image(tmp_path)


def test_labels_stay_whole_numbers(axial, tmp_path):
    labels = axial.with_voxels((axial.voxels % 5).astype(np.float32))
    write_volume(tmp_path / "a.nii.gz", labels)
    read = read_labels(tmp_path / "a.nii.gz")
    assert read.voxels.dtype == np.int32
    np.testing.assert_array_equal(read.voxels, labels.voxels)


@pytest.mark.parametrize("value", [0.5, 3e10])
def test_labels_that_are_not_whole_are_refused(value, axial, tmp_path):
    voxels = np.zeros(axial.shape, np.float32)
    voxels[1, 2, 3] = value
    write_volume(tmp_path / "a.nii.gz", axial.with_voxels(voxels))
    for read in (read_labels, read_mask):
        with pytest.raises(InputError, match=r"a\.nii\.gz is not a label map: 1 voxels"):
            read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.png", "a", "a.gz", "a.nii.zip"])
def test_unknown_suffixes_list_the_known_ones(name, axial, tmp_path):
    (tmp_path / name).write_bytes(b"x" * 200)
    with pytest.raises(InputError, match=", ".join(SUFFIXES).replace(".", r"\.")):
        read_image(tmp_path / name)
    with pytest.raises(InputError, match=r"\.nii, \.nii\.gz, \.nrrd"):
        write_volume(tmp_path / name, axial)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.nii\.gz does not exist"):
        read_image(tmp_path / "nowhere.nii.gz")


def test_a_contour_file_is_no_image(mock, tmp_path):
    path = mock.write_rtstruct(tmp_path / "rt.dcm", {})
    with pytest.raises(InputError, match="holds no DICOM image series; it holds RTSTRUCT"):
        read_image(path)


@pytest.mark.parametrize("change", ["shape", "affine"])
def test_image_and_mask_of_different_grids_are_told_apart(change, axial, tmp_path):
    mask = Volume(np.zeros(axial.shape, bool), axial.affine)
    if change == "shape":
        mask = mask.crop((0, 0, 0), (6, 16, 11))
    else:
        mask = Volume(mask.voxels, axial.affine + np.eye(4)[[3, 3, 0, 3]] * [[0], [0], [0.1], [0]])
    write_volume(tmp_path / "image.nii.gz", axial)
    write_volume(tmp_path / "mask.nii.gz", mask)
    with pytest.raises(GridMismatchError, match="not on the same grid"):
        read_image(tmp_path / "image.nii.gz").require_same_grid(read_mask(tmp_path / "mask.nii.gz"), "image and mask")


def test_one_case_comes_out_the_same_from_every_format(axial, mock, tmp_path):
    mock.write_ct(tmp_path / "series", axial)
    from_dicom = read_image(tmp_path / "series")
    for suffix in WRITTEN:
        write_volume(tmp_path / f"a{suffix}", from_dicom)
        read = read_image(tmp_path / f"a{suffix}")
        assert read.same_grid(from_dicom, 1e-3)
        np.testing.assert_array_equal(read.voxels, from_dicom.voxels)
