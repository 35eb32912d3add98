import numpy as np
import pytest

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.preprocess.consensus import consensus
from oncoseg.volume import Volume


def readers(*rows):
    return [Volume.from_spacing(np.array([[row]], dtype=bool), (2.0, 1.0, 1.0)) for row in rows]


def test_half_of_four_readers_are_enough():
    agreed = consensus(readers([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]))
    assert agreed.voxels.tolist() == [[[True, True, False, False]]]


def test_the_majority_of_three_is_two():
    agreed = consensus(readers([1, 1, 1], [1, 1, 0], [1, 0, 0]))
    assert agreed.voxels.tolist() == [[[True, True, False]]]


def test_share_one_is_the_intersection_and_a_tiny_one_the_union():
    marked = readers([1, 1, 0], [0, 1, 0], [0, 1, 0])
    assert consensus(marked, 1.0).voxels.tolist() == [[[False, True, False]]]
    assert consensus(marked, 1e-6).voxels.tolist() == [[[True, True, False]]]


def test_one_third_is_not_lost_to_rounding():
    assert consensus(readers([1], [0], [0]), 1 / 3).voxels.all()


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="at least one mask"):
        consensus([])
    with pytest.raises(InputError, match="share"):
        consensus(readers([1]), 0.0)
    other = Volume.from_spacing(np.ones((1, 1, 1), bool), (5.0, 1.0, 1.0), (9.0, 0.0, 0.0))
    with pytest.raises(GridMismatchError, match="mask 1 and mask 2"):
        consensus([*readers([1]), other])
