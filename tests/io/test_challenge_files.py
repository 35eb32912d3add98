import pytest

from oncoseg.contracts import DatasetInfo
from oncoseg.errors import InputError
from oncoseg.io.challenge_files import find_nifti, telling_of_unlabelled

INFO = DatasetInfo("mock", "Mock", "Give `root`.", "own", None, "CT", warning="Known before.")


@pytest.fixture
def tree(tmp_path):
    for name in ("a/case_1/image.nii.gz", "b/deep/case_2/image.NII", "case_1/mask.nii", "case_3/._image.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "case_4/image.nii.gz").mkdir(parents=True)
    (tmp_path / "case_5_image.nii.backup").write_bytes(b"x")
    return tmp_path


def test_files_are_found_by_the_end_of_their_path_at_any_depth(tree):
    found = find_nifti(tree, r"(case_\d)/(image|mask)")
    assert {key: file.relative_to(tree).as_posix() for key, file in found.items()} == {
        ("case_1", "image"): "a/case_1/image.nii.gz",
        ("case_1", "mask"): "case_1/mask.nii",
        ("case_2", "image"): "b/deep/case_2/image.NII",
    }


def test_the_pattern_begins_with_a_whole_name(tree):
    (tree / "test-volume-1.nii").write_bytes(b"x")
    assert find_nifti(tree, r"(volume)-(\d)") == {}
    assert list(find_nifti(tree, r"(test-volume|volume)-(\d)")) == [("test-volume", "1")]


def test_two_files_of_one_name_are_refused(tree):
    (tree / "a/case_1/image.nii").write_bytes(b"x")
    with pytest.raises(InputError, match=r"image\.nii and .*image\.nii\.gz are the same file"):
        find_nifti(tree, r"(case_\d)/(image|mask)")


def test_a_root_that_is_no_folder_is_refused(tree):
    with pytest.raises(InputError, match="not a folder"):
        find_nifti(tree / "case_1/mask.nii", "(mask)")


def test_cases_without_a_segmentation_join_the_warning():
    assert telling_of_unlabelled(INFO, []) is INFO
    one, many = telling_of_unlabelled(INFO, ["c7"]).warning, telling_of_unlabelled(INFO, ["c7", "c8", "c9"]).warning
    assert one == "Known before. 1 case that comes without a segmentation is not used: c7."
    assert many == "Known before. 3 cases that come without a segmentation are not used: c7 to c9."
