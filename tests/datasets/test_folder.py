import shutil

import numpy as np
import pytest

from oncoseg.datasets import folder
from oncoseg.errors import ConfigError, GridMismatchError, InputError, UnknownNameError


def names(data):
    return [e.case for e in data.entries()]


def test_pairs_images_and_masks_of_one_name(folder_root):
    data = folder.build(root=folder_root)
    assert names(data) == ["A1_post", "A1_pre", "B2_pre"]
    assert data.load("B2_pre").mask().voxels.any()


def test_wildcards_name_the_case(folder_root):
    for image in sorted((folder_root / "images").glob("*.nii.gz")):
        case = folder_root / "cases" / image.name.removesuffix(".nii.gz")
        case.mkdir(parents=True)
        shutil.copy(image, case / "CT_image.nii.gz")
        shutil.copy(folder_root / "masks" / image.name, case / "CT_mask.nii.gz")
    data = folder.build(root=folder_root, images="cases/*/CT_image.nii.gz", masks="cases/*/CT_mask.nii.gz")
    assert names(data) == ["A1_post", "A1_pre", "B2_pre"]
    assert data.load("A1_pre").mask().voxels.any()


def test_the_patient_is_found_in_the_name(folder_root):
    data = folder.build(root=folder_root, patient="^([A-Z][0-9])_")
    assert [e.patient for e in data.entries()] == ["A1", "A1", "B2"]
    with pytest.raises(ConfigError, match="not found in the name of case 'A1_post'"):
        folder.build(root=folder_root, patient="^C")
    with pytest.raises(ConfigError, match="not a regular expression"):
        folder.build(root=folder_root, patient="(")


def test_a_case_without_mask_is_listed_and_names_the_mask(folder_root):
    (folder_root / "masks/A1_pre.nii.gz").unlink()
    data = folder.build(root=folder_root)
    assert "A1_pre" in names(data)
    with pytest.raises(InputError, match=r"masks/A1_pre\.nii\.gz does not exist"):
        data.load("A1_pre")


def test_a_mask_on_another_grid_names_both_files(folder_root, write_nifti):
    write_nifti(folder_root / "masks/A1_pre.nii.gz", np.ones((8, 24, 25), bool))
    with pytest.raises(GridMismatchError, match=r"images/A1_pre\.nii\.gz and mask .*masks/A1_pre\.nii\.gz"):
        folder.build(root=folder_root).load("A1_pre")


def test_nan_voxels_name_the_file(folder_root, write_nifti):
    voxels = np.zeros((8, 24, 24), np.float32)
    voxels[0, 0, 0] = np.nan
    write_nifti(folder_root / "images/A1_pre.nii.gz", voxels)
    with pytest.raises(InputError, match=r"A1_pre\.nii\.gz has 1 voxels that are NaN"):
        folder.build(root=folder_root).load("A1_pre")


def test_a_label_map_gives_one_mask_per_roi(folder_root):
    data = folder.build(root=folder_root, labels={"tumour": 1, "lung": 2})
    case = data.load("A1_pre")
    assert case.mask().voxels.any()
    assert not case.mask("lung").voxels.any()


def test_unknown_cases_suggest_near_ones(folder_root):
    with pytest.raises(UnknownNameError, match="Did you mean: A1_pre"):
        folder.build(root=folder_root).load("A1_pr")


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        folder.build(root=tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no case"):
        folder.build(root=tmp_path)


def test_two_files_of_one_name_are_refused(folder_root):
    (folder_root / "images/A1_pre.nrrd").write_bytes(b"x")
    with pytest.raises(InputError, match="are both case 'A1_pre'"):
        folder.build(root=folder_root)
