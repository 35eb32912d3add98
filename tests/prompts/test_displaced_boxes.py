"""Boxes in pixels, scaled, on one slice, on wrong slices; and the box that needs no reference."""

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.errors import ConfigError
from oncoseg.prompts import box, key_slice, lung_box, scaled_box, shifted_range, wrong_slice, wrong_slice_click
from oncoseg.volume import Volume


@pytest.fixture
def ball():
    centre, radius = np.array([10, 30, 30]), np.array([4.5, 9.5, 9.5])
    distance = np.linalg.norm((np.indices((20, 60, 60)).transpose(1, 2, 3, 0) - centre) / radius, axis=-1)
    return Volume.from_spacing(distance < 1, (2.5, 1.0, 1.0))


def made(module, reference, seed=0, **options):
    return module.build(**options)(reference, np.random.default_rng(seed))


def test_jitter_in_pixels_leaves_the_slices_alone(ball):
    for seed in range(30):
        (only,) = made(box, ball, seed, jitter_px=5)
        assert (only.start[0], only.stop[0]) == (6, 15)
        assert np.abs(np.subtract(only.start, (6, 21, 21))).max() <= 5
        assert (only.source, only.jitter_px, only.jitter_mm) == ("jittered", 5.0, 0.0)


def test_pixels_of_a_network_are_smaller_than_those_of_the_image(ball):
    """60 pixels shown at 240: 20 of its pixels are 5 of the image."""
    (near,), (same,) = made(box, ball, 3, jitter_px=20, frame_px=240), made(box, ball, 3, jitter_px=5)
    assert (near.start, near.stop) == (same.start, same.stop)


def test_two_jitters_at_once_are_refused():
    with pytest.raises(ConfigError, match="not both"):
        box.build(jitter_mm=1, jitter_px=1)


def test_scaled_boxes_keep_their_middle(ball):
    for seed in range(30):
        (only,) = made(scaled_box, ball, seed, sigma=0.3)
        assert (np.add(only.start, only.stop) == (21, 61 - 0, 61 - 0)).all()
    (exact,) = made(scaled_box, ball, sigma=0.0)
    assert (exact.start, exact.stop, exact.source) == ((6, 21, 21), (15, 40, 40), "oracle")


def test_the_key_slice_is_the_largest_and_its_box_tight(ball):
    (only,) = made(key_slice, ball)
    assert (only.start, only.stop, only.lesion) == ((10, 21, 21), (11, 40, 40), 1)


def test_slices_without_a_box_are_a_share(ball):
    """9 slices: the key slice, and the nearer half of the other 8."""
    assert [b.start[0] for b in made(key_slice, ball, missing=0.5)] == [8, 9, 10, 11, 12]
    assert [b.start[0] for b in made(key_slice, ball, missing=0.0)] == list(range(6, 15))
    assert {b.lesion for b in made(key_slice, ball, missing=0.0)} == {1}


def test_a_shifted_range_keeps_rows_and_columns(ball):
    ends = set()
    for seed in range(20):
        (only,) = made(shifted_range, ball, seed, shift_slices=2)
        assert (only.start[1:], only.stop[1:]) == ((21, 21), (40, 40))
        ends.add((only.start[0], only.stop[0]))
        assert only.jitter_mm == 5.0
    assert ends == {(4, 13), (8, 17)}
    (wide,), (narrow,) = (made(shifted_range, ball, shift_slices=2, mode=m) for m in ("widen", "narrow"))
    assert (wide.start[0], wide.stop[0], narrow.start[0], narrow.stop[0]) == (4, 17, 8, 13)
    (by_mm,) = made(shifted_range, ball, shift_slices=0, shift_mm=5.0, mode="widen")
    assert (by_mm.start[0], by_mm.stop[0]) == (4, 17)


def test_a_range_is_never_narrowed_or_shifted_away(ball):
    (narrow,) = made(shifted_range, ball, shift_slices=50, mode="narrow")
    assert (narrow.start[0], narrow.stop[0]) == (10, 11)
    (gone,) = made(shifted_range, ball, shift_slices=50)
    gone.require_inside(ball)


def test_one_seed_shifts_the_same_way_at_every_level(ball):
    for seed in range(8):
        ways = {np.sign(made(shifted_range, ball, seed, shift_slices=n)[0].start[0] - 6) for n in (1, 2, 5)}
        assert len(ways) == 1


@pytest.mark.parametrize("module", [wrong_slice, wrong_slice_click])
def test_a_wrong_slice_lies_beyond_the_lesion(module, ball):
    """5 mm are two slices: 4 below the first (6), 16 above the last (14)."""
    places = {prompt.slices[0] for seed in range(20) for prompt in made(module, ball, seed)}
    assert places == {4, 16}
    (right,) = made(module, ball, share=0.0)
    assert (right.slices[0], right.source) == (10, "oracle")


def test_who_is_wrong_stays_wrong_when_more_are(ball):
    def wrong(share):
        return {s for s in range(60) if made(wrong_slice, ball, s, share=share)[0].source == "jittered"}

    assert wrong(0.25) <= wrong(0.5) <= wrong(1.0)
    assert len(wrong(0.5)) == pytest.approx(30, abs=12)


def test_the_lungs_are_boxed_without_a_reference():
    dataset = registry.load("datasets", "phantom").build(cases=1, shape=(32, 64, 64), spacing=(9.0, 6.0, 6.0))
    case = dataset.load(dataset.entries()[0].case)
    boxes = lung_box.build().propose(case.image, np.random.default_rng(0))
    assert [b.source for b in boxes] == ["automatic", "automatic"]
    inside = np.zeros(case.image.shape, bool)
    for one in boxes:
        inside[one.region] = True
    tumour = case.mask().voxels
    assert (inside & tumour).sum() > 0.5 * tumour.sum()
    (both,) = lung_box.build(together=True).propose(case.image, np.random.default_rng(0))
    assert np.prod(np.subtract(both.stop, both.start)) >= inside.sum()
    air = case.image.with_voxels(np.full(case.image.shape, -1000, np.int16))
    assert lung_box.build().propose(air, np.random.default_rng(0)) == []
