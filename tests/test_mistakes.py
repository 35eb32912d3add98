import numpy as np
import pytest

from oncoseg.errors import GridMismatchError
from oncoseg.mistakes import at, correction, mistakes
from oncoseg.volume import Volume


def volume(*voxels, spacing=(3.0, 1.0, 1.0)):
    marked = np.zeros((4, 8, 8), bool)
    for voxel in voxels:
        marked[voxel] = True
    return Volume.from_spacing(marked, spacing)


def test_both_kinds_of_error_are_told_apart():
    reference, shown = volume((1, slice(0, 4), 2)), volume((1, slice(2, 6), 2))
    missed, added = mistakes(reference, shown)
    assert (missed.start, missed.stop) == ((1, 0, 2), (2, 2, 3))
    assert (added.start, added.stop) == ((1, 4, 2), (2, 6, 3))


def test_nothing_is_wrong_with_the_reference_itself():
    reference = volume((1, slice(0, 4), 2))
    assert mistakes(reference, reference) == (None, None)


def test_before_anything_is_shown_everything_is_missed():
    missed, added = mistakes(volume((1, slice(0, 4), 2)), None)
    assert missed.voxels.sum() == 4
    assert added is None
    assert mistakes(volume(), None) == (None, None)


def test_a_correction_belongs_to_the_nearest_lesion_in_millimetres():
    reference = volume((0, 0, 0), (3, 7, 7))
    assert correction((3, 7, 7), reference).lesion == 2
    assert correction((3, 7, 7), reference).positive
    near = correction((1, 1, 1), reference)
    assert (near.lesion, near.positive, near.source) == (1, False, "simulated user")
    assert correction((1, 1, 1), volume()).lesion is None


def test_a_number_stands_for_a_voxel():
    (region, _) = mistakes(volume((1, slice(0, 4), 2)), None)
    assert [at(region, draw) for draw in (0.0, 0.26, 0.5, 0.999)] == [(1, 0, 2), (1, 1, 2), (1, 2, 2), (1, 3, 2)]
    among = np.zeros_like(region.voxels)
    among[0, 3, 0] = True
    assert at(region, 0.0, among) == (1, 3, 2)


def test_masks_on_other_grids_are_refused():
    with pytest.raises(GridMismatchError):
        mistakes(volume(), volume(spacing=(1.0, 1.0, 1.0)))
