import nibabel
import numpy as np
import pytest

from oncoseg.contracts import Entry
from oncoseg.datasets import kits19
from oncoseg.errors import ConfigError, InputError


def test_labelled_cases_are_patients_and_the_test_cases_are_told(kits19_root):
    data = kits19.build(root=kits19_root)
    assert data.entries() == [Entry(name, name) for name in ("case_00000", "case_00001", "case_00015")]
    assert data.info.warning.startswith(kits19.INFO.warning)
    assert "case_00210" in data.info.warning
    assert kits19.build(root=kits19_root / "data").entries() == data.entries()


def test_slices_come_first_whatever_the_files_say(kits19_root):
    # The affine of the project's README ("Voxel Spacing"), in LPS: slices to the feet, rows back, columns left.
    case = kits19.build(root=kits19_root).load("case_00000")
    assert case.image.shape == (9, 40, 36)
    assert case.image.spacing == pytest.approx((3.0, 0.8, 0.8))
    assert case.image.affine[:3, :3] == pytest.approx(np.array([[0, 0, 0.8], [0, 0.8, 0], [-3, 0, 0]]))
    assert case.facts["slice_spacing_mm"] == pytest.approx(3.0)
    assert case.facts["pixel_spacing_mm"] == pytest.approx(0.8)
    stored = nibabel.load(kits19_root / "data/case_00000/segmentation.nii.gz").get_fdata()
    assert (case.mask().voxels == (stored == 2)).all()
    assert (case.mask("kidney").voxels == (stored == 1)).all()


def test_files_that_someone_reoriented_are_read_the_same(kits19_root):
    before = kits19.build(root=kits19_root).load("case_00000")
    for kind in ("imaging", "segmentation"):
        file = kits19_root / f"data/case_00000/{kind}.nii.gz"
        image = nibabel.load(file)
        nibabel.save(
            nibabel.Nifti1Image(np.asarray(image.dataobj).transpose(2, 1, 0), image.affine[:, [2, 1, 0, 3]]), file
        )
    after = kits19.build(root=kits19_root).load("case_00000")
    assert after.image.same_grid(before.image)
    assert (after.image.voxels == before.image.voxels).all()


def test_an_image_that_was_not_fetched_is_named_with_the_layout(kits19_root):
    with pytest.raises(InputError, match=r"case_00001.imaging\.nii\.gz does not exist.*fetched the images"):
        kits19.build(root=kits19_root).load("case_00001")


def test_a_missing_segmentation_of_a_training_case_is_named(kits19_root):
    (kits19_root / "data/case_00015/segmentation.nii.gz").unlink()
    data = kits19.build(root=kits19_root)
    assert "case_00015" in [e.case for e in data.entries()]
    with pytest.raises(InputError, match=r"case_00015.segmentation\.nii\.gz does not exist"):
        data.load("case_00015")


def test_doubted_cases_can_be_left_out_and_are_told(kits19_root):
    data = kits19.build(root=kits19_root, leave_out=["case_00015"])
    assert [e.case for e in data.entries()] == ["case_00000", "case_00001"]
    assert list(data.excluded) == ["case_00015"]
    with pytest.raises(InputError, match="case_00015 of kits19 is left out: the option leave_out"):
        data.load("case_00015")
    assert data.fingerprint() != kits19.build(root=kits19_root).fingerprint()
    with pytest.raises(ConfigError, match="case_00299"):
        kits19.build(root=kits19_root, leave_out=["case_00299"])


def test_later_years_are_told_apart(kits19_root):
    folder = kits19_root / "data/case_00210"
    (folder / "segmentation.nii.gz").write_bytes((kits19_root / "data/case_00000/segmentation.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"case_00210.segmentation.*KiTS21 or KiTS23.*`folder`"):
        kits19.build(root=kits19_root)


def test_the_cyst_of_later_years_is_refused(kits19_root):
    file = kits19_root / "data/case_00000/segmentation.nii.gz"
    stored = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.full(stored.shape, 3, np.uint8), stored.affine), file)
    with pytest.raises(InputError, match=r"label values \[3\]"):
        kits19.build(root=kits19_root).load("case_00000")
