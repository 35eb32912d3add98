"""A pasted nodule keeps its volume and HU, lies where it was asked to, and leaves no seam."""

import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.errors import InputError
from oncoseg.preprocess.insert import Nodule, insert_nodule
from oncoseg.volume import Volume


@pytest.fixture
def thorax() -> Volume:
    rng = np.random.default_rng(0)
    return Volume.from_spacing((rng.normal(-860, 20, (24, 64, 64))).astype(np.int16), (2.5, 1, 1), (10, 20, 30))


@pytest.fixture
def nodule() -> Nodule:
    """A ball of 7 mm radius and 30 HU in a crop with lung of -780 HU round it."""
    z, y, x = np.meshgrid(*(np.arange(40) - 19.5,) * 3, indexing="ij")
    mask = z**2 + y**2 + x**2 < (7 / 0.6) ** 2
    hu = np.where(mask, 30, -780).astype(np.int16)
    return Nodule(Volume.from_spacing(hu, (0.6, 0.6, 0.6)), Volume.from_spacing(mask, (0.6, 0.6, 0.6)))


def test_keeps_volume_hu_and_place(thorax, nodule):
    image, mask = insert_nodule(thorax, nodule, position_index=(12, 30, 34))
    assert image.voxels.dtype == thorax.voxels.dtype
    assert np.argwhere(mask.voxels).mean(axis=0) == pytest.approx((12, 30, 34), abs=0.3)
    wanted = nodule.mask.voxels.sum() * nodule.mask.voxel_volume_mm3
    assert mask.voxels.sum() * mask.voxel_volume_mm3 == pytest.approx(wanted, rel=0.06)
    assert np.median(image.voxels[mask.voxels]) == pytest.approx(30, abs=10)
    assert image.same_grid(thorax)


def test_leaves_the_rest_untouched_and_the_rim_at_the_level_of_the_thorax(thorax, nodule):
    image = insert_nodule(thorax, nodule, position_index=(12, 30, 34), blend_mm=4).image
    z, y, x = np.meshgrid(*map(np.arange, thorax.shape), indexing="ij")
    away = np.sqrt(((z - 12) * 2.5) ** 2 + (y - 30) ** 2 + (x - 34) ** 2)
    assert np.array_equal(image.voxels[away > 13], thorax.voxels[away > 13])
    rim = (away > 9.5) & (away < 11)
    assert np.median(image.voxels[rim]) == pytest.approx(-860, abs=25)


def test_a_hard_paste_changes_the_mask_only(thorax, nodule):
    image, mask = insert_nodule(thorax, nodule, position_index=(12, 30, 34), blend_mm=0)
    assert np.array_equal(image.voxels[~mask.voxels], thorax.voxels[~mask.voxels])


def test_takes_a_case_and_repeats_itself(thorax, nodule):
    first = insert_nodule(Case("a", "a", thorax), nodule, position_index=(12, 30, 34))
    second = insert_nodule(thorax, nodule, position_index=(12, 30, 34))
    assert np.array_equal(first.image.voxels, second.image.voxels)
    assert np.array_equal(first.mask.voxels, second.mask.voxels)


def test_a_crop_as_thin_as_its_nodule_is_no_obstacle(thorax, nodule):
    used = np.flatnonzero(nodule.mask.voxels.any(axis=(1, 2)))
    start, stop = (int(used[0]), 5, 5), (int(used[-1]) + 1, 35, 35)
    thin = Nodule(nodule.image.crop(start, stop), nodule.mask.crop(start, stop))
    image, mask = insert_nodule(thorax, thin, position_index=(12, 30, 34))
    assert image.voxels.min() > -1024
    assert mask.voxels.sum() > 400


def test_must_fit_the_volume_and_the_lung(thorax, nodule):
    with pytest.raises(InputError, match="outside the volume"):
        insert_nodule(thorax, nodule, position_index=(1, 30, 34))
    lung = thorax.with_voxels(np.broadcast_to(np.arange(64) < 38, thorax.shape).copy())
    with pytest.raises(InputError, match="outside the lung"):
        insert_nodule(thorax, nodule, position_index=(12, 30, 34), lung=lung)
    assert insert_nodule(thorax, nodule, position_index=(12, 30, 25), lung=lung).mask.voxels.any()


def test_an_empty_mask_is_no_nodule(nodule):
    empty = nodule.mask.with_voxels(np.zeros(nodule.mask.shape, bool))
    with pytest.raises(InputError, match="not empty"):
        Nodule(nodule.image, empty)


def test_one_lesion_is_cut_from_a_case_with_its_surroundings(thorax):
    voxels = np.zeros(thorax.shape, bool)
    voxels[3:5, 10:14, 10:14] = voxels[15:18, 40:50, 62:64] = True
    case = Case("two", "p", thorax, {"tumour": thorax.with_voxels(voxels)})
    cut = Nodule.cut(case, lesion=1, margin_mm=3)
    assert cut.mask.voxels.sum() == 3 * 10 * 2
    assert cut.image.shape == (3 + 2 * 2, 10 + 2 * 3, 2 + 3), "the margin ends at the image's border"
    assert cut.image.index_to_mm([0, 0, 0]) == pytest.approx(thorax.index_to_mm([13, 37, 59]))
    with pytest.raises(InputError, match="2 lesions, counted from 0; there is no lesion 2"):
        Nodule.cut(case, lesion=2)
