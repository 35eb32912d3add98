"""Clicks to reach a Dice and the area under it, by hand."""

import pytest

from oncoseg.errors import InputError
from oncoseg.evaluation.interactive import area_under, interactive_scores, prompts_to_reach
from oncoseg.score import Round


def rounds(dice, given=None, reason=None):
    given = given or range(1, len(dice) + 1)
    return [
        Round("c", "p", "tumour", n, [], g, d, None if d is not None else reason, 0.1)
        for n, (d, g) in enumerate(zip(dice, given, strict=True))
    ]


def values(*arguments, **named):
    return {s.metric: s.value for s in interactive_scores(rounds(*arguments, **named))}


def test_the_first_prediction_that_is_good_enough_counts():
    assert prompts_to_reach([0.2, 0.85, 0.8, 0.95], [1, 2, 3, 4], 0.85) == (2, True)
    assert prompts_to_reach([0.2, 0.85, 0.8, 0.95], [1, 2, 3, 4], 0.90) == (4, True)
    assert prompts_to_reach([0.9], [1], 0.85) == (1, True)


def test_a_failure_is_counted_at_the_budget_and_told():
    assert values([0.2, 0.5, 0.7, 0.86]) == {
        "noc@85": 4.0,
        "noc_failure@85": 0.0,
        "noc@90": 4.0,
        "noc_failure@90": 1.0,
        "dice_clicks_area": pytest.approx((0.1 + 0.5 + 0.7 + 0.43) / 3),
    }


def test_several_lesions_need_several_first_clicks():
    assert values([0.5, 0.9], [3, 4])["noc@90"] == 4
    assert values([0.95, 0.95], [3, 3])["noc@90"] == 3


def test_the_area_is_a_mean_dice():
    assert area_under([0.5, 0.7, 0.9]) == pytest.approx(0.7)
    assert area_under([0.0, 1.0, 1.0]) == pytest.approx(0.75)
    assert area_under([0.4]) == 0.4
    assert area_under([0.6, 0.6, 0.6, 0.6]) == pytest.approx(0.6)


def test_what_is_undefined_stays_so_with_its_reason():
    scores = interactive_scores(rounds([None, None], reason="both_empty"))
    assert {(s.value, s.reason) for s in scores} == {(None, "both_empty")}
    assert len(scores) == 5
    assert interactive_scores([]) == []


def test_scores_know_their_unit_and_direction():
    found = {s.metric: (s.unit, s.higher_is_better, s.protocol) for s in interactive_scores(rounds([0.5, 0.6]))}
    assert found["noc@85"] == ("prompts", False, "case3d")
    assert found["dice_clicks_area"] == ("", True, "case3d")


def test_curves_that_are_none_are_refused():
    with pytest.raises(InputError, match="make no curve"):
        prompts_to_reach([0.5], [1, 2], 0.85)
    with pytest.raises(InputError, match="at least one round"):
        area_under([])
