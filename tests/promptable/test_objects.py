"""Which prompts belong together, and what they say on a slice."""

import numpy as np

from oncoseg.prompt import Box, Click, MaskPrompt, Scribble
from oncoseg.promptable.objects import CLICKS_A_SCRIBBLE, Dot, by_slice, objects
from oncoseg.volume import Volume

BOX, FAR = Box((1, 10, 10), (4, 20, 20)), Box((1, 40, 40), (4, 50, 50))


def test_every_box_is_an_object_and_clicks_belong_to_the_box_they_lie_in():
    inside, outside = Click((2, 15, 15)), Click((2, 30, 30))
    assert objects([BOX, FAR, inside, outside]) == {"box 0": [BOX, inside], "box 1": [FAR], "clicks": [outside]}


def test_clicks_alone_are_one_object():
    assert objects([Click((2, 1, 1)), Click((3, 9, 9))]) == {"clicks": [Click((2, 1, 1)), Click((3, 9, 9))]}


def test_a_number_keeps_prompts_together():
    first, second, more = Click((2, 1, 1), lesion=1), Click((2, 9, 9), lesion=2), Click((4, 1, 2), False, lesion=1)
    assert objects([first, second, more]) == {"lesion 1": [first, more], "lesion 2": [second]}


def test_a_click_that_points_away_is_told_to_every_object():
    away = Click((2, 30, 30), positive=False)
    assert objects([BOX, away, FAR]) == {"box 0": [BOX, away], "box 2": [FAR, away]}


def test_no_prompts_are_no_objects():
    assert objects([]) == {}


def test_a_3d_box_says_the_same_on_each_slice_and_a_click_adds_to_its_own():
    asked = by_slice([BOX, Click((2, 15, 16)), Click((2, 3, 4), positive=False)])
    assert list(asked) == [1, 2, 3]
    assert asked[1].dots == ()
    assert asked[2].dots == (Dot(15, 16, True), Dot(3, 4, False))
    assert asked[2].extent[1:] == (10, 10, 20, 20)


def test_two_boxes_of_one_object_become_the_box_round_both():
    asked = by_slice([Box((1, 10, 10), (2, 20, 20), lesion=0), Box((1, 15, 5), (2, 30, 12), lesion=0)])
    assert asked[1].box[1:] == (10, 5, 30, 20)


def test_a_scribble_is_thinned_evenly_on_each_slice():
    line = Scribble(tuple((3, row, 5) for row in range(30)))
    dots = by_slice([line])[3].dots
    assert len(dots) == CLICKS_A_SCRIBBLE
    assert (dots[0].row, dots[-1].row) == (0, 29)
    assert np.ptp(np.diff([dot.row for dot in dots])) <= 1


def test_a_mask_speaks_on_the_slices_it_touches():
    voxels = np.zeros((5, 8, 8), bool)
    voxels[1, 2:4, 3:6] = voxels[3, 5, 5] = True
    asked = by_slice([MaskPrompt(Volume.from_spacing(voxels, (1.0, 1.0, 1.0)))])
    assert list(asked) == [1, 3]
    assert asked[1].extent[1:] == (2, 3, 4, 6)


def test_negative_clicks_alone_point_at_nothing():
    [asked] = by_slice([Click((2, 3, 4), positive=False)]).values()
    assert not asked.says_where
