"""Grids are what their affines say, values are scipy's B-splines, and the way back fits exactly."""

import numpy as np
import pytest
from scipy import ndimage

from oncoseg.errors import InputError
from oncoseg.preprocess.resample import grid_at, resample, resample_like, restore_probability
from oncoseg.volume import Volume


def tissue(shape=(14, 40, 44), spacing=(3.0, 0.8, 0.8), dtype="float32", seed=0) -> Volume:
    """HU like those of a CT: soft tissue and lung with sharp borders and noise."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    voxels = np.where(smooth > 0, 40.0, -860.0) + rng.normal(0, 15, shape)
    return Volume.from_spacing(np.rint(voxels).astype(dtype), spacing, (-12, 7, 100))


def rotated(volume: Volume, degrees: float) -> np.ndarray:
    turn = np.eye(4)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn[:2, :2] = [[c, -s], [s, c]]
    return turn @ volume.affine


def scipys(volume: Volume, grid: Volume, order: int) -> np.ndarray:
    to_index = np.linalg.solve(volume.affine, grid.affine)
    voxels = volume.voxels.astype(np.float64)
    return ndimage.affine_transform(voxels, to_index, order=order, mode="mirror", output_shape=grid.shape)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("spacing", [(3, 1, 1), (1, 1, 1), (5.0, 0.8, 2.5), (2.2, 0.31, 0.9)])
def test_equals_scipy_everywhere(spacing, order):
    volume = tissue(dtype="int16")
    result = resample(volume, spacing=spacing, order=order)
    assert result.voxels.dtype == np.float32
    assert result.spacing == pytest.approx(spacing)
    assert np.abs(result.voxels - scipys(volume, result, order)).max() < 1e-3


def test_the_new_grid_covers_the_old_field_round_the_same_centre():
    volume = tissue()
    for spacing in [(3, 1, 1), (1, 1, 1), (7.3, 2.1, 0.3), (100, 100, 100)]:
        grid = grid_at(volume, spacing)
        middle = volume.index_to_mm((np.array(volume.shape) - 1) / 2)
        assert grid.index_to_mm((np.array(grid.shape) - 1) / 2) == pytest.approx(middle)
        assert (np.array(grid.shape) * grid.spacing >= np.array(volume.shape) * volume.spacing - 0.02).all()
        centres = volume.mm_to_index(grid.index_to_mm([np.zeros(3), np.array(grid.shape) - 1]))
        assert (centres > -0.51).all()
        assert (centres < np.array(volume.shape) - 0.49).all()


def test_a_ramp_in_millimetres_stays_where_it_is():
    volume = tissue()
    z, y, x = np.meshgrid(*map(np.arange, volume.shape), indexing="ij")
    place = volume.index_to_mm(np.stack([z, y, x], axis=-1))
    ramp = volume.with_voxels((place @ [2.0, -3.0, 0.5]).astype(np.float32))
    result = resample(ramp, spacing=(2, 1.1, 0.7), order=1)
    inner = (slice(2, -2),) * 3
    indices = np.stack(np.meshgrid(*map(np.arange, result.shape), indexing="ij"), axis=-1)
    expected = result.index_to_mm(indices) @ [2.0, -3.0, 0.5]
    assert np.abs(result.voxels - expected)[inner].max() < 1e-3


def test_the_same_spacing_changes_nothing():
    volume = tissue()
    assert np.array_equal(resample(volume, spacing=volume.spacing).voxels, volume.voxels)


def test_a_probability_returns_to_the_scanners_grid_exactly():
    volume = tissue()
    working = grid_at(volume, (2.1, 1.3, 1.7))
    probability = working.with_voxels(np.ones(working.shape, np.float32))
    back = restore_probability(probability, volume)
    assert back.shape == volume.shape
    assert np.array_equal(back.affine, volume.affine)
    assert back.voxels == pytest.approx(1.0)


def test_a_probability_stays_between_zero_and_one_and_is_zero_beyond_its_crop():
    volume = tissue()
    crop = volume.crop((4, 10, 10), (10, 30, 30))
    rng = np.random.default_rng(1)
    probability = crop.with_voxels(rng.random(crop.shape, dtype=np.float32))
    back = restore_probability(resample(probability, spacing=(2, 1, 1)), volume)
    assert back.voxels.min() >= 0
    assert back.voxels.max() <= 1
    assert (back.voxels[:3] == 0).all()
    assert (back.voxels[:, :, 35:] == 0).all()
    assert back.voxels[6:8, 15:25, 15:25].mean() == pytest.approx(0.5, abs=0.1)


def test_clip_keeps_the_range_cubic_splines_overshoot():
    volume = tissue()
    assert resample(volume, spacing=(2, 1, 1)).voxels.min() < volume.voxels.min()
    clipped = resample(volume, spacing=(2, 1, 1), clip=True).voxels
    assert clipped.min() >= volume.voxels.min()
    assert clipped.max() <= volume.voxels.max()


@pytest.mark.parametrize("order", [0, 1])
def test_masks_stay_masks_of_the_same_volume(order):
    volume = tissue()
    z, y, x = np.meshgrid(*map(np.arange, volume.shape), indexing="ij")
    ball = ((z - 6.5) * 3) ** 2 + ((y - 20) * 0.8) ** 2 + ((x - 22) * 0.8) ** 2 < 12**2
    mask = resample(volume.with_voxels(ball), spacing=(1.5, 1, 1), order=order)
    assert mask.voxels.dtype == bool
    assert mask.voxels.sum() * mask.voxel_volume_mm3 == pytest.approx(ball.sum() * volume.voxel_volume_mm3, rel=0.04)


def test_labels_keep_their_type_and_values_with_the_nearest_voxel():
    volume = tissue()
    labels = volume.with_voxels(np.random.default_rng(0).integers(0, 5, volume.shape).astype(np.uint8))
    result = resample(labels, spacing=(1, 1, 1), order=0)
    assert result.voxels.dtype == np.uint8
    assert set(np.unique(result.voxels)) <= {0, 1, 2, 3, 4}


def test_turned_and_permuted_axes_are_followed():
    volume = tissue()
    turned = Volume(volume.voxels[::-1, :, ::-1].transpose(2, 0, 1), np.eye(4))
    corner = volume.index_to_mm(np.array([volume.shape[0] - 1, 0, volume.shape[2] - 1]))
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3][:, [2, 0, 1]] * [-1, -1, 1]
    affine[:3, 3] = corner
    turned = Volume(turned.voxels, affine)
    assert np.abs(resample_like(volume, turned).voxels - turned.voxels).max() < 2e-3
    assert np.array_equal(resample_like(turned, volume, order=0).voxels, volume.voxels)


def test_oblique_grids_match_scipy_inside_and_are_filled_outside():
    volume = tissue(shape=(10, 30, 30))
    grid = Volume(np.zeros((10, 34, 30)), rotated(volume, 20))
    result = resample_like(volume, grid, order=3, fill=-1024)
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    index = volume.mm_to_index(grid.index_to_mm(indices))
    inside = ((index > -0.49) & (index < np.array(volume.shape) - 0.51)).all(axis=-1)
    outside = ((index < -0.51) | (index > np.array(volume.shape) - 0.49)).any(axis=-1)
    assert inside.any()
    assert np.abs(result.voxels - scipys(volume, grid, 3))[inside].max() < 2e-2
    assert (result.voxels[outside] == -1024).all()
    with pytest.raises(InputError, match="parallel"):
        resample_like(volume, grid, antialias=True)


def test_antialiasing_removes_what_the_coarse_grid_cannot_show():
    stripes = np.tile(np.array([100.0, -100.0], np.float32), 32)
    volume = Volume.from_spacing(np.broadcast_to(stripes, (4, 8, 64)).copy(), (1, 1, 1))
    assert np.abs(resample(volume, spacing=(1, 1, 3)).voxels).max() > 50
    assert np.abs(resample(volume, spacing=(1, 1, 3), antialias=True).voxels).max() < 5


def test_one_slice_is_enough():
    volume = tissue(shape=(1, 12, 12))
    result = resample(volume, spacing=(1, 0.8, 0.8))
    assert result.shape == (3, 12, 12)
    assert np.abs(result.voxels - volume.voxels[0]).max() < 1e-3


@pytest.mark.parametrize("spacing", [(1, 1), (0, 1, 1), (1, -1, 1), (1, np.nan, 1)])
def test_refuses_a_spacing_that_is_none(spacing):
    with pytest.raises(InputError, match="three positive numbers"):
        resample(tissue(), spacing=spacing)


def test_refuses_unknown_orders_and_nan():
    with pytest.raises(InputError, match="order 2"):
        resample(tissue(), spacing=(1, 1, 1), order=2)
    broken = tissue()
    broken.voxels[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        resample(broken, spacing=(1, 1, 1))
