import numpy as np
import pytest

from oncoseg.contracts import Entry, Excluding
from oncoseg.datasets import lits
from oncoseg.errors import InputError


def test_volumes_are_paired_over_batches_zipped_or_not(lits_root):
    data = lits.build(root=lits_root)
    assert data.entries() == [Entry(name, name) for name in ("volume-0", "volume-32", "volume-50")]
    case = data.load("volume-0")
    assert case.image.spacing == pytest.approx((5.0, 0.7, 0.7))
    assert set(case.masks) == {"liver", "tumour"}
    assert not (case.mask("liver").voxels & case.mask().voxels).any()
    assert case.mask().voxels.sum() > 20
    assert case.notes == ()


def test_test_volumes_are_told_and_not_used(lits_root):
    warning = lits.build(root=lits_root).info.warning
    assert warning.startswith(lits.INFO.warning)
    assert "test-volume-3" in warning


def test_volumes_without_a_tumour_are_kept_and_noted(lits_root):
    case = lits.build(root=lits_root).load("volume-32")
    assert not case.mask().voxels.any()
    assert case.mask("liver").voxels.any()
    assert case.notes == ("its reference has no tumour",)


def test_volumes_without_a_tumour_are_left_out_when_asked(lits_root):
    data = lits.build(root=lits_root, without_tumour="leave_out")
    assert [e.case for e in data.entries()] == ["volume-0", "volume-50"]
    assert isinstance(data, Excluding)
    assert data.excluded == {"volume-32": "its reference has no tumour"}
    assert data.fingerprint() != lits.build(root=lits_root).fingerprint()
    assert len(lits.WITHOUT_TUMOUR) == 13  # 118 of the 131 volumes hold one


def test_a_segmentation_with_another_header_lies_on_its_image_and_says_so(lits_root):
    case = lits.build(root=lits_root).load("volume-50")
    assert case.mask().same_grid(case.image)
    assert (case.mask().voxels == lits.build(root=lits_root).load("volume-0").mask().voxels).all()
    assert len(case.notes) == 1
    assert "header" in case.notes[0]


def test_a_segmentation_of_another_shape_is_refused(lits_root, write_nifti):
    write_nifti(lits_root / "Batch 1/segmentation-0.nii", np.ones((9, 36, 40), np.uint8))
    with pytest.raises(InputError, match=r"volume-0\.nii has shape \(10, 36, 40\).*segmentation-0\.nii \(9, 36, 40\)"):
        lits.build(root=lits_root).load("volume-0")


@pytest.mark.parametrize("gone", ["volume", "segmentation"])
def test_half_a_pair_is_listed_and_names_what_is_missing(lits_root, gone):
    (lits_root / f"Batch 1/{gone}-0.nii").unlink()
    data = lits.build(root=lits_root)
    assert len(data.entries()) == 3
    with pytest.raises(InputError, match=rf"Batch 1.{gone}-0\.nii does not exist.*segmentation-0\.nii \.\.\. at any"):
        data.load("volume-0")


def test_a_zipped_copy_beside_the_file_is_refused(lits_root):
    (lits_root / "Batch 1/volume-0.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"volume-0\.nii.*volume-0\.nii\.gz.*Remove one"):
        lits.build(root=lits_root)
