"""What every file on the metrics shelf must do; a newcomer is tested without a new test."""

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.contracts import Measured
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.scoring import metric

NAMES = registry.names("metrics")
UNITS = {"", "mm", "mm^3", "mL"}
REASONS = {"both_empty", "prediction_empty", "reference_empty", "zero_denominator", "no_probability"}
SPACING = (3.0, 1.0, 0.8)


def build(name):
    module = registry.load("metrics", name)
    return metric(f"{name}@{module.INFO.example}" if hasattr(module, "build") else name)


def empty():
    return np.zeros((7, 9, 11), dtype=bool)


def blob(seed):
    mask, rng = empty(), np.random.default_rng(seed)
    low = rng.integers(0, 3, 3)
    mask[tuple(slice(a, a + 5) for a in low)] = rng.random((5, 5, 5)) < 0.8
    return mask


def pair(reference, prediction):
    """With a probability that the prediction is made from, of a model that is sure where it is right."""
    doubt = np.random.default_rng(prediction.sum()).random(prediction.shape) * (0.4 * (reference != prediction))
    soft = np.where(prediction, 1 - doubt, doubt)
    return MaskPair.from_arrays(reference, prediction, SPACING[3 - reference.ndim :], probability=soft)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_it_says_what_it_is(name):
    module, built = registry.load("metrics", name), build(name)
    assert module.INFO.name == name
    assert built.name.partition("@")[0] == name
    assert built.unit in UNITS
    assert built.higher_is_better in (True, False, None)
    assert built.summary.endswith(".")
    assert len(built.summary) < 120
    assert module.__doc__
    assert (module.INFO.parameter is not None) == hasattr(module, "build")


def test_its_function_says_what_comes_out(name):
    documentation = getattr(registry.load("metrics", name), name).__doc__
    assert "None" in documentation or "never undefined" in documentation or "defined for every pair" in documentation


def test_it_stays_within_its_bounds(name):
    low, high = registry.load("metrics", name).INFO.bounds
    for seed in range(6):
        measured = build(name)(pair(blob(seed), blob(seed + 50)))
        assert isinstance(measured, Measured)
        assert isinstance(measured.value, float | int)
        assert low <= measured.value <= high


def test_a_perfect_prediction_has_the_best_value(name):
    info, value = registry.load("metrics", name).INFO, build(name)(pair(blob(1), blob(1))).value
    if info.higher_is_better is True:
        assert value == pytest.approx(info.bounds[1])
    elif info.higher_is_better is False:
        assert value == pytest.approx(info.bounds[0])
    else:
        assert np.isfinite(value)


def test_a_symmetric_metric_does_not_mind_which_mask_is_the_reference(name):
    measure = build(name)
    differs = False
    for seed in range(6):
        reference, prediction = blob(seed), blob(seed)
        prediction[np.unravel_index(prediction.argmax(), prediction.shape)] = False
        prediction[0, 8, 10] = prediction[0, 8, 8] = True  # two lesions of their own
        reference[6, 8, :7] = prediction[6, 8, :2] = prediction[6, 8, 3:5] = True  # one lesion in two parts
        there, back = measure(pair(reference, prediction)), measure(pair(prediction, reference))
        differs |= there.value != pytest.approx(back.value)
    assert differs == (not registry.load("metrics", name).INFO.symmetric)


@pytest.mark.parametrize("reference", ["filled", "empty"])
@pytest.mark.parametrize("prediction", ["filled", "empty", "full"])
def test_an_undefined_value_has_a_reason_and_a_defined_one_has_none(name, reference, prediction):
    masks = {"filled": blob(1), "empty": empty(), "full": ~empty()}
    value, reason = build(name)(pair(masks[reference], masks[prediction]))
    if value is None:
        assert reason in REASONS
        if reason != "zero_denominator":
            assert reason == pair(masks[reference], masks[prediction]).emptiness
    else:
        assert reason is None
        assert np.isfinite(value)


def test_it_leaves_the_masks_alone(name):
    reference, prediction = blob(1), blob(2)
    build(name)(pair(reference, prediction))
    np.testing.assert_array_equal(reference, blob(1))
    np.testing.assert_array_equal(prediction, blob(2))


def test_it_measures_two_dimensional_masks(name):
    measured = build(name)(pair(blob(1)[3], blob(2)[3]))
    assert measured.value is not None


def test_a_probability_metric_is_undefined_without_one(name):
    bare = MaskPair.from_arrays(blob(1), blob(2), SPACING)
    value, reason = build(name)(bare)
    assert (reason == "no_probability") == (name in PROBABILITY)
    assert (value is None) == (name in PROBABILITY)


PROBABILITY = {"brier", "nll", "ece_foreground", "ece_top_label", "mce"}
NONE = None
EMPTY_ANSWERS = {  # prediction empty, reference empty, both empty
    "dice": (0, 0, NONE),
    "iou": (0, 0, NONE),
    "sensitivity": (0, NONE, NONE),
    "precision": (NONE, 0, NONE),
    "rel_volume_diff": (-1, NONE, NONE),
    "kappa": (0, 0, NONE),
    "mcc": (NONE, NONE, NONE),
    "nsd_border": (0, 0, NONE),
    "sdice_surfel": (0, 0, NONE),
    "lesion_sensitivity": (0, NONE, NONE),
    "lesion_precision": (NONE, 0, NONE),
    "lesion_f1": (0, 0, NONE),
    "lesion_pq": (0, 0, NONE),
    "lesion_sq": (0, 0, NONE),
    "lesion_sq_dice": (0, 0, NONE),
    "lesion_dice": (0, NONE, NONE),
    "boundary_iou": (0, 0, NONE),
    "cldice": (NONE, NONE, NONE),
    **dict.fromkeys(sorted(PROBABILITY), (..., NONE, NONE)),  # in the box of the reference
    **dict.fromkeys(("hd", "hd95_max", "hd95_pooled", "assd", "masd", "asd_pred_to_ref", "com_distance"), (NONE,) * 3),
}


@pytest.mark.parametrize("name", EMPTY_ANSWERS)
def test_answers_to_empty_masks_are_those_of_the_table(name):
    measure = build(name)
    got = [measure(pair(r, p)).value for r, p in ((blob(1), empty()), (empty(), blob(1)), (empty(), empty()))]
    for value, want in zip(got, EMPTY_ANSWERS[name], strict=True):
        assert value == want if want is not ... else value is not None


def test_specificity_and_accuracy_of_two_empty_masks_are_1():
    assert build("specificity")(pair(empty(), empty())).value == 1
    assert build("accuracy")(pair(empty(), empty())).value == 1
