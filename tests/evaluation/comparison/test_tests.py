"""Paired tests, tests of several models and of independent groups: choices, reasons, what must not matter."""

import numpy as np
import pytest
from scipy import stats

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.friedman import conover, friedman, nemenyi, nemenyi_q, pairwise_wilcoxon
from oncoseg.evaluation.comparison.independent import compare_groups, two_groups
from oncoseg.evaluation.comparison.multiplicity import adjust, stars
from oncoseg.evaluation.comparison.paired import PAIRED_T, all_pairs, interval_of, normality, paired_test
from oncoseg.evaluation.comparison.table import score_table


def table(values, patients=None):
    columns = list(zip(*values, strict=True))
    return score_table(
        {f"m{j}": {f"c{i}": v for i, v in enumerate(c)} for j, c in enumerate(columns)}, patients=patients
    )


@pytest.fixture(scope="module")
def normal():
    rng = np.random.default_rng(0)
    first = rng.normal(0.7, 0.1, 40)
    return table(np.stack([first, first - rng.normal(0.03, 0.05, 40)], axis=1).tolist())


@pytest.fixture(scope="module")
def skewed():
    rng = np.random.default_rng(0)
    first = rng.beta(8, 2, 60)
    return table(np.stack([first, first - rng.exponential(0.05, 60) + 0.03], axis=1).tolist())


def test_normal_differences_get_the_t_test(normal):
    found = paired_test(normal, "m0", "m1")
    expected = stats.ttest_rel(normal.values[:, 0], normal.values[:, 1])
    assert found.test == PAIRED_T
    assert (found.statistic, found.p, found.df) == pytest.approx((expected.statistic, expected.pvalue, 39))
    assert "normality not rejected" in found.chosen
    assert interval_of(found) == pytest.approx(expected.confidence_interval(0.95), rel=1e-9)


def test_others_get_wilcoxons(skewed):
    found = paired_test(skewed, "m0", "m1")
    assert found.test.startswith("Wilcoxon signed-rank, two-sided, zeros split")
    assert "not normal" in found.chosen
    assert found.normality.p < 0.05
    assert interval_of(found) == (found.difference.low, found.difference.high)


def test_effect_sizes_by_hand():
    # Differences 1, 2, 3, -1 (ranks 1.5, 3, 4, 1.5): (8.5 - 1.5) / 10; mean 1.25, SD 1.7078.
    found = paired_test(table([[1, 0], [2, 0], [3, 0], [0, 1]]), "m0", "m1", choose="wilcoxon")
    assert found.rank_biserial == pytest.approx(0.7)
    assert found.cohen_dz == pytest.approx(1.25 / np.sqrt(8.75 / 3))


def test_swapping_the_models_turns_the_signs(normal):
    there, back = paired_test(normal, "m0", "m1"), paired_test(normal, "m1", "m0")
    assert there.p == pytest.approx(back.p)
    assert (there.cohen_dz, there.rank_biserial) == pytest.approx((-back.cohen_dz, -back.rank_biserial))


@pytest.mark.parametrize(
    ("values", "choose", "reason"),
    [
        ([[0.5, 0.5], [0.6, 0.6]], "wilcoxon", "no_spread"),
        ([[0.5, 0.4], [0.6, 0.5], [0.7, 0.6]], "t", "no_spread"),
        ([[0.5, 0.4]], "shapiro", "one_case"),
        ([[0.5, None]], "shapiro", "no_value"),
    ],
)
def test_what_cannot_be_tested_has_a_reason_and_no_p(values, choose, reason):
    found = paired_test(table(values), "m0", "m1", choose=choose)
    assert (found.p, found.statistic, found.reason) == (None, None, reason)


def test_equal_differences_are_no_obstacle_for_ranks():
    found = paired_test(table([[0.5, 0.4], [0.6, 0.5], [0.7, 0.6]]), "m0", "m1", choose="wilcoxon")
    assert found.p is not None
    assert found.cohen_dz is None


def test_undefined_scores_leave_a_pair_together_and_are_counted():
    held = table([[0.9, 0.8, 0.7], [0.7, None, 0.6], [0.5, 0.6, None], [0.6, 0.5, 0.4]])
    tests = {(t.first, t.second): t for t in all_pairs(held)}
    assert {pair: (t.n, t.left_out) for pair, t in tests.items()} == {
        ("m0", "m1"): (3, 1),
        ("m0", "m2"): (3, 1),
        ("m1", "m2"): (2, 2),
    }
    assert held.undefined == {"m1": 1, "m2": 1}
    assert held.complete().dropped == ("c1", "c2")


def test_cases_of_one_patient_are_averaged_first():
    held = table([[0.2, 0.0], [0.6, 0.0], [0.5, 0.1]], patients={"c0": "p", "c1": "p", "c2": "q"})
    assert held.complete().values.tolist() == [[pytest.approx(0.4), 0.0], [0.5, 0.1]]
    assert paired_test(held, "m0", "m1").n == 2


def test_cases_that_some_models_lack_are_named():
    held = score_table({"a": {"c1": 1.0, "c2": 2.0}, "b": {"c2": 1.0, "c3": 1.0}})
    assert (held.cases, held.not_shared) == (("c2",), ("c1", "c3"))


@pytest.mark.parametrize(
    ("scores", "message"),
    [({}, "no model"), ({"a": {"c": 1.0}, "b": {"d": 1.0}}, "no case in common"), ({"a": {"c": np.nan}}, "NaN")],
)
def test_tables_that_compare_nothing_are_refused(scores, message):
    with pytest.raises(InputError, match=message):
        score_table(scores)


def test_pairs_are_corrected_together_and_share_their_draws(skewed):
    wide = table(np.column_stack([skewed.values, skewed.values[:, 0] - 0.1]).tolist())
    tests = all_pairs(wide, choose="wilcoxon")
    assert [t.p_adjusted for t in tests] == adjust([t.p for t in tests], "holm")
    # Undrawn: each pair alone agrees up to the draws.
    alone = paired_test(wide, "m0", "m1", choose="wilcoxon")
    assert tests[0].difference.low == pytest.approx(alone.difference.low)
    assert tests[0].p == alone.p


class TestSeveralModels:
    values = np.random.default_rng(1).beta(6, 2, (25, 4)) + np.array([0, 0.02, 0.1, 0.1])

    def test_without_ties_both_chi_squares_agree(self):
        found = friedman(table(self.values.tolist()).complete(), larger_is_better=True)
        assert found.chi2 == pytest.approx(found.chi2_corrected)
        assert not found.tied

    def test_permuted_cases_and_models_change_labels_only(self):
        rng = np.random.default_rng(0)
        here = table(self.values.tolist()).complete()
        shuffled = table(self.values[rng.permutation(25)].tolist()).complete(["m2", "m0", "m3", "m1"])
        one, two = (friedman(held, larger_is_better=True) for held in (here, shuffled))
        assert (one.chi2, one.f) == pytest.approx((two.chi2, two.f))
        assert dict(zip(one.models, one.mean_ranks, strict=True)) == dict(zip(two.models, two.mean_ranks, strict=True))
        for test in (nemenyi, conover, pairwise_wilcoxon):
            a, b = test(here), test(shuffled)
            at = [a.models.index(m) for m in b.models]
            assert np.array(b.p) == pytest.approx(np.array(a.p)[np.ix_(at, at)])

    def test_direction_turns_the_ranks(self):
        held = table(self.values.tolist()).complete()
        up, down = (friedman(held, larger_is_better=better) for better in (True, False))
        assert np.array(up.mean_ranks) + np.array(down.mean_ranks) == pytest.approx(np.full(4, 5))
        assert up.chi2 == pytest.approx(down.chi2)

    def test_wilcoxon_of_pairs_is_holms(self):
        held = table(self.values.tolist()).complete()
        found = pairwise_wilcoxon(held)
        single = [
            stats.wilcoxon(self.values[:, a], self.values[:, b], zero_method="zsplit").pvalue
            for a in range(4)
            for b in range(a + 1, 4)
        ]
        assert np.array(found.p)[np.triu_indices(4, 1)] == pytest.approx(adjust(single))
        assert found.effect[0][2] < 0 < found.effect[2][0]
        assert (found.correction, found.n) == ("Holm", 25)

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ([[1.0, 2.0, 3.0]], "one_case"),
            ([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], "all_tied"),
            ([[1.0, None, 2.0], [None, 1.0, 2.0]], "no_value"),
            ([[1.0, 2.0], [3.0, 4.0]], "two_models"),
        ],
    )
    def test_what_cannot_be_tested_has_a_reason(self, values, reason):
        held = table(values).complete()
        found = friedman(held, larger_is_better=True)
        assert (found.reason, found.p, found.f) == (reason, None, None)
        if reason != "two_models":
            assert nemenyi(held).reason == reason
            assert conover(held).reason == reason

    def test_nemenyi_needs_two_models(self):
        with pytest.raises(InputError, match="two models"):
            nemenyi_q(1)


_RNG = np.random.default_rng(0)
EQUAL = {name: _RNG.normal(mean, 1, 40).tolist() for name, mean in {"a": 0, "b": 1, "c": 0}.items()}


class TestIndependentGroups:
    def test_levene_gates_the_classic_anova(self):
        assert compare_groups(EQUAL).test.test == "one-way ANOVA, equal variances"
        wide = EQUAL | {"b": (10 * np.array(EQUAL["b"])).tolist()}
        found = compare_groups(wide)
        assert found.test == found.welch
        assert "spreads differ" in found.chosen

    def test_shapiro_gates_both(self):
        skewed = EQUAL | {"c": np.exp(3 * np.array(EQUAL["c"])).tolist()}
        found = compare_groups(skewed)
        assert found.test == found.kruskal
        assert "1 of 3 groups" in found.chosen

    def test_effect_sizes_by_definition(self):
        found = compare_groups(EQUAL)
        arrays = [np.array(v) for v in EQUAL.values()]
        everything = np.concatenate(arrays)
        between = sum(a.size * (a.mean() - everything.mean()) ** 2 for a in arrays)
        total = ((everything - everything.mean()) ** 2).sum()
        assert found.effects["eta_squared"] == pytest.approx(between / total)
        within = (total - between) / 117
        assert found.effects["omega_squared"] == pytest.approx((between - 2 * within) / (total + within))

    def test_two_groups_by_hand(self):
        found = two_groups({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]})
        # 1 of 9 pairs larger, 6 smaller; pooled SD 1, correction 1 - 3/15.
        assert found.cliffs_delta == pytest.approx((1 - 6) / 9)
        assert found.hedges_g == pytest.approx(-1 * (1 - 3 / 15))

    @pytest.mark.parametrize(
        ("groups", "reason"),
        [({"a": [1.0], "b": [2.0, 3.0]}, "one_case"), ({"a": [], "b": [1.0, 2.0]}, "no_value"),
         ({"a": [1.0, 1.0], "b": [1.0, 1.0]}, "no_spread")],
    )  # fmt: skip
    def test_what_cannot_be_tested_has_a_reason(self, groups, reason):
        assert two_groups(groups).reason == reason
        found = compare_groups(groups)
        assert (found.classic.p, found.classic.reason) == (None, reason)

    def test_nan_is_refused(self):
        with pytest.raises(InputError, match="Group 'b' holds NaN"):
            compare_groups({"a": [1.0], "b": [float("nan")]})


def test_undefined_p_values_stay_and_do_not_count():
    assert adjust([0.01, None, 0.04], "bonferroni") == [pytest.approx(0.02), None, pytest.approx(0.08)]
    assert adjust([None]) == [None]


def test_wrong_corrections_and_p_values_are_refused():
    with pytest.raises(InputError, match="Choose from: holm"):
        adjust([0.1], "tukey")
    with pytest.raises(InputError, match="outside"):
        adjust([1.1])


@pytest.mark.parametrize(("p", "text"), [(0.0009, "***"), (0.009, "**"), (0.04, "*"), (0.05, ""), (None, "")])
def test_stars(p, text):
    assert stars(p) == text


@pytest.mark.parametrize(
    ("values", "reason"), [([0.1, 0.2], "too_few"), ([0.5] * 4, "no_spread"), ([0.0] * 5001, "too_many")]
)
def test_normality_that_cannot_be_tested(values, reason):
    assert normality(np.array(values)).reason == reason
