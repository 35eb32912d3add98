import numpy as np

from oncoseg.lesions import components, deepest, depth_mm, nearest_inside, regions
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


def test_depth_is_the_distance_to_the_outside_in_millimetres():
    """Three slices of 3 mm, five by five pixels of 1 mm: the middle is 3 mm from the next pixel outside."""
    (region,) = regions(mask_of((slice(1, 4), slice(0, 5), slice(1, 6)), shape=(5, 6, 7)))
    depth = depth_mm(region, (3.0, 1.0, 1.0))
    assert depth[1, 2, 2] == 3.0
    assert depth[0, 2, 2] == 3.0
    assert depth[1, 0, 2] == 1.0  # the border of the image is a border of the region too
    assert deepest(region, (3.0, 1.0, 1.0)) == (2, 2, 3)


def test_depth_in_a_region_of_one_slice_is_taken_on_it():
    (region,) = regions(mask_of((2, slice(0, 5), slice(0, 5))), "slice")
    assert depth_mm(region, (0.5, 1.0, 1.0))[0, 2, 2] == 3.0


def test_the_nearest_voxel_is_nearest_in_millimetres():
    (region,) = regions(mask_of((0, 3, 3), (1, 3, 3), (1, 3, 5), (1, 3, 4)))
    assert nearest_inside(region, np.array([0.0, 3.0, 5.0]), (3.0, 1.0, 1.0)) == (0, 3, 3)
    assert nearest_inside(region, np.array([0.0, 3.0, 5.0]), (0.5, 1.0, 1.0)) == (1, 3, 5)


def test_parts_of_a_region_keep_their_places():
    mask = mask_of((0, 0, 0), (3, 5, 5))
    (whole,) = regions(mask, "volume")
    assert [(p.start, p.stop) for p in components(whole)] == [(r.start, r.stop) for r in regions(mask)]


def test_two_voxels_above_each_other_are_two_lesions():
    mask = np.zeros((5, 4, 4), bool)
    mask[1, 2, 2] = mask[3, 2, 2] = True
    assert [r.start for r in regions(Volume.from_spacing(mask, (1.0, 1.0, 1.0)))] == [(1, 2, 2), (3, 2, 2)]


def test_masks_that_may_not_be_written_have_lesions_too():
    mask = mask_of((0, slice(0, 2), slice(0, 2)), (0, 5, 5), shape=(1, 6, 6))
    mask.voxels.setflags(write=False)
    assert len(regions(mask)) == 2
