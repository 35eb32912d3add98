import gzip
import json

import pytest

from oncoseg.contracts import Entry
from oncoseg.datasets import msd
from oncoseg.errors import ConfigError, InputError
from oncoseg.lesions import regions


def test_lists_the_training_cases_without_side_files_of_macos(msd_root):
    names = ["lung_001", "lung_004", "lung_009", "lung_053"]
    assert msd.build(root=msd_root).entries() == [Entry(name, name) for name in names]


def test_reads_image_and_tumour_on_one_grid(msd_root):
    case = msd.build(root=msd_root).load("lung_004")
    assert case.image.shape == (24, 64, 64)
    assert case.image.spacing == pytest.approx((3.0, 0.977, 0.977))
    assert list(case.masks) == ["tumour"]
    assert len(regions(case.mask())) == 2
    assert case.image.voxels[case.mask().voxels].mean() == pytest.approx(40, abs=5)


def test_a_listed_file_that_is_missing_is_named_and_the_others_are_read(msd_root):
    tasks = msd.build(root=msd_root)
    with pytest.raises(InputError, match=r"lung_053\.nii\.gz does not exist"):
        tasks.load("lung_053")
    assert tasks.load("lung_009").mask().voxels[0].any()


@pytest.mark.parametrize(
    ("labels", "rois"),
    [
        ({"0": "background", "1": "pancreas", "2": "cancer"}, {"pancreas": (1,), "tumour": (2,)}),
        ({"0": "background", "1": "Vessel", "2": "Tumour"}, {"vessel": (1,), "tumour": (2,)}),
        ({"0": "background", "1": "liver", "2": "cancer"}, {"liver": (1,), "tumour": (2,)}),
    ],
)
def test_knows_which_label_is_the_tumour(msd_root, labels, rois):
    source = msd_root / "dataset.json"
    source.write_text(json.dumps({**json.loads(source.read_text()), "labels": labels}))
    assert msd.build(root=msd_root).labels == rois


def test_asks_when_no_label_is_the_tumour(msd_root):
    source = msd_root / "dataset.json"
    labels = {"0": "background", "1": "left atrium", "2": "right atrium"}
    source.write_text(json.dumps({**json.loads(source.read_text()), "labels": labels}))
    with pytest.raises(ConfigError, match="left atrium, right atrium is the tumour"):
        msd.build(root=msd_root)
    assert msd.build(root=msd_root, tumour="right atrium").labels["tumour"] == (2,)


def test_liver_says_that_it_shares_cases_with_lits(msd_root):
    liver = msd_root.rename(msd_root.parent / "Task03_Liver")
    assert "LiTS" in msd.build(root=liver).info.warning
    assert msd.INFO.warning is None


@pytest.mark.parametrize("content", ["[]", "{}", '{"labels": {"0": "background", "1": "cancer"}}', "{"])
def test_another_dataset_json_is_refused(msd_root, content):
    (msd_root / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=r"dataset\.json"):
        msd.build(root=msd_root)


def test_the_tasks_of_m_sam_need_no_option(msd_root):
    # Antonelli et al. 2022; the label tables as the archives of Task07 and Task08 hold them.
    for task, organ, tumour in (
        ("Task07_Pancreas", "pancreas", "cancer"),
        ("Task08_HepaticVessel", "Vessel", "Tumour"),
    ):
        root = msd_root.rename(msd_root.parent / task)
        source = root / "dataset.json"
        labels = {"0": "background", "1": organ, "2": tumour}
        source.write_text(json.dumps({**json.loads(source.read_text()), "labels": labels}))
        data = msd.build(root=root)
        assert data.labels == {organ.lower(): (1,), "tumour": (2,)}
        assert data.info.title.endswith(task)
        case = data.load("lung_001")  # the mock holds label 1 alone
        assert case.mask(organ.lower()).voxels.any()
        assert not case.mask().voxels.any()
        msd_root = root


def test_unzipped_files_are_found_under_their_listed_names(msd_root):
    for folder in ("imagesTr", "labelsTr"):
        zipped = msd_root / folder / "lung_004.nii.gz"
        (msd_root / folder / "lung_004.nii").write_bytes(gzip.decompress(zipped.read_bytes()))
        zipped.unlink()
    assert msd.build(root=msd_root).load("lung_004").mask().voxels.any()
