"""Clicks on errors, with answers that can be counted by hand."""

import numpy as np
import pytest

from oncoseg.errors import ConfigError, GridMismatchError
from oncoseg.prompts import balanced_error, centroid_error, edt_error, uniform_error
from oncoseg.volume import Volume


def volume(voxels, spacing=(2.0, 1.0, 1.0)):
    return Volume.from_spacing(voxels, spacing)


@pytest.fixture
def reference():
    """Two lesions: 3 x 9 x 9 voxels, and 1 x 2 x 2."""
    mask = np.zeros((7, 30, 30), bool)
    mask[1:4, 2:11, 2:11] = True
    mask[5, 20:22, 20:22] = True
    return volume(mask)


@pytest.fixture
def shown(reference):
    """Misses the small lesion (4 voxels), adds a block of 1 x 6 x 6 = 36 voxels beside it."""
    mask = reference.voxels.copy()
    mask[5, 20:22, 20:22] = False
    mask[5, 12:18, 20:26] = True
    return volume(mask)


def drawn(module, reference, shown, count=300, **options):
    simulator = module.build(**options)
    return [simulator(reference, np.random.default_rng(seed), shown)[0] for seed in range(count)]


def test_the_error_map_is_clicked_in_proportion_to_its_size(reference, shown):
    share = np.mean([c.positive for c in drawn(uniform_error, reference, shown)])
    assert share == pytest.approx(4 / 40, abs=0.05)


def test_balanced_clicks_do_not_care_for_size(reference, shown):
    share = np.mean([c.positive for c in drawn(balanced_error, reference, shown)])
    assert share == pytest.approx(0.5, abs=0.09)


def test_every_wrong_voxel_can_be_clicked_and_no_other(reference, shown):
    wrong = {tuple(v) for v in np.argwhere(reference.voxels != shown.voxels).tolist()}
    assert {c.index for c in drawn(balanced_error, reference, shown, 600)} == wrong
    assert {c.index for c in drawn(uniform_error, reference, shown, 50)} <= wrong


def test_a_click_says_which_lesion_it_is_about(reference, shown):
    for click in drawn(balanced_error, reference, shown, 20):
        assert click.lesion == 2  # what was missed is lesion 2, what was added is next to it
        assert click.positive == bool(reference.voxels[click.index])


def test_ritm_clicks_the_inner_half_of_the_thickest_error(reference, shown):
    """In a block of one slice depths are 1, 2, 3 from its rim inwards: more than 3 / 2 leaves 4 x 4 voxels."""
    clicks = drawn(edt_error, reference, shown)
    assert {c.index for c in clicks} == {(5, r, c) for r in range(13, 17) for c in range(21, 25)}
    assert not any(c.positive for c in clicks)


def test_depth_of_errors_is_in_millimetres(reference):
    """Missed: 3 slices of 2 mm and 9 x 9 pixels of 1 mm, so the middle is 4 mm deep in the plane and in depth."""
    (first,) = {c.index for c in drawn(centroid_error, reference, None, 3)}
    assert first == (2, 6, 6)
    inner = {c.index for c in drawn(edt_error, reference, None, 400)}
    assert {i[0] for i in inner} == {2}  # on the outer slices depth is 2 mm, not more than half of 4
    assert {i[1] for i in inner} == {4, 5, 6, 7, 8}


def test_the_largest_error_is_clicked_in_its_middle(reference, shown):
    (click,) = centroid_error.build()(reference, np.random.default_rng(0), shown)
    assert (click.index[0], click.positive) == (5, False)
    assert click.index[1] in (14, 15)
    assert click.index[2] in (22, 23)


def test_several_clicks_a_round(reference, shown):
    for module in (uniform_error, balanced_error):
        assert len(module.build(clicks=9)(reference, np.random.default_rng(0), shown)) == 9
        with pytest.raises(ConfigError, match="clicks is 0"):
            module.build(clicks=0)


def test_a_prediction_on_another_grid_is_refused(reference, shown):
    other = Volume.from_spacing(shown.voxels, (3.0, 1.0, 1.0))
    with pytest.raises(GridMismatchError):
        edt_error.build()(reference, np.random.default_rng(0), other)
