"""Golden answers of every protocol on six slices, computed by hand.

Tumour on slices 1 to 4, four voxels each. The prediction has: nothing (slice 0), all four (1), two of four
(2), nothing (3), four of which two are right (4), two wrong ones (5). Dice slice by slice, empty against
empty left open: -, 1, 2/3, 0, 1/2, 0. Volume: tp 8, reference 16, prediction 12.
"""

from dataclasses import replace

import numpy as np
import pytest

from oncoseg.errors import InputError, UnknownNameError
from oncoseg.evaluation.aggregate import Misses, aggregate, cut
from oncoseg.evaluation.protocol import ScoredCase, protocol
from oncoseg.evaluation.scoring import metric, score_cases, under_all_protocols
from oncoseg.volume import Volume

SPACING = (3.0, 1.0, 1.0)


def volume(shape=(6, 4, 4)):
    return Volume.from_spacing(np.zeros(shape, dtype=bool), SPACING)


def soft(mask, logit):
    """A probability that belongs to `logit` inside the mask and is 0 outside."""
    return mask.with_voxels(np.where(mask.voxels, 1 / (1 + np.exp(-logit)), 0))


@pytest.fixture
def partial():
    reference, prediction = volume(), volume()
    reference.voxels[1:5, :2, :2] = True
    prediction.voxels[1, :2, :2] = True
    prediction.voxels[2, 0, :2] = True
    prediction.voxels[4, :2, 1:3] = True
    prediction.voxels[5, 3, 2:] = True
    return ScoredCase("partial", reference, prediction)


@pytest.fixture
def empty():
    return ScoredCase("empty", volume(), volume())


@pytest.fixture
def missed():
    reference = volume()
    reference.voxels[2, 3, 3] = True
    return ScoredCase("missed", reference, volume())


@pytest.fixture
def cases(partial, empty, missed):
    return [partial, empty, missed]


@pytest.mark.parametrize(
    ("rule", "dice", "left_out"),
    [
        ("case3d", (4 / 7 + 0) / 2, ()),
        ("nnunet_summary", (4 / 7 + 0) / 2, ()),
        ("pooled", 16 / 29, ()),
        ("tumour_slices", (1 + 2 / 3 + 0 + 1 / 2 + 0) / 5, ("empty",)),
        ("tumour_slices@case", ((1 + 2 / 3 + 0 + 1 / 2) / 4 + 0) / 2, ("empty",)),
        ("all_slices_empty1", (1 + 1 + 2 / 3 + 0 + 1 / 2 + 0 + 6 + 5) / 18, ()),
        ("all_slices_silenced", (1 + 1 + 2 / 3 + 0 + 1 / 2 + 1 + 6 + 5) / 18, ()),
        ("first_quarter", (1 + 0) / 2, ("empty",)),
        ("official_medical_sam2", (1 + 0) / 2, ("empty",)),
        ("crop128", (4 / 7 + 0) / 2, ()),
    ],
)
def test_golden_dice(cases, rule, dice, left_out):
    found = score_cases(cases, protocol=rule)
    assert found.value == pytest.approx(dice)
    assert (found.protocol, found.cases, found.left_out) == (rule, 3, left_out)


def test_case3d_counts_what_it_cannot_score(cases):
    found = score_cases(cases)
    assert found.undefined == {"both_empty": 1}
    assert found.text == "0.286 (n = 2 of 3; 1 misses)"


def test_lesion_finds_none_of_one_and_three_false(partial):
    values = {
        name: score_cases([partial], protocol="lesion", metric_name=name).value
        for name in ("lesion_f1", "lesion_pq", "lesion_sensitivity", "lesion_precision", "false_lesions")
    }
    assert values == {
        "lesion_f1": 0,
        "lesion_pq": 0,
        "lesion_sensitivity": 0,
        "lesion_precision": 0,
        "false_lesions": 3,
    }


def test_a_window_round_the_reference_hides_what_is_outside(partial):
    narrow = replace(protocol("crop128"), crop=(4, 2, 2))
    found = aggregate(narrow, [cut(narrow, partial)], metric("dice"))
    assert found.value == pytest.approx(16 / 24)


def test_crop128_forgives_a_false_tumour_far_away():
    reference, prediction = volume((3, 4, 200)), volume((3, 4, 200))
    reference.voxels[1, :2, 10:12] = prediction.voxels[1, :2, 10:12] = True
    prediction.voxels[1, :2, 150:152] = True
    case = ScoredCase("far", reference, prediction)
    assert score_cases([case], protocol="crop128").value == 1
    assert score_cases([case]).value == pytest.approx(2 / 3)


def test_medical_sam2_averages_five_logit_thresholds_and_every_object(partial):
    found = ScoredCase("soft", partial.reference, soft(partial.prediction, 0.4))
    assert score_cases([found], protocol="official_medical_sam2").value == pytest.approx(2 / 5)
    # A second object, absent from the scored slice and predicted absent, counts 1 there.
    absent = volume()
    absent.voxels[4, 3, 3] = True
    two = replace(found, objects={"other": (absent, volume())})
    assert score_cases([two], protocol="official_medical_sam2").value == pytest.approx((2 / 5 + 1) / 2)


def test_msam_scores_logits_above_a_half_and_leaves_small_tumours_out(partial):
    reference = volume((14, 14, 14))
    reference.voxels[1:12, 1:12, 1:12] = True
    hesitant, sure = (ScoredCase(f"{logit}", reference, soft(reference, logit)) for logit in (0.4, 0.6))
    found = score_cases([hesitant, sure, partial], protocol="official_msam")
    assert found.by_case == {"0.4": 0, "0.6": 1}
    assert found.left_out == ("partial",)
    assert found.from_reference["cases_dropped"] == 1


def test_three_objects_are_averaged(partial):
    lung = volume()
    lung.voxels[:, 2:] = True
    case = replace(partial, objects={"lung_left": (lung, lung), "lung_right": (lung, lung)})
    assert score_cases([case], protocol="three_object_avg").value == pytest.approx((1 + 1 + 4 / 7) / 3)


def three_objects(partial):
    """One lung on all slices, predicted whole; the other on slices 0 and 1, predicted on 0 alone."""
    left, right, half = volume(), volume(), volume()
    left.voxels[:, 2:, 2:] = True
    right.voxels[:2, 2:, :2] = half.voxels[:1, 2:, :2] = True
    return replace(partial, objects={"lung_left": (left, left), "lung_right": (right, half)})


def test_the_three_averages_of_one_column_differ_on_the_same_prediction(partial):
    case = three_objects(partial)
    # Of the volumes: left lung 1, right lung 2*4/(8+4), tumour 4/7.
    assert score_cases([case], protocol="three_object_avg").value == pytest.approx((1 + 2 / 3 + 4 / 7) / 3)
    # Of the instances: left lung 6 slices, right lung 2 (1, 0), tumour 4 (1, 2/3, 0, 1/2).
    lungs, tumour = 6 + 1, 1 + 2 / 3 + 1 / 2
    assert score_cases([case], protocol="instance_avg").value == pytest.approx((lungs + tumour) / 12)
    # Background by slice, reference and prediction: 8/8, 4/8 (4 common), 8/10 (8), 8/12 (8), 8/8 (6), 12/11... by hand:
    background = [1, 2 * 4 / (4 + 8), 2 * 8 / (8 + 10), 2 * 8 / (8 + 12), 2 * 6 / (8 + 8), 2 * 12 / (12 + 12)]
    assert score_cases([case], protocol="background_avg").value == pytest.approx(
        (lungs + tumour + sum(background)) / 18
    )


def test_slices_beyond_the_lungs_are_not_scored(partial):
    lung = volume()
    lung.voxels[1:4, 2:] = True
    case = replace(partial, objects={"lung_left": (lung, lung), "lung_right": (volume(), volume())})
    assert score_cases([case], protocol="lung_slices_empty1").value == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_rule_with_thresholds_of_its_own_takes_the_probability_beside_a_mask(partial):
    case = replace(partial, probability=soft(partial.prediction, 0.4))
    assert score_cases([case], protocol="official_medical_sam2").value == pytest.approx(2 / 5)
    assert score_cases([case]).value == score_cases([partial]).value
    assert score_cases([case], metric_name="brier@whole").value > 0


def test_three_objects_must_be_given(partial):
    with pytest.raises(InputError, match="case partial lacks lung_left, lung_right"):
        score_cases([partial], protocol="three_object_avg")


def test_nothing_predicted_scores_zero_by_default_and_the_share_of_empty_slices_elsewhere(partial):
    silent = replace(partial, prediction=volume())
    assert score_cases([silent]).value == 0
    for rule in ("all_slices_empty1", "all_slices_silenced"):
        assert score_cases([silent], protocol=rule).value == pytest.approx(2 / 6)
    for rule in ("pooled", "tumour_slices", "first_quarter", "official_medical_sam2", "crop128"):
        assert score_cases([silent], protocol=rule).value == 0


def test_the_spread_over_all_protocols_names_each(cases):
    found = {score.protocol: score.value for score in under_all_protocols(cases)}
    assert {"case3d", "pooled", "all_slices_silenced", "official_medical_sam2"} <= set(found)
    assert "three_object_avg" not in found  # no lungs were given
    assert max(v for v in found.values() if v is not None) > found["case3d"]


def test_official_runs_list_what_they_take_from_the_reference():
    assert protocol("official_medical_sam2").from_reference["z_extent_known"]
    assert protocol("official_msam").from_reference["crop_centre_known"]
    assert protocol("case3d").from_reference == {}


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("volume", "case3d"),
        ("pseudo_dice", "pooled"),
        ("slice_present", "tumour_slices"),
        ("slice_all", "all_slices_empty1"),
    ],
)
def test_aliases(alias, name):
    assert protocol(alias).name == name


def test_an_unknown_protocol_suggests_near_ones():
    with pytest.raises(UnknownNameError, match="Did you mean: case3d"):
        protocol("case3")


@pytest.mark.parametrize("name", ["case3d@case", "tumour_slices@slice", "tumour_slices@"])
def test_only_slices_can_be_averaged_within_a_case(name):
    with pytest.raises(InputError, match="only '@case'"):
        protocol(name)


@pytest.mark.parametrize(("rule", "name"), [("pooled", "hd"), ("official_medical_sam2", "hd"), ("lesion", "dice")])
def test_a_metric_without_meaning_under_a_rule_is_refused(partial, rule, name):
    with pytest.raises(InputError, match="does not define"):
        score_cases([partial], protocol=rule, metric_name=name)


def test_names_must_differ_and_cases_must_be_there(partial):
    with pytest.raises(InputError, match="Two cases are named 'partial'"):
        score_cases([partial, partial])
    with pytest.raises(InputError, match="no case"):
        score_cases([])


class TestMisses:
    def test_a_miss_leaves_the_mean_distance_alone_and_is_printed(self, partial, missed):
        alone, both = (score_cases(c, metric_name="hd95_max") for c in ([partial], [partial, missed]))
        assert both.value == alone.value
        assert both.text.endswith("mm (n = 1 of 2; 1 misses)")

    @pytest.mark.parametrize(("rule", "cost"), [("worst", np.sqrt(18**2 + 4**2 + 4**2)), ("penalty@50", 50)])
    def test_a_miss_can_be_given_a_price(self, partial, missed, rule, cost):
        found = score_cases([partial, missed], metric_name="hd95_max", misses=rule)
        assert found.by_case["missed"] == pytest.approx(cost)
        assert found.misses == rule
        assert found.undefined == {}

    def test_worst_is_no_better_than_any_finite_distance(self, partial, missed):
        found = score_cases([partial, missed], metric_name="hd", misses="worst").by_case
        assert found["missed"] >= found["partial"]

    def test_both_empty_has_no_price(self, empty):
        found = score_cases([empty], metric_name="hd", misses="worst")
        assert (found.value, found.reason) == (None, "both_empty")

    def test_detected_only_says_how_many_were_missed(self, cases):
        found = score_cases(cases, misses="detected_only")
        assert found.value == pytest.approx(4 / 7)
        assert (found.missed, found.undefined) == (1, {"prediction_empty": 1, "both_empty": 1})

    @pytest.mark.parametrize("name", ["dice", "iou", "sensitivity", "nsd_border@2", "sdice_surfel@2", "kappa"])
    def test_adding_a_miss_worsens_every_mean_of_overlap(self, partial, missed, name):
        with_miss = score_cases([partial, missed], metric_name=name).value
        assert with_miss < score_cases([partial], metric_name=name).value

    @pytest.mark.parametrize("name", ["hd", "hd95_max", "hd95_pooled", "assd", "masd", "com_distance"])
    def test_adding_a_miss_never_improves_a_mean_distance(self, partial, missed, name):
        for rule in ("undefined", "worst"):
            with_miss = score_cases([partial, missed], metric_name=name, misses=rule).value
            assert with_miss >= score_cases([partial], metric_name=name, misses=rule).value

    @pytest.mark.parametrize("text", ["zero", "penalty", "penalty@-1", "penalty@x", "worst@3"])
    def test_unknown_prices_are_refused(self, text):
        with pytest.raises(InputError, match="Choose from: undefined, worst"):
            Misses.parse(text)
