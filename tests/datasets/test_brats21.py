import shutil

import numpy as np
import pytest

from oncoseg.contracts import Entry
from oncoseg.datasets import brats21
from oncoseg.errors import ConfigError, InputError

#: Values of each region: Baid et al. 2021; nested, so whole > core > enhancing.
REGIONS = {"whole_tumour": [1, 2, 4], "tumour_core": [1, 4], "enhancing_tumour": [4]}


def test_labelled_cases_are_patients_wherever_they_lie(brats21_root):
    names = ["BraTS2021_00005", "BraTS2021_00017"]
    assert brats21.build(root=brats21_root).entries() == [Entry(name, name) for name in names]
    below = brats21_root / "BraTS2021_TrainingSet/new"
    assert [e.case for e in brats21.build(root=below).entries()] == names[1:]


def test_cases_of_the_validation_set_are_told_and_not_used(brats21_root):
    warning = brats21.build(root=brats21_root).info.warning
    assert warning.startswith(brats21.INFO.warning)
    assert "1 case that comes without a segmentation is not used" in warning
    assert "BraTS2021_00001" in warning
    assert brats21.build(root=brats21_root / "BraTS2021_TrainingSet").info.warning == brats21.INFO.warning


def test_the_whole_tumour_is_the_tumour_and_the_regions_are_further_masks(brats21_root):
    case = brats21.build(root=brats21_root).load("BraTS2021_00005")
    counts = {roi: int(mask.voxels.sum()) for roi, mask in case.masks.items()}
    assert set(counts) == {"tumour", *REGIONS}
    assert counts["tumour"] == counts["whole_tumour"] > counts["tumour_core"] > counts["enhancing_tumour"] > 0
    assert (case.mask("whole_tumour").voxels | ~case.mask("tumour_core").voxels).all()


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_can_be_the_tumour(brats21_root, region):
    data = brats21.build(root=brats21_root, tumour=region)
    assert list(data.labels["tumour"]) == REGIONS[region]
    case = data.load("BraTS2021_00017")
    assert (case.mask().voxels == case.mask(region).voxels).all()


def test_the_sequence_is_chosen_and_recorded(brats21_root):
    means = {}
    for sequence in ("flair", "t1", "t1ce", "t2"):
        case = brats21.build(root=brats21_root, sequence=sequence).load("BraTS2021_00005")
        assert case.facts["sequence"] == sequence
        assert case.image.voxels[0, 0, 0] == 0  # outside the brain
        means[sequence] = case.image.voxels[case.mask().voxels].mean()
    assert means == pytest.approx({"flair": 200, "t1": 400, "t1ce": 600, "t2": 800}, abs=3)
    prints = {brats21.build(root=brats21_root, sequence=s).fingerprint() for s in ("flair", "t1")}
    assert len(prints) == 2
    with pytest.raises(ConfigError, match="t3"):
        brats21.build(root=brats21_root, sequence="t3")


def test_a_missing_sequence_is_named_with_the_layout(brats21_root):
    next(brats21_root.rglob("BraTS2021_00005_t2.nii.gz")).unlink()
    with pytest.raises(InputError, match=r"BraTS2021_00005_t2\.nii\.gz does not exist.*_seg\.nii\.gz at any depth"):
        brats21.build(root=brats21_root, sequence="t2").load("BraTS2021_00005")
    assert brats21.build(root=brats21_root).load("BraTS2021_00005")


def test_a_case_that_is_there_twice_is_refused(brats21_root):
    shutil.copytree(brats21_root / "BraTS2021_TrainingSet/new", brats21_root / "copy")
    with pytest.raises(InputError, match=r"BraTS2021_00017.*Remove one"):
        brats21.build(root=brats21_root)


def test_the_label_3_of_later_years_is_refused(brats21_root, write_nifti):
    labels = np.zeros((12, 40, 36), np.uint8)
    labels[5:7, 10:20, 10:20] = 3
    write_nifti(next(brats21_root.rglob("BraTS2021_00005_seg.nii.gz")), labels, (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"label values \[3\]"):
        brats21.build(root=brats21_root).load("BraTS2021_00005")


def test_a_folder_without_labelled_cases_is_refused_with_the_layout(brats21_root):
    with pytest.raises(InputError, match=r"holds no case of data set 'brats21'.*Give `root`"):
        brats21.build(root=brats21_root / "BraTS2021_ValidationSet")
    with pytest.raises(InputError, match="not a folder"):
        brats21.build(root=brats21_root / "elsewhere")


def test_reads_a_real_glioma_with_the_same_label_map(shared, tmp_path):
    # shared/data/README.md: labels 1, 2, 4 of UPENN-GBM-00002 are 15, 169 and 28 mL.
    folder = tmp_path / "BraTS2021_00002"
    folder.mkdir()
    for source, kind in (("t2", "t2"), ("seg", "seg")):
        original = shared / f"data/upenn_gbm/UPENN-GBM-00002/{source}.nii.gz"
        (folder / f"{folder.name}_{kind}.nii.gz").symlink_to(original)
    case = brats21.build(root=tmp_path, sequence="t2").load(folder.name)
    millilitres = {roi: m.voxels.sum() * m.voxel_volume_mm3 / 1000 for roi, m in case.masks.items()}
    expected = {"tumour": 212, "whole_tumour": 212, "tumour_core": 43, "enhancing_tumour": 28}
    assert millilitres == pytest.approx(expected, abs=1.5)
