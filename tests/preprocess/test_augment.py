"""Augmentation: image and classes change alike, the same for the same generator, and as the preset says."""

import numpy as np
import pytest

from oncoseg.preprocess.augment import PRESETS, augmenter

SHAPES = {2: (40, 40), 3: (20, 24, 24)}


def sample(space):
    """A bright block on noise; the class map holds the block."""
    shape = SHAPES[space]
    classes = np.zeros(shape, np.uint8)
    classes[tuple(slice(n // 4, n // 2) for n in shape)] = 1
    image = np.random.default_rng(0).normal(0.2, 0.02, shape).astype(np.float32) + 0.6 * classes
    return image[None].astype(np.float32), classes


@pytest.fixture(params=PRESETS)
def preset(request):
    return request.param


@pytest.fixture(params=[2, 3])
def space(request):
    return request.param


def test_shape_and_type_stay(preset, space):
    image, classes = sample(space)
    for seed in range(6):
        moved, labels = augmenter(preset, space)(image, classes, np.random.default_rng(seed))
        assert (moved.shape, moved.dtype) == (image.shape, np.float32)
        assert (labels.shape, labels.dtype) == (classes.shape, np.uint8)
        assert set(np.unique(labels)) <= {0, 1}
        assert np.isfinite(moved).all()


def test_what_comes_in_is_left_alone(preset, space):
    image, classes = sample(space)
    before = image.copy(), classes.copy()
    for seed in range(4):
        augmenter(preset, space)(image, classes, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(classes, before[1])


def test_the_same_generator_gives_the_same_sample_whatever_went_before(preset, space):
    image, classes = sample(space)
    augment = augmenter(preset, space)
    alone = augment(image, classes, np.random.default_rng(7))
    np.random.seed(3)
    for seed in range(3):
        augment(image, classes, np.random.default_rng(seed))
    again = augment(image, classes, np.random.default_rng(7))
    np.testing.assert_array_equal(alone[0], again[0])
    np.testing.assert_array_equal(alone[1], again[1])


def test_image_and_classes_move_together(preset, space):
    image, classes = sample(space)
    for seed in range(8):
        moved, labels = augmenter(preset, space)(image, classes, np.random.default_rng(seed))
        if labels.sum() < 20:  # turned out of the picture
            continue
        inside, outside = moved[0][labels == 1].mean(), moved[0][labels == 0].mean()
        assert inside - outside > 0.25  # 0.6 before contrast, gamma and blur


def test_different_generators_differ(preset, space):
    if preset == "none":
        pytest.skip("does nothing")
    image, classes = sample(space)
    results = {augmenter(preset, space)(image, classes, np.random.default_rng(s))[0].tobytes() for s in range(12)}
    assert len(results) > 1


def test_left_right_flips_columns_alone():
    image, classes = sample(2)
    found = {augmenter("left-right", 2)(image, classes, np.random.default_rng(s))[1].tobytes() for s in range(20)}
    assert found == {classes.tobytes(), np.ascontiguousarray(classes[:, ::-1]).tobytes()}


def test_scaling_keeps_within_its_range_and_enlarges_as_often_as_it_shrinks():
    image, classes = sample(3)
    areas = [augmenter("mild", 3)(image, classes, np.random.default_rng(s))[1].sum() / classes.sum() for s in range(30)]
    assert 0.9**3 * 0.85 < min(areas) < 0.95
    assert 1.05 < max(areas) < 1.1**3 * 1.15


def test_nnunet_turns_slices_by_any_angle_and_patches_by_thirty_degrees():
    assert PRESETS["nnunet"].degrees == (180.0, 30.0)


def test_gamma_and_contrast_of_nnunet_keep_mean_and_deviation_about():
    image, classes = sample(2)
    means = [augmenter("nnunet", 2)(image, classes, np.random.default_rng(s))[0].mean() for s in range(40)]
    assert np.mean(means) == pytest.approx(image.mean(), rel=0.1)
