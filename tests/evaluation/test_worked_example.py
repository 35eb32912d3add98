"""scoring-protocols: one set of predictions, many numbers."""

from dataclasses import replace

import numpy as np
import pytest

from oncoseg.evaluation.aggregate import aggregate, cut
from oncoseg.evaluation.protocol import protocol
from oncoseg.evaluation.scoring import metric, score_cases
from oncoseg.evaluation.statistics import summarise
from oncoseg.evaluation.worked_example import worked_example


@pytest.fixture(scope="module")
def cases():
    return list(worked_example())


def test_case3d_with_spread_and_half_width(cases):
    found = score_cases(cases)
    summary = summarise(list(found.by_case.values()))
    assert found.value == pytest.approx(0.718, abs=1e-3)
    assert summary.sd == pytest.approx(0.223, abs=1e-3)
    assert 1.96 * summary.sd / np.sqrt(summary.n) == pytest.approx(0.057, abs=1e-3)


@pytest.mark.parametrize(
    ("rule", "dice"),
    [
        ("pooled", 0.783),
        ("tumour_slices@case", 0.665),
        ("all_slices_empty1", 0.940),
        ("all_slices_silenced", 0.959),
        ("first_quarter", 0.503),
    ],
)
def test_the_same_predictions_under_other_rules(cases, rule, dice):
    assert score_cases(cases, protocol=rule).value == pytest.approx(dice, abs=1e-3)


def test_a_window_round_the_reference_and_small_tumours_left_out(cases):
    window = replace(protocol("crop128"), crop=(42, 64, 64))
    large = replace(window, minimum_voxels=1000)
    assert aggregate(window, (cut(window, c) for c in cases), metric("dice")).value == pytest.approx(0.744, abs=1e-3)
    found = aggregate(large, (cut(large, c) for c in cases), metric("dice"))
    assert found.value == pytest.approx(0.735, abs=1e-3)
    assert found.cases - len(found.left_out) == 37


def test_predicting_nothing_scores_876_under_one_rule_and_0_under_ours(cases):
    nothing = cases[0].prediction.with_voxels(np.zeros(cases[0].prediction.shape, dtype=bool))
    silent = [replace(case, prediction=nothing) for case in cases]
    empty_slices = np.mean([1 - case.reference.voxels.any(axis=(1, 2)).mean() for case in cases])
    for rule in ("all_slices_empty1", "all_slices_silenced"):
        found = score_cases(silent, protocol=rule).value
        assert found == pytest.approx(0.876, abs=1e-3)
        assert found == pytest.approx(empty_slices)
    assert score_cases(silent).value == 0


def test_the_example_is_the_same_every_time():
    first, second = next(worked_example()), next(worked_example())
    np.testing.assert_array_equal(first.reference.voxels, second.reference.voxels)
    assert not np.array_equal(first.reference.voxels, next(worked_example(seed=1)).reference.voxels)
