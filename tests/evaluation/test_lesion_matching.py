"""Lesions by named rules, on masks small enough to count by hand."""

import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.evaluation.lesions import MatchRule
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.scoring import metric

SPACING = (2.0, 1.0, 1.0)


def pair(*, reference, prediction, shape=(3, 6, 30)):
    masks = np.zeros((2, *shape), dtype=bool)
    for mask, boxes in zip(masks, (reference, prediction), strict=True):
        for first, stop in boxes:
            mask[1, 2:4, first:stop] = True
    return MaskPair.from_arrays(*masks, SPACING)


@pytest.fixture
def shifted():
    """Three lesions of 4 columns; predictions shifted by 1 (IoU 3/5), by 3 (1/7), and 5 mm beside it."""
    return pair(reference=[(2, 6), (10, 14), (18, 22)], prediction=[(3, 7), (13, 17), (23, 27)])


@pytest.mark.parametrize(
    ("rule", "found"), [("iou0.5", 1), ("iou0.1", 2), ("centre1", 1), ("centre3", 2), ("centre5", 3)]
)
def test_the_rule_decides_what_is_found(shifted, rule, found):
    assert shifted.matched(MatchRule.parse(rule)).found == found
    assert metric(f"lesion_sensitivity@{rule}")(shifted).value == pytest.approx(found / 3)
    assert metric(f"false_lesions@{rule}")(shifted).value == 3 - found
    assert metric(f"missed_lesions@{rule}")(shifted).value == 3 - found


def test_a_pair_knows_its_iou_dice_and_distance(shifted):
    (first, second, third) = shifted.matched(MatchRule("centre", 5)).pairs
    assert (first.iou, first.dice, first.distance_mm) == pytest.approx((3 / 5, 3 / 4, 1))
    assert (second.iou, second.dice, second.distance_mm) == pytest.approx((1 / 7, 1 / 4, 3))
    assert (third.iou, third.dice, third.distance_mm) == pytest.approx((0, 0, 5))


def test_a_missed_lesion_counts_0_in_the_mean_dice(shifted):
    assert metric("lesion_dice")(shifted).value == pytest.approx(3 / 4 / 3)
    assert metric("lesion_sq_dice")(shifted).value == pytest.approx(3 / 4)
    assert metric("lesion_dice@iou0.1")(shifted).value == pytest.approx((3 / 4 + 1 / 4) / 3)


def test_each_lesion_is_matched_once(shifted):
    twice = pair(reference=[(2, 12)], prediction=[(2, 8), (9, 12)])
    match = twice.matched(MatchRule.parse("iou0.1"))
    assert [(p.prediction, p.iou) for p in match.pairs] == [(0, pytest.approx(0.6))]
    assert metric("false_lesions@iou0.1")(twice).value == 1
    near = pair(reference=[(2, 4), (6, 8)], prediction=[(4, 6)])
    assert [(p.reference, p.prediction) for p in near.matched(MatchRule("centre", 9)).pairs] == [(0, 0)]


def test_merged_and_split_lesions_are_counted():
    merged = pair(reference=[(2, 6), (8, 12)], prediction=[(3, 11)])
    assert (metric("merged_lesions")(merged).value, metric("split_lesions")(merged).value) == (1, 0)
    split = pair(reference=[(3, 11)], prediction=[(2, 6), (8, 12)])
    assert (metric("merged_lesions")(split).value, metric("split_lesions")(split).value) == (0, 1)


def test_a_distance_of_exactly_the_threshold_counts():
    one = pair(reference=[(2, 4)], prediction=[(5, 7)])
    assert one.matched(MatchRule("centre", 3)).found == 1
    assert one.matched(MatchRule("centre", 2.999)).found == 0


@pytest.mark.parametrize("text", ["iou0", "iou1.5", "iou", "centre-1", "overlap0.5", "centrex", "0.5"])
def test_unknown_rules_are_refused(shifted, text):
    with pytest.raises(InputError, match=r"[Mm]atching rule"):
        metric(f"lesion_f1@{text}")


def test_lesions_far_apart_are_cut_out_one_by_one():
    masks = np.zeros((2, 40, 60, 80), dtype=bool)
    masks[:, 2:5, 3:9, 4:9] = masks[:, 30:36, 40:50, 60:75] = True
    masks[1, 20, 20, 20] = True
    apart = MaskPair.from_arrays(*masks, SPACING)
    assert [island.start for island in apart.islands] == [(1, 2, 3), (19, 19, 19), (29, 39, 59)]
    assert (apart.counts.tp, apart.counts.fp) == (90 + 900, 1)
    assert apart.lesions.reference.voxels.tolist() == [90, 900]
    assert apart.lesions.reference.centres.tolist() == [[3, 5.5, 6], [32.5, 44.5, 67]]
    assert apart.lesions.voxels_of("prediction", 2).shape == (6, 10, 15)
    assert apart.lesions.voxels_of("prediction", 2).all()


def test_lesions_cut_apart_give_the_distances_of_the_whole():
    rng = np.random.default_rng(5)
    masks = np.zeros((2, 12, 30, 30), dtype=bool)
    masks[:, 1:5, 2:9, 3:9] = rng.random((2, 4, 7, 6)) < 0.7
    masks[:, 8:11, 15:25, 14:28] = rng.random((2, 3, 10, 14)) < 0.7
    from oncoseg.evaluation.islands import Island

    apart, whole = (MaskPair.from_arrays(*masks, SPACING) for _ in range(2))
    whole.islands = [Island((-1, -1, -1), *(np.pad(mask, 1) for mask in masks))]
    assert len(apart.islands) > 1
    names = ("dice", "hd", "hd95_max", "assd", "sdice_surfel@1", "boundary_iou@1.5", "added_path_length@0", "lesion_f1")
    for name in names:
        assert metric(name)(apart).value == pytest.approx(metric(name)(whole).value, rel=1e-12), name
