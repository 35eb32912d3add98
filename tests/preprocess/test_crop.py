"""Crops keep their place, may leave the volume, and come back."""

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.preprocess.crop import crop_box, crop_or_pad, crop_round, paste
from oncoseg.prompt import Box
from oncoseg.volume import Volume


@pytest.fixture
def volume() -> Volume:
    return Volume.from_spacing(np.arange(6 * 8 * 9, dtype=np.int16).reshape(6, 8, 9), (3, 1, 1.5), (5, 6, 7))


def test_inside_it_is_the_volumes_own_crop(volume):
    crop = crop_or_pad(volume, (1, 2, 3), (4, 6, 8))
    assert np.array_equal(crop.voxels, volume.crop((1, 2, 3), (4, 6, 8)).voxels)
    assert crop.same_grid(volume.crop((1, 2, 3), (4, 6, 8)))


def test_outside_it_is_filled_and_every_voxel_stays_in_its_place(volume):
    crop = crop_or_pad(volume, (-2, 5, 7), (3, 12, 11), fill=-1024)
    assert crop.shape == (5, 7, 4)
    assert crop.voxels[2, 0, 0] == volume.voxels[0, 5, 7]
    assert (crop.voxels[:2] == -1024).all()
    assert (crop.voxels[:, 3:] == -1024).all()
    assert crop.index_to_mm([2, 0, 0]) == pytest.approx(volume.index_to_mm([0, 5, 7]))


def test_far_away_there_is_only_fill(volume):
    assert (crop_or_pad(volume, (50, 0, 0), (52, 2, 2), fill=3).voxels == 3).all()


def test_round_a_centre(volume):
    crop = crop_round(volume, (3, 4, 4), (4, 4, 5))
    assert crop.voxels[2, 2, 2] == volume.voxels[3, 4, 4]


def test_round_a_box_with_a_margin_in_mm(volume):
    box = Box((2, 3, 3), (3, 5, 5))
    assert crop_box(volume, box, margin_mm=3).shape == (3, 8, 6)
    assert crop_box(volume, box, margin_mm=30).shape == volume.shape
    assert crop_box(volume, box, margin_mm=30, fill=0).shape == (21, 62, 42)


def test_a_box_beside_the_volume_is_refused(volume):
    with pytest.raises(InputError, match="leaves the volume"):
        crop_box(volume, Box((10, 0, 0), (11, 2, 2)))


@pytest.mark.parametrize(("start", "stop"), [((1, 2, 3), (4, 6, 8)), ((-3, -1, 4), (2, 20, 7))])
def test_pastes_back_where_it_came_from(volume, start, stop):
    back = paste(crop_or_pad(volume, start, stop), volume, fill=-1)
    window = tuple(slice(max(a, 0), b) for a, b in zip(start, stop, strict=True))
    assert np.array_equal(back.voxels[window], volume.voxels[window])
    rest = np.ones(volume.shape, bool)
    rest[window] = False
    assert (back.voxels[rest] == -1).all()
    assert np.array_equal(back.affine, volume.affine)


def test_a_crop_between_the_voxels_is_not_pasted(volume):
    shifted = volume.affine.copy()
    shifted[0, 3] += 0.4
    with pytest.raises(InputError, match="resample_like"):
        paste(Volume(volume.voxels, shifted), volume)


def test_an_empty_crop_is_refused(volume):
    with pytest.raises(InputError, match="empty"):
        crop_or_pad(volume, (1, 1, 1), (1, 3, 3))
