import numpy as np
import pytest

from oncoseg.errors import ConfigError
from oncoseg.prompts import box
from oncoseg.volume import Volume

SPACING = (2.5, 0.7, 0.7)


def reference(*corners, shape=(20, 60, 60), size=(4, 12, 10)):
    mask = np.zeros(shape, bool)
    for corner in corners:
        mask[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = True
    return Volume.from_spacing(mask, SPACING)


def boxes(mask, seed=0, **options):
    return box.build(**options)(mask, np.random.default_rng(seed))


def test_the_exact_box_is_tight_and_from_the_reference():
    (only,) = boxes(reference((3, 20, 30)))
    assert (only.start, only.stop) == ((3, 20, 30), (7, 32, 40))
    assert (only.source, only.jitter_mm) == ("oracle", 0.0)


def test_each_lesion_gets_its_own_box():
    assert len(boxes(reference((1, 2, 2), (12, 40, 40)))) == 2
    (one,) = boxes(reference((1, 2, 2), (12, 40, 40)), per="volume")
    assert (one.start, one.stop) == ((1, 2, 2), (16, 52, 50))


def test_a_box_per_slice_keeps_its_slice_when_jittered():
    jittered = boxes(reference((3, 20, 30)), per="slice", jitter_mm=8, margin_mm=3)
    assert [list(b.slices) for b in jittered] == [[3], [4], [5], [6]]


def test_margin_is_in_millimetres():
    (only,) = boxes(reference((5, 20, 30)), margin_mm=5)
    assert (only.start, only.stop) == ((3, 13, 23), (11, 39, 47))


@pytest.mark.parametrize("mode", ["sides", "outward", "translate"])
def test_sides_move_by_the_jitter_at_most(mode):
    mask = reference((8, 24, 24))
    limit = np.rint(5 / np.array(SPACING))
    for seed in range(50):
        (only,) = boxes(mask, seed, jitter_mm=5, mode=mode)
        assert (only.source, only.jitter_mm) == ("jittered", 5.0)
        assert (np.abs(np.subtract(only.start, (8, 24, 24))) <= limit).all()
        assert (np.abs(np.subtract(only.stop, (12, 36, 34))) <= limit).all()


def test_outward_boxes_always_hold_the_lesion_and_translated_ones_keep_their_size():
    mask = reference((8, 24, 24))
    for seed in range(50):
        (out,) = boxes(mask, seed, jitter_mm=5, mode="outward")
        assert all(a <= b for a, b in zip(out.start, (8, 24, 24), strict=True))
        assert all(a >= b for a, b in zip(out.stop, (12, 36, 34), strict=True))
        (moved,) = boxes(mask, seed, jitter_mm=5, mode="translate")
        assert np.subtract(moved.stop, moved.start).tolist() == [4, 12, 10]


def test_one_seed_displaces_in_the_same_direction_at_every_jitter():
    mask = reference((8, 16, 16), shape=(30, 60, 60), size=(12, 30, 30))
    (near,), (far,) = boxes(mask, 7, jitter_mm=4), boxes(mask, 7, jitter_mm=8)
    near_shift, far_shift = np.subtract(near.start, (8, 16, 16)), np.subtract(far.start, (8, 16, 16))
    assert (near_shift * far_shift >= 0).all()
    assert np.abs(far_shift - 2 * near_shift).max() <= 1


def test_boxes_stay_inside_the_image_and_are_never_empty():
    mask = reference((0, 0, 50), (19, 59, 0), size=(1, 1, 1))
    for seed in range(100):
        found = boxes(mask, seed, jitter_mm=40)
        assert len(found) == 2
        for only in found:
            only.require_inside(mask)


def test_an_empty_reference_gives_no_box():
    assert boxes(reference()) == []


@pytest.mark.parametrize("options", [{"jitter_mm": -1}, {"margin_mm": float("nan")}, {"mode": "wobble"}, {"pre": "x"}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError):
        box.build(**options)
