import shutil

import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.datasets import dicom, folder, lung1, msd
from oncoseg.preparation.checking import check_case, check_dataset
from oncoseg.volume import Volume


def case(voxels=None, mask=None, spacing=(3.0, 1.0, 1.0), affine=None):
    """A sound CT case unless told otherwise."""
    sound = np.full((10, 20, 20), -800, np.int16)
    sound[3:6, 5:10, 5:10] = 40
    image = Volume.from_spacing(sound if voxels is None else voxels, spacing)
    if affine is not None:
        image = Volume(image.voxels, affine)
    return Case("x", "x", image, {"tumour": image.with_voxels((sound == 40) if mask is None else mask)})


def messages(checked, modality="CT"):
    return {(f.severity, f.message) for f in check_case(checked, modality)}


def said(checked, severity, words, modality="CT"):
    return any(s == severity and words in message for s, message in messages(checked, modality))


def test_a_sound_case_has_no_findings():
    assert messages(case()) == set()


def test_voxel_values_are_checked():
    assert said(case(np.zeros((10, 20, 20))), "error", "every voxel has the value 0")
    assert said(case(np.random.default_rng(0).random((10, 20, 20))), "warning", "are not HU")
    padded = case().image.voxels.copy()
    padded[0] = -2048
    assert said(case(padded), "info", "400 voxels are below -1024 HU")
    broken = padded.astype(np.float32)
    broken[0, 0, :3] = np.nan
    assert said(case(broken), "error", "3 voxels are NaN")


def test_mr_is_not_measured_in_hu():
    assert not said(case(np.arange(4000).reshape(10, 20, 20)), "warning", "HU", modality="MR")


def test_the_reference_is_checked():
    empty, whole = np.zeros((10, 20, 20), bool), np.ones((10, 20, 20), bool)
    assert said(case(mask=empty), "warning", "reference is empty")
    assert said(case(mask=whole), "info", "touches the border")
    assert said(case(mask=whole), "warning", "median is -800 HU")
    few = empty.copy()
    few[3, 5, 5] = few[5, 9, 9] = True
    assert said(case(mask=few), "warning", "has 2 voxels")
    assert said(case(mask=few), "info", "2 separate lesions")
    lungs_only = Case("x", "x", case().image, {"lungs": case().mask()})
    assert said(lungs_only, "error", "no mask 'tumour', only lungs")


def test_the_grid_is_checked():
    assert said(case(spacing=(6.0, 1.0, 1.0)), "info", "slices are 6 mm apart")
    assert said(case(spacing=(0.003, 0.001, 0.001)), "warning", "(0.003, 0.001, 0.001) mm is not a scanner's")
    turned = np.eye(4)
    angle = np.radians(20)
    turned[:3, :3] = [[0, 0, 1], [-np.sin(angle), np.cos(angle), 0], [3 * np.cos(angle), np.sin(angle), 0]]
    assert said(case(affine=turned), "info", "degrees")


def test_broken_cases_are_errors_and_do_not_stop_the_check(msd_root, write_nifti):
    write_nifti(msd_root / "labelsTr/lung_001.nii.gz", np.full((24, 64, 64), 3, np.uint8))
    findings = check_dataset(msd.build(root=msd_root))
    errors = {f.case: f.message for f in findings if f.severity == "error"}
    assert set(errors) == {"lung_001", "lung_053"}
    assert "label values [3]" in errors["lung_001"]
    assert "does not exist" in errors["lung_053"]
    assert [f.message for f in findings if f.case == "lung_004"] == ["the tumour consists of 2 separate lesions."]


def test_one_image_under_two_names_is_found(folder_root):
    shutil.copy(folder_root / "images/A1_pre.nii.gz", folder_root / "images/A1_post.nii.gz")
    shutil.copy(folder_root / "images/A1_pre.nii.gz", folder_root / "images/B2_pre.nii.gz")
    findings = check_dataset(folder.build(root=folder_root, patient="^(..)"))
    assert [(f.case, f.severity) for f in findings if "voxel for voxel" in f.message] == [
        ("A1_pre", "warning"),
        ("B2_pre", "error"),
    ]


def test_one_person_under_two_spellings_is_found(folder_root):
    for kind in ("images", "masks"):
        (folder_root / f"{kind}/B2_pre.nii.gz").rename(folder_root / f"{kind}/a-1_pre.nii.gz")
    (finding,) = check_dataset(folder.build(root=folder_root, patient="^(.+)_"))
    assert "'A1', 'a-1' may be one person" in finding.message


def test_cases_left_out_are_reported(lung1_root):
    findings = check_dataset(lung1.build(root=lung1_root))
    left_out = {f.case for f in findings if f.message.startswith("left out")}
    assert left_out == {"LUNG1-128", "LUNG1-300", "LUNG1-301", "LUNG1-302"}
    assert [f.case for f in findings if f.severity == "error" and "beside the nearest slice" in f.message] == [
        "LUNG1-021"
    ]


@pytest.mark.slow
def test_the_published_patients_are_sound(shared):
    findings = check_dataset(lung1.build(root=shared / "data/nsclc_radiomics"))
    assert {f.severity for f in findings} <= {"info"}


def test_images_on_which_nothing_is_drawn_are_checked_all_the_same(mock_patient, tmp_path):
    plain = mock_patient("PLAIN")
    plain.ct()
    shifted = mock_patient("SHIFTED")
    shifted.ct(intercept=0)  # no HU
    findings = check_dataset(dicom.build(root=tmp_path / "lung1"))
    said = {case: [f.message for f in findings if f.case == case] for case in ("PLAIN", "SHIFTED")}
    assert said["PLAIN"][0].startswith("left out: no readable RTSTRUCT or SEG")
    assert said["PLAIN"][1].startswith(
        "the image reads (CT, (3, 0.977, 0.977) mm, 12 x 64 x 64 voxels): fit to predict"
    )
    assert any("are not HU" in message for message in said["SHIFTED"])
    assert {f.severity for f in findings} == {"warning", "info"}
