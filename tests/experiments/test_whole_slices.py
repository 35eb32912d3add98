"""Slices that the cells of a run share for their pictures."""

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.experiments.gallery import picture, whole_slice
from oncoseg.experiments.store import SLICES, WholeSlice, read_whole, write_whole
from oncoseg.volume import Volume


@pytest.fixture
def whole():
    image = np.arange(48, dtype=np.float32).reshape(6, 8) - 1000
    masks = {"tumour": image > -970, "lung_left": image < -990}
    return WholeSlice(image, masks, (0.8, 0.7), 12, (-1000.0, 400.0))


def test_a_slice_comes_back_as_it_was_written(whole, tmp_path):
    name = write_whole(tmp_path, "LUNG1-001", whole)
    read = read_whole(tmp_path / SLICES / f"{name}.npz")
    assert (read.image == whole.image).all()
    assert {roi: mask.tolist() for roi, mask in read.references.items()} == {
        roi: mask.tolist() for roi, mask in whole.references.items()
    }
    assert (read.spacing, read.slice_index, read.window) == ((0.8, 0.7), 12, (-1000.0, 400.0))


def test_equal_slices_are_one_file_and_others_are_not(whole, tmp_path):
    names = {write_whole(tmp_path, "a", whole) for _ in range(2)}
    names.add(write_whole(tmp_path, "a", WholeSlice(whole.image, {}, whole.spacing, 12, whole.window)))
    assert len(names) == 2
    assert {f.stem for f in (tmp_path / SLICES).iterdir()} == names


def test_the_slice_is_chosen_by_the_reference_alone():
    voxels = np.zeros((4, 40, 40), bool)
    voxels[1, 10:14, 10:14] = voxels[2, 10:20, 10:20] = True
    image = Volume.from_spacing(np.full((4, 40, 40), -500, np.int16), (3, 1, 1))
    reference = image.with_voxels(voxels)
    elsewhere = image.with_voxels(np.roll(voxels, 1, axis=0))
    shown = [picture(image, reference, prediction).slice_index for prediction in (reference, elsewhere)]
    assert shown == [2, 2]
    whole = whole_slice(image, {"tumour": reference}, 2)
    assert whole.image.shape == (40, 40)
    assert whole.references["tumour"].sum() == 100


def test_a_damaged_slice_is_named(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"a\.npz is not a slice of a run"):
        read_whole(tmp_path / "a.npz")
