import numpy as np
import pytest

from oncoseg.errors import ConfigError
from oncoseg.prompts import centre_click, random_click, whole_image
from oncoseg.volume import Volume


def volume(mask, spacing=(3.0, 1.0, 1.0)):
    return Volume.from_spacing(mask, spacing)


def ring():
    rows, columns = np.indices((21, 21)) - 10
    radius = np.hypot(rows, columns)
    return volume(np.repeat(((radius > 4) & (radius < 9))[None], 5, axis=0))


def click(module, mask, seed=0, **options):
    return module.build(**options)(mask, np.random.default_rng(seed))


def test_centre_click_is_the_middle_of_a_block():
    mask = np.zeros((9, 20, 20), bool)
    mask[2:7, 5:12, 3:16] = True
    (only,) = click(centre_click, volume(mask))
    assert only.index == (4, 8, 9)
    assert (only.positive, only.source) == (True, "oracle")


def test_centre_click_lies_inside_even_when_the_centroid_does_not():
    for per in ("lesion", "slice", "volume"):
        for only in click(centre_click, ring(), per=per):
            assert ring().voxels[only.index]


def test_depth_is_measured_in_millimetres():
    # 3 slices of 3 mm are thicker than 5 voxels of 1 mm: the deepest voxel is in the thick part.
    mask = np.zeros((5, 20, 40), bool)
    mask[1:4, 4:13, 2:11] = True
    mask[1, 1:18, 20:37] = True
    (only,) = click(centre_click, volume(mask), per="volume")
    assert only.index == (2, 8, 6)


def test_a_click_per_slice_lies_on_its_slice():
    assert [c.index[0] for c in click(centre_click, ring(), per="slice")] == [0, 1, 2, 3, 4]


def test_random_clicks_are_in_the_lesion_and_cover_it():
    mask = np.zeros((3, 4, 4), bool)
    mask[1, 1:3, 1:3] = True
    clicks = click(random_click, volume(mask), clicks=200)
    assert {c.index for c in clicks} == {(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2)}
    assert {c.source for c in clicks} == {"simulated user"}


def test_random_clicks_are_counted_per_region():
    mask = np.zeros((3, 9, 9), bool)
    mask[0, 0, 0] = mask[2, 8, 8] = True
    assert [c.index for c in click(random_click, volume(mask), clicks=2)] == [(0, 0, 0)] * 2 + [(2, 8, 8)] * 2


def test_no_clicks_is_refused():
    with pytest.raises(ConfigError, match="clicks is 0"):
        random_click.build(clicks=0)


def test_the_whole_image_box_needs_no_reference():
    image = volume(np.zeros((5, 21, 21), np.int16))
    (only,) = whole_image.build().propose(image, np.random.default_rng(0))
    assert (only.start, only.stop, only.source) == ((0, 0, 0), (5, 21, 21), "automatic")
