import json

import numpy as np
import pytest
from scipy import stats

from oncoseg.errors import InputError
from oncoseg.evaluation import statistics
from oncoseg.evaluation.statistics import compare, mean_interval, median_of, summarise, summarise_scores
from oncoseg.score import Score


def score(case, value, reason=None, metric="dice"):
    return Score(case, "p", "tumour", metric, "case3d", value, reason, "", True)


def test_mean_median_and_spread():
    summary = summarise([0.2, 0.4, 0.9])
    assert (summary.n, summary.patients) == (3, 3)
    assert (summary.mean, summary.median) == (pytest.approx(0.5), 0.4)
    assert summary.sd == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert summary.few


def test_t_interval_of_a_known_sample():
    # R: t.test(c(1, 2, 3, 4, 5))$conf.int
    summary = summarise([1, 2, 3, 4, 5])
    assert (summary.t_low, summary.t_high) == (pytest.approx(1.036757, abs=1e-6), pytest.approx(4.963243, abs=1e-6))


def test_bootstrap_interval_holds_the_mean_and_is_the_same_every_time():
    values = np.random.default_rng(0).beta(5, 2, 60).tolist()
    summary = summarise(values)
    assert summary.low < summary.mean < summary.high
    assert not summary.few
    assert summarise(values) == summary
    assert summarise(values, seed=1).low != summary.low


def test_patients_count_once():
    summary = summarise([0.0, 1.0, 0.5, 0.8], patients=["a", "a", "b", "c"])
    assert (summary.n, summary.patients) == (4, 3)
    assert summary.mean == pytest.approx((0.5 + 0.5 + 0.8) / 3)


def test_undefined_scores_are_counted_by_reason_and_not_filled_in():
    summary = summarise([0.5, None, 0.7, None], reasons=[None, "both_empty", None, "prediction_empty"])
    assert summary.mean == pytest.approx(0.6)
    assert summary.undefined == {"both_empty": 1, "prediction_empty": 1}
    assert summary.count_text == "n = 2 of 4; 1 both_empty; 1 prediction_empty"


@pytest.mark.parametrize(
    ("values", "reason"), [([], "no_value"), ([None], "no_value"), ([0.5], "one_case"), ([0.1 + 0.2, 0.3], "no_spread")]
)
def test_an_interval_that_cannot_be_made_has_a_reason(values, reason):
    summary = summarise(values)
    assert (summary.low, summary.t_low, summary.reason) == (None, None, reason)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_refused(bad):
    with pytest.raises(InputError, match="NaN or infinite"):
        summarise([0.5, bad])


def test_lists_must_fit_together():
    with pytest.raises(InputError, match="2 values, 1 patients"):
        summarise([0.5, 0.6], patients=["a"])


def test_scores_bring_their_reasons():
    summary = summarise_scores([score("a", 0.5), score("b", None, "both_empty")])
    assert (summary.mean, summary.undefined) == (0.5, {"both_empty": 1})


def test_different_metrics_are_not_averaged():
    with pytest.raises(InputError, match="different metrics"):
        summarise_scores([score("a", 0.5), score("b", 0.5, metric="iou")])


def test_wilcoxon_of_demsar(shared):
    problem = {p["id"]: p for p in json.loads((shared / "cases" / "statistics.json").read_text())}["demsar_wilcoxon"]
    first, second = (dict(enumerate(map(float, problem[key]))) for key in ("x", "y"))
    found = compare(*({str(case): value for case, value in side.items()} for side in (first, second)))
    assert found.statistic == pytest.approx(12)
    assert found.p == pytest.approx(0.01097, abs=5e-5)
    assert "zeros split" in found.test


def test_models_are_compared_on_the_cases_defined_for_both():
    first = {"a": 0.9, "b": 0.7, "c": None, "d": 0.4}
    second = {"a": 0.8, "b": 0.75, "c": 0.5, "e": 0.1}
    found = compare(first, second)
    assert found.difference.n == 2
    assert found.left_out == 3
    assert found.difference.mean == pytest.approx(0.025)


def test_swapping_the_models_turns_the_signs():
    rng = np.random.default_rng(4)
    first = {str(i): v for i, v in enumerate(rng.random(20))}
    second = {case: v + rng.normal(0.1, 0.1) for case, v in first.items()}
    there, back = compare(first, second), compare(second, first)
    assert there.p == back.p
    assert there.effect == -back.effect < 0
    assert there.difference.mean == pytest.approx(-back.difference.mean)
    assert there.test.endswith("exact")


def test_equal_models_have_no_p_value():
    same = {"a": 0.5, "b": 0.6}
    found = compare(same, same)
    assert (found.p, found.effect, found.reason) == (None, None, "no_spread")
    assert found.difference.mean == 0


def test_models_without_a_common_case_are_refused():
    with pytest.raises(InputError, match="no case in common"):
        compare({"a": 1.0}, {"b": 1.0})


@pytest.mark.parametrize("draw", [lambda rng: rng.beta(6, 1.6, 60), lambda rng: rng.exponential(1, 25)])
def test_bca_interval_is_that_of_scipy(draw):
    values = draw(np.random.default_rng(0))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=50_000, method="BCa", random_state=np.random.default_rng(1)
    ).confidence_interval
    # Both are known up to their draws: a hundredth of the width is two of their standard errors.
    assert mean_interval(values) == pytest.approx(tuple(expected), abs=0.03 * (expected.high - expected.low))


def test_intervals_of_columns_are_those_of_each():
    values = np.random.default_rng(0).random((30, 3))
    values[:, 1] = 0.5
    found = statistics.mean_intervals(values)
    assert [found[0], found[2]] == [pytest.approx(mean_interval(values[:, n])) for n in (0, 2)]
    assert found[1] is None


def test_many_patients_are_drawn_in_parts(monkeypatch):
    values = np.random.default_rng(0).random(120)
    whole = mean_interval(values)
    monkeypatch.setattr(statistics, "_KEPT_UP_TO", 10)
    assert mean_interval(values) == pytest.approx(whole)


def test_median_has_a_percentile_interval_and_a_warning_below_fifty():
    values = np.random.default_rng(0).beta(6, 1.6, 30)
    found = median_of(values)
    assert found.value == np.median(values)
    assert found.low < found.value < found.high
    assert "n < 50" in found.warning
    assert median_of(np.random.default_rng(0).random(60)).warning == ""


@pytest.mark.parametrize(("values", "reason"), [([], "no_value"), ([0.5], "one_case"), ([0.5, 0.5], "no_spread")])
def test_a_median_without_interval_has_a_reason(values, reason):
    found = median_of(np.array(values))
    assert (found.low, found.high, found.reason) == (None, None, reason)
    assert found.value == (0.5 if values else None)


@pytest.mark.slow
def test_the_medians_interval_covers_it_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    rng = np.random.default_rng(0)
    truth = stats.beta(6, 1.6).median()
    found = [median_of(rng.beta(6, 1.6, 50)) for _ in range(300)]
    # The reference measured .938 at 50; the basic bootstrap .855.
    assert 0.91 <= np.mean([m.low <= truth <= m.high for m in found]) <= 0.98


@pytest.mark.slow
def test_the_interval_covers_the_mean_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    rng = np.random.default_rng(0)
    draws = [np.where(rng.random(100) < 0.05, 0, rng.beta(6, 1.6, 100)) for _ in range(300)]
    truth = 0.95 * 6 / 7.6
    covered = np.mean([low <= truth <= high for low, high in map(statistics.mean_interval, draws)])
    assert 0.92 <= covered <= 0.98
