"""Consensus of rankings, several seeds, power, training trajectories."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.consensus import agreement, consensus
from oncoseg.evaluation.comparison.power import patients_for_width, patients_needed
from oncoseg.evaluation.comparison.seeds import over_seeds
from oncoseg.evaluation.comparison.trajectory import LABEL, autocorrelation, training_trajectory


class TestConsensus:
    def test_mean_rank_over_tasks(self):
        found = consensus(
            {"t1": {"a": 1, "b": 2, "c": 3}, "t2": {"a": 1, "b": 3, "c": 2}, "t3": {"a": 2, "b": 1, "c": 3}}
        )
        assert found.mean_ranks == pytest.approx((4 / 3, 2, 8 / 3))
        assert (found.ranks, found.low, found.high) == ((1, 2, 3), (1, 1, 2), (2, 3, 3))
        # S = (4 - 6)^2 + 0 + (8 - 6)^2 = 8; W = 12 * 8 / (9 * 24).
        assert found.kendall_w == pytest.approx(12 * 8 / (9 * 24))

    def test_equal_tasks_agree_wholly(self):
        one = {"a": 1, "b": 1, "c": 3}
        assert consensus({"t1": one, "t2": one}).kendall_w == pytest.approx(1)

    @pytest.mark.parametrize(
        ("tasks", "reason"),
        [({"t": {"a": 1, "b": 2}}, "one_task"), ({"t": {"a": 1, "b": 1}, "u": {"a": 1, "b": 1}}, "all_tied")],
    )
    def test_agreement_that_is_undefined_has_a_reason(self, tasks, reason):
        found = consensus(tasks)
        assert (found.kendall_w, found.reason) == (None, reason)

    def test_tasks_must_rank_the_same_models(self):
        with pytest.raises(InputError, match="'u' ranks other models"):
            consensus({"t": {"a": 1}, "u": {"b": 1}})


def test_rules_that_disagree_about_the_winner():
    found = agreement(
        {"mean": {"a": 1, "b": 2, "c": 3}, "median": {"a": 2, "b": 1, "c": 3}, "none": dict.fromkeys("abc", 1)}
    )
    assert found.tau[0] == (1.0, pytest.approx(1 / 3), None)
    assert (found.low["a"], found.high["a"], found.same_winner) == (1, 2, False)


class TestSeveralSeeds:
    rng = np.random.default_rng(0)
    hard = rng.normal(0.7, 0.1, 60)

    def scores(self, shifts, noise=0.02):
        rng = np.random.default_rng(1)
        return {
            s: {f"c{i}": float(v + shift + rng.normal(0, noise)) for i, v in enumerate(self.hard)}
            for s, shift in enumerate(shifts)
        }

    def test_spread_between_seeds_widens_the_interval(self):
        found = over_seeds(self.scores([-0.06, -0.03, 0, 0.03, 0.06]))
        assert found.low < found.patients_low < found.mean < found.patients_high < found.high
        assert found.between_seeds == pytest.approx(np.std([-0.06, -0.03, 0, 0.03, 0.06], ddof=1), abs=0.01)
        assert (found.seeds, found.patients, found.warning) == (5, 60, "")

    def test_width_is_that_of_both_variances(self):
        shifts = np.linspace(-0.06, 0.06, 8)
        found = over_seeds(self.scores(shifts))
        expected = math.hypot(self.hard.std() / math.sqrt(60), shifts.std() / math.sqrt(8))
        assert (found.high - found.low) / (2 * 1.96) == pytest.approx(expected, rel=0.08)

    def test_a_difference_is_paired_by_patient(self):
        first = self.scores([0, 0, 0], noise=0.0)
        second = {s: {case: v - 0.1 for case, v in held.items()} for s, held in first.items()}
        found = over_seeds(first, against=second)
        assert (found.low, found.high) == pytest.approx((0.1, 0.1))
        assert "3 seeds" in found.warning

    @pytest.mark.parametrize(
        ("scores", "reason"),
        [
            ({0: {"a": 0.5, "b": 0.6}}, "one_seed"),
            ({0: {"a": 0.5}, 1: {"a": 0.6}}, "one_case"),
            ({0: {"a": None}}, "no_value"),
        ],
    )
    def test_what_has_no_interval_has_a_reason(self, scores, reason):
        found = over_seeds(scores)
        assert (found.low, found.high, found.reason) == (None, None, reason)

    def test_undefined_cases_are_left_out_for_all_seeds(self):
        found = over_seeds({0: {"a": 0.5, "b": None, "c": 0.7}, 1: {"a": 0.5, "b": 0.1, "c": 0.7}})
        assert (found.patients, found.left_out, found.mean) == (2, 1, pytest.approx(0.6))


class TestPatientsNeeded:
    def test_the_t_test_is_statsmodels(self):
        differences = np.random.default_rng(0).normal(0.3, 1, 60)
        effect = differences.mean() / differences.std(ddof=1)
        found = patients_needed(differences)
        assert found.t_test == math.ceil(TTestPower().solve_power(effect, None, 0.05, 0.8, "two-sided"))
        assert found.low < found.t_test < found.high

    def test_cohens_example(self):
        # G*Power: paired t-test, d_z = .5, alpha .05 two-sided, power .8: 34 pairs.
        scores = stats.norm.ppf((np.arange(200) + 0.5) / 200)
        found = patients_needed(scores / scores.std(ddof=1) + 0.5)
        assert found.t_test == 34
        # Wilcoxon needs about 3 / pi as many of normal differences.
        assert found.wilcoxon == pytest.approx(34 * math.pi / 3, abs=5)

    def test_a_study_of_that_size_finds_it(self):
        differences = np.random.default_rng(2).normal(0.4, 1, 50)
        found = patients_needed(differences)
        rng = np.random.default_rng(9)
        hits = [
            stats.wilcoxon(rng.choice(differences, found.wilcoxon), method="approx").pvalue < 0.05 for _ in range(400)
        ]
        assert np.mean(hits) == pytest.approx(0.8, abs=0.08)

    def test_an_interval_that_holds_zero_has_no_upper_end(self):
        found = patients_needed(np.random.default_rng(0).normal(0.05, 1, 40))
        assert found.high is None
        assert "the true difference may be 0" in found.statement

    @pytest.mark.parametrize(
        ("differences", "reason"),
        [([], "no_value"), ([0.1], "one_case"), ([0.1, 0.1, 0.1], "no_spread"), ([0.1, -0.1], "no_difference")],
    )
    def test_what_cannot_be_planned_has_a_reason(self, differences, reason):
        found = patients_needed(np.array(differences))
        assert (found.t_test, found.wilcoxon, found.reason) == (None, None, reason)
        assert "cannot be said" in found.statement

    @pytest.mark.parametrize("effect", [3, 5, 7.4, 10, 30])
    def test_large_effects_need_few_patients(self, effect):
        scores = stats.norm.ppf((np.arange(26) + 0.5) / 26)
        found = patients_needed(scores / scores.std(ddof=1) + effect)
        assert 2 <= found.low <= found.t_test <= found.high <= 5

    def test_too_many_is_said_so(self):
        values = np.random.default_rng(0).normal(0, 1, 100)
        found = patients_needed(values - values.mean() + 0.001)
        assert found.t_test is None

    def test_nonsense_is_refused(self):
        with pytest.raises(InputError, match="alpha < power"):
            patients_needed(np.array([0.1, 0.2]), power=0.04)


def test_patients_for_an_interval_of_given_width():
    # El Jurdi et al. (arXiv 2307.10926): 1 % wide at SD 3 %: the formula gives 138.3.
    assert patients_for_width(0.03, 0.01) == 139
    with pytest.raises(InputError, match="cannot be planned"):
        patients_for_width(0.1, 0)


_RNG = np.random.default_rng(0)
CURVES = {
    "rising": (0.8 - 0.3 * np.exp(-np.arange(100) / 20) + _RNG.normal(0, 0.01, 100)).tolist(),
    "flat": _RNG.normal(0.78, 0.01, 100).tolist(),
    "equal": _RNG.normal(0.78, 0.01, 100).tolist(),
}


class TestTrainingTrajectory:
    def test_it_is_the_published_procedure(self):
        found = training_trajectory(CURVES)
        arrays = [np.array(v) for v in CURVES.values()]
        assert found.groups.classic.statistic == pytest.approx(stats.f_oneway(*arrays).statistic)
        assert found.groups.levene.p == pytest.approx(stats.levene(*arrays).pvalue)
        assert [c.normality.w for c in found.courses] == pytest.approx([stats.shapiro(a).statistic for a in arrays])
        welch = {(p.test.first, p.test.second): p for p in found.pairs}
        expected = stats.ttest_ind(arrays[0], arrays[1], equal_var=False).pvalue
        assert welch["rising", "flat"].p == pytest.approx(expected)
        assert welch["rising", "flat"].stars == "***"
        assert welch["flat", "equal"].stars == ""

    def test_it_says_what_it_is(self):
        found = training_trajectory(CURVES)
        assert found.label == LABEL
        assert "not patients" in found.label
        assert any("repeat each other" in note and "rising" in note for note in found.notes)
        assert any("another seed" in note for note in found.notes)
        assert found.courses[0].worth < 30 < found.courses[1].worth

    def test_the_paper_stops_where_the_anova_is_not_significant(self):
        found = training_trajectory({k: CURVES[k] for k in ("flat", "equal")})
        assert not found.pairs_follow
        assert any("stops there" in note for note in found.notes)

    def test_undefined_epochs_are_counted(self):
        found = training_trajectory({"a": [None, 0.5, 0.6, 0.7], "b": [0.4, 0.5, 0.7, 0.8]})
        assert (found.courses[0].epochs, found.courses[0].undefined) == (3, 1)

    @pytest.mark.parametrize(
        ("values", "message"), [({"a": [0.5]}, "several models"), ({"a": [None], "b": [0.5]}, "epoch of a")]
    )
    def test_nothing_to_compare_is_refused(self, values, message):
        with pytest.raises(InputError, match=message):
            training_trajectory(values)


def test_autocorrelation_by_hand():
    # Deviations -1, 0, 1: products 0 and 0 over 2; of 1, -1, 1, -1: -3 / 4.
    assert autocorrelation(np.array([1.0, 2.0, 3.0])) == 0
    assert autocorrelation(np.array([1.0, -1.0, 1.0, -1.0])) == pytest.approx(-0.75)
    assert autocorrelation(np.array([1.0, 1.0, 1.0])) is None
