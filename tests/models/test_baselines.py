"""What the prompt alone, or a threshold, is worth."""

import numpy as np
import pytest

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import ellipsoid, empty, filled_box, region_growing
from oncoseg.prompt import Box
from oncoseg.volume import Volume

SHAPE, SPACING = (16, 48, 48), (2.0, 0.7, 0.7)


def ball(centre, radius_mm):
    offset = (np.indices(SHAPE).transpose(1, 2, 3, 0) - centre) * SPACING
    return (offset**2).sum(axis=-1) <= radius_mm**2


def scene(tumour_hu, around_hu, noise=15.0):
    tumour = ball((8, 24, 24), 9.0)
    voxels = np.where(tumour, tumour_hu, around_hu) + np.random.default_rng(0).normal(0, noise, SHAPE)
    return Volume.from_spacing(voxels.astype(np.float32), SPACING), tumour


BOX = Box((4, 11, 11), (13, 38, 38))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_filled_box_is_the_box_and_overlapping_boxes_their_union():
    image, _ = scene(40, -800)
    second = Box((12, 30, 30), (14, 40, 48))
    found = filled_box.build().predict(image, [BOX, second]).voxels
    expected = np.zeros(SHAPE, bool)
    expected[4:13, 11:38, 11:38] = True
    expected[12:14, 30:40, 30:48] = True
    np.testing.assert_array_equal(found == 1, expected)


def test_ellipsoid_fits_a_ball_and_ellipses_fit_its_slices():
    image, tumour = scene(40, -800)
    whole = ellipsoid.build().predict(image, [BOX]).voxels > 0.5
    assert dice(whole, tumour) > 0.94
    slices = [Box((k, 11, 11), (k + 1, 38, 38)) for k in range(4, 13)]
    cylinder = ellipsoid.build().predict(image, slices).voxels > 0.5
    assert (cylinder.sum(axis=(1, 2))[4:13] == cylinder[8].sum()).all()
    np.testing.assert_array_equal(cylinder[8], whole[8])


def test_empty_is_empty():
    image, _ = scene(40, -800)
    assert not empty.build().predict(image).voxels.any()


@pytest.mark.parametrize(
    ("tumour_hu", "around_hu"), [(40, -850), (-600, -870), (60, -100)], ids=["solid", "ground glass", "in fat"]
)
def test_region_growing_finds_a_tumour_by_its_density(tumour_hu, around_hu):
    image, tumour = scene(tumour_hu, around_hu)
    found = region_growing.build().predict(image, [BOX]).voxels > 0.5
    assert dice(found, tumour) > 0.93


def test_region_growing_leaves_a_vessel_that_only_touches():
    image, tumour = scene(40, -850)
    image.voxels[8, 24, 36:] = 40
    found = region_growing.build(smoothing_mm=0.0).predict(image, [Box((4, 8, 8), (13, 41, 41))]).voxels > 0.5
    assert dice(found, tumour) > 0.95
    assert found[8, 24, 36]
    assert not found[8, 24, 38:].any()


def test_region_growing_leaves_bone_next_to_the_tumour():
    image, tumour = scene(40, -850)
    image.voxels[4:13, 11:38, 34:38] = 900
    found = region_growing.build().predict(image, [BOX]).voxels > 0.5
    assert not found[:, :, 35:].any()
    assert dice(found, tumour) > 0.9


def test_region_growing_stays_in_the_box_and_works_in_one_slice():
    image, _ = scene(40, -850)
    small = Box((8, 20, 20), (9, 30, 40))
    found = region_growing.build().predict(image, [small]).voxels > 0.5
    assert found.sum() == found[8, 20:30, 20:40].sum() > 50


def test_region_growing_of_uniform_tissue_is_the_box():
    image = Volume.from_spacing(np.full(SHAPE, 40, np.int16), SPACING)
    found = region_growing.build().predict(image, [BOX]).voxels
    assert found.sum() == 9 * 27 * 27


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="spread"):
        region_growing.build(spread=0.0)
    with pytest.raises(ConfigError, match="smoothing_mm"):
        region_growing.build(smoothing=1.0)
    with pytest.raises(InputError, match="no weights"):
        filled_box.build(weights="a.pth")
