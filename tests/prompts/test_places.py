"""Where clicks, scribbles and masks lie, by hand."""

import numpy as np
import pytest

from oncoseg.errors import ConfigError
from oncoseg.lesions import regions
from oncoseg.prompts import centre_click, centre_of_mass, centre_of_volume, edge_click, rough_mask, scribble
from oncoseg.volume import Volume


def volume(voxels, spacing=(2.0, 1.0, 1.0)):
    return Volume.from_spacing(voxels, spacing)


def made(module, reference, seed=0, **options):
    return module.build(**options)(reference, np.random.default_rng(seed))


@pytest.fixture
def block():
    mask = np.zeros((9, 24, 24), bool)
    mask[2:7, 4:17, 6:19] = True
    return volume(mask)


@pytest.fixture
def corner():
    """An L on one slice: 10 x 2 voxels down, 2 x 10 along the foot; 36 in all."""
    mask = np.zeros((3, 14, 14), bool)
    mask[1, 2:12, 2:4] = mask[1, 10:12, 2:12] = True
    return volume(mask)


def test_the_centre_of_mass_is_the_mean_position(block):
    (only,) = made(centre_of_mass, block)
    assert (only.index, only.source, only.lesion) == ((4, 10, 12), "oracle", 1)


def test_the_centre_of_mass_of_a_bent_lesion_is_moved_into_it(corner):
    """Mean: row (20 * 6.5 + 16 * 10.5) / 36 = 8.28, column (20 * 2.5 + 16 * 7.5) / 36 = 4.72, outside the L."""
    (only,) = made(centre_of_mass, corner)
    assert corner.voxels[only.index]
    assert only.index in ((1, 8, 3), (1, 10, 5))


def test_the_centre_of_volume_halves_the_lesion(block, corner):
    assert made(centre_of_volume, block)[0].index == (4, 10, 12)
    # 18 of 36 voxels are reached in row 10 (8 rows of 2, then 10); in it half of 10 in column 6.
    assert made(centre_of_volume, corner)[0].index == (1, 10, 6)


def test_a_click_goes_from_the_middle_to_the_border(block):
    centre = made(centre_click, block)[0].index
    assert made(edge_click, block, off_centre=0.0)[0].index == centre
    for seed in range(20):
        steps = [np.array(made(edge_click, block, seed, off_centre=share)[0].index) for share in (0, 0.5, 1)]
        distances = [np.linalg.norm((s - centre) * block.spacing) for s in steps]
        assert distances[0] <= distances[1] <= distances[2]
        last = steps[2]
        assert block.voxels[tuple(last)]
        assert (last == (2, 4, 6)).any() or (last == (6, 16, 18)).any()  # on a face


def test_the_direction_of_a_click_is_drawn(block):
    assert len({made(edge_click, block, seed)[0].index for seed in range(12)}) > 6


def test_a_share_beyond_the_border_is_refused():
    with pytest.raises(ConfigError, match=r"off_centre is 1\.5"):
        edge_click.build(off_centre=1.5)


def test_a_scribble_is_a_line_inside_the_lesion(block):
    for seed in range(10):
        (stroke,) = made(scribble, block, seed)
        voxels = np.array(stroke.indices)
        assert block.voxels[tuple(voxels.T)].all()
        assert len(set(voxels[:, 0])) == 1
        drawn = np.zeros(block.shape, bool)
        drawn[tuple(voxels.T)] = True
        assert len(regions(block.with_voxels(drawn))) == 1
        assert stroke.lesion == 1


def test_a_scribble_on_every_slice(block):
    strokes = made(scribble, block, every_slice=True)
    assert [s.indices[0][0] for s in strokes] == [2, 3, 4, 5, 6]


def test_a_scribble_in_a_bent_lesion_does_not_leave_it(corner):
    for seed in range(10):
        (stroke,) = made(scribble, corner, seed, turns=4)
        assert corner.voxels[tuple(np.array(stroke.indices).T)].all()


def test_an_exact_mask_is_the_reference(block):
    (only,) = made(rough_mask, block, jitter_mm=0.0)
    assert (only.mask.voxels == block.voxels).all()
    assert only.source == "oracle"


def test_masks_are_eroded_and_dilated_by_millimetres(block):
    """2 mm: one slice of 2 mm, two voxels of 1 mm; erosion keeps what is deeper than that."""
    (small,) = made(rough_mask, block, jitter_mm=2.0, mode="eroded")
    expected = np.zeros_like(block.voxels)
    expected[3:6, 6:15, 8:17] = True
    assert (small.mask.voxels == expected).all()
    (large,) = made(rough_mask, block, jitter_mm=2.0, mode="dilated")
    assert large.mask.voxels[1, 10, 12]
    assert large.mask.voxels[4, 2, 12]
    assert not large.mask.voxels[0, 10, 12]
    assert not large.mask.voxels[4, 1, 12]
    assert (large.source, large.jitter_mm) == ("jittered", 2.0)


def test_no_mask_is_eroded_to_nothing(block):
    (small,) = made(rough_mask, block, jitter_mm=50.0, mode="eroded")
    assert small.mask.voxels.any()
    assert (small.mask.voxels <= block.voxels).all()


def test_masks_of_a_slice_stay_on_it(block):
    for index, one in enumerate(made(rough_mask, block, per="slice", jitter_mm=4.0, mode="dilated"), start=2):
        assert list(one.slices) == [index]
