import numpy as np

from oncoseg.lesions import regions
from oncoseg.volume import Volume


def mask_of(*voxels, shape=(4, 6, 6)):
    marked = np.zeros(shape, bool)
    for voxel in voxels:
        marked[voxel] = True
    return Volume.from_spacing(marked, (3.0, 1.0, 1.0))


def test_voxels_that_touch_at_a_corner_are_one_lesion():
    assert len(regions(mask_of((0, 0, 0), (1, 1, 1)))) == 1


def test_lesions_come_in_the_order_of_their_first_voxel_with_their_boxes():
    found = regions(mask_of((3, 5, 5), (0, 2, 2), (0, 2, 3), (1, 0, 5)))
    assert [(r.start, r.stop) for r in found] == [
        ((0, 2, 2), (1, 3, 4)),
        ((1, 0, 5), (2, 1, 6)),
        ((3, 5, 5), (4, 6, 6)),
    ]


def test_a_region_holds_only_its_own_voxels():
    # An L round a single voxel: the boxes overlap, the voxels do not.
    mask = mask_of((0, slice(0, 5), 0), (0, 4, slice(0, 5)), (0, 0, 4))
    arm, dot = sorted(regions(mask), key=lambda r: -r.voxels.sum())
    assert arm.voxels.sum() == 9
    assert dot.voxels.sum() == 1


def test_slices_are_regions_one_slice_thick():
    found = regions(mask_of((1, 2, 2), (3, slice(1, 4), 5)), "slice")
    assert [(r.start, r.stop) for r in found] == [((1, 2, 2), (2, 3, 3)), ((3, 1, 5), (4, 4, 6))]


def test_the_volume_is_one_region():
    (whole,) = regions(mask_of((1, 2, 2), (3, 1, 5)), "volume")
    assert (whole.start, whole.stop) == ((1, 1, 2), (4, 3, 6))
    assert whole.voxels.sum() == 2


def test_an_empty_mask_has_no_region():
    assert [regions(mask_of(), per) for per in ("lesion", "slice", "volume")] == [[], [], []]
