"""Prompts on every n-th slice."""

import numpy as np
import pytest

from oncoseg.errors import ConfigError
from oncoseg.prompt import Box, Click, Scribble, from_json, to_json
from oncoseg.prompts import every_nth_slice
from oncoseg.volume import Volume


def two_lesions():
    """One on slices 2 to 9, one on slices 6 to 13."""
    mask = np.zeros((20, 30, 30), bool)
    mask[2:10, 5:10, 6:12] = True
    mask[6:14, 20:26, 15:18] = True
    return Volume.from_spacing(mask, (2.5, 1.0, 1.0))


def made(**options):
    return every_nth_slice.build(**options)(two_lesions(), np.random.default_rng(0))


def test_tight_boxes_on_every_second_slice_of_each_object():
    assert made() == [
        *(Box((n, 5, 6), (n + 1, 10, 12), source="oracle", lesion=1) for n in (2, 4, 6, 8)),
        *(Box((n, 20, 15), (n + 1, 26, 18), source="oracle", lesion=2) for n in (6, 8, 10, 12)),
    ]


def test_first_quarter_of_twelve_slices_is_three_of_which_every_second_is_prompted():
    assert [p.slices[0] for p in made(slices="first quarter")] == [2, 4]


def test_whole_volume_as_one_object():
    found = made(per="volume", n=4)
    assert [(p.slices[0], p.lesion) for p in found] == [(2, 1), (6, 1), (10, 1)]
    assert (found[1].start, found[1].stop) == ((6, 5, 6), (7, 26, 18))


def test_clicks_lie_on_the_object():
    found = made(prompt="click", n=1)
    assert all(isinstance(p, Click) and p.positive and two_lesions().voxels[p.index] for p in found)
    assert {p.source for p in found} == {"simulated user"}


def test_absent_objects_are_told_by_a_scribble_that_points_away():
    found = made(slices="labelled", absent=True)
    first = [p for p in found if p.lesion == 1]
    assert [(p.slices[0], isinstance(p, Scribble)) for p in first] == [
        (2, False), (4, False), (6, False), (8, False), (10, True), (12, True),
    ]  # fmt: skip
    assert not first[-1].positive
    assert from_json(to_json(found), two_lesions()) == found


def test_image_prompts_reach_beyond_the_lesions():
    slices = sorted({p.slices[0] for p in made(slices="image", n=5, absent=True)})
    assert slices == [0, 5, 10, 15]


def test_every_object_is_prompted_even_between():
    odd = [p.slices[0] for p in made(n=3)]
    assert odd == [2, 5, 8, 6, 9, 12]


def test_n_below_one_is_refused():
    with pytest.raises(ConfigError, match="n is 0"):
        every_nth_slice.build(n=0)
