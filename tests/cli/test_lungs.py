import numpy as np
import pytest

from oncoseg.datasets.phantom import build as phantom
from oncoseg.io.images import read_labels, write_volume


@pytest.fixture
def chest(tmp_path):
    data = phantom(cases=1, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    case = data.load(data.entries()[0].case)
    write_volume(tmp_path / "ct.nii.gz", case.image)
    return case, tmp_path


def test_writes_the_right_lung_as_one_and_the_left_as_two(oncoseg, chest):
    case, folder = chest
    result = oncoseg("lungs", folder / "ct.nii.gz", "--out", folder / "lungs.nii.gz")
    assert result.code == 0, result.err
    labels = read_labels(folder / "lungs.nii.gz")
    assert case.image.same_grid(labels)
    for value, side in ((1, "right"), (2, "left")):
        drawn, found = case.mask(f"lung_{side}").voxels, labels.voxels == value
        assert 2 * (drawn & found).sum() / (drawn.sum() + found.sum()) > 0.9
    assert "(classical)" in result.err


def test_lungs_that_look_wrong_are_named(oncoseg, chest):
    case, folder = chest
    write_volume(folder / "air.nii.gz", case.image.with_voxels(np.full(case.image.shape, -1000, np.int16)))
    result = oncoseg("lungs", folder / "air.nii.gz", "--out", folder / "lungs.nii.gz")
    assert (result.code, "look at it: lungs (classical): no right lung was found" in result.err) == (0, True)


def test_options_of_networks_need_a_network(oncoseg, chest):
    _, folder = chest
    result = oncoseg("lungs", folder / "ct.nii.gz", "--out", folder / "lungs.nii.gz", "--lobes")
    assert (result.code, "give --weights too" in result.err) == (2, True)
    assert not (folder / "lungs.nii.gz").exists()


def test_a_training_says_which_lungs_it_does_not_know(oncoseg, tmp_path):
    result = oncoseg("train", "unet", "phantom", "--out", tmp_path / "t", "--steps", 1, "--lungs", "clasical")
    assert (result.code, "Did you mean: classical" in result.err) == (2, True)
    assert not (tmp_path / "t").exists()
