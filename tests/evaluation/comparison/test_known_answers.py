"""Every problem of the shared list of statistical problems, at the precision it was printed with."""

import importlib.resources
import json
import math

import numpy as np
import pytest
from scipy import stats

from oncoseg.evaluation.comparison.friedman import (
    critical_difference,
    friedman,
    nemenyi,
    nemenyi_q,
)
from oncoseg.evaluation.comparison.independent import compare_groups, two_groups
from oncoseg.evaluation.comparison.multiplicity import adjust
from oncoseg.evaluation.comparison.paired import normality, paired_test
from oncoseg.evaluation.comparison.table import score_table
from oncoseg.evaluation.statistics import signed_rank


@pytest.fixture(scope="module")
def problems(shared):
    return {p["id"]: p for p in json.loads((shared / "cases" / "statistics.json").read_text())}


def columns(matrix):
    """One model a column, one case a row."""
    rows = [[float(v) for v in row] for row in matrix]
    return score_table({f"m{j}": {f"c{i}": row[j] for i, row in enumerate(rows)} for j in range(len(rows[0]))})


def printed(value):
    """Half a unit of the last printed digit."""
    text = repr(value)
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def nist(name):
    """Groups of a NIST file that scipy ships with its tests."""
    file = importlib.resources.files("scipy.stats.tests.data.nist_anova") / f"{name}.dat"
    lines = file.read_text().splitlines()[60:]
    groups = {}
    for group, value in (line.split() for line in lines if line.strip()):
        groups.setdefault(group, []).append(float(value))
    return groups


NIST = {"AtmWtAg": 1e-10, "SmLs01": 1e-10, "SmLs03": 1e-10, "SmLs05": 1e-10, "SmLs07": 4e-5, "SmLs09": 7e-5}


def test_there_is_a_test_for_every_problem(problems):
    others = {"demsar_friedman", "demsar_wilcoxon", "nemenyi_q_table", "shapiro_1965_weights", "r_plantgrowth"}
    others |= {"r_sleep_welch_paired", "holm_small", "efron_law_school"}
    assert set(problems) == others | {f"nist_anova_{name}" for name in NIST}


@pytest.mark.parametrize("name", NIST)
def test_anova_of_nist(problems, name):
    problem = problems[f"nist_anova_{name}"]
    found = compare_groups(nist(name), choose="classic")
    assert found.test.df == tuple(problem["df"])
    assert sum(found.sizes) == problem["n"]
    assert found.test.statistic == pytest.approx(problem["certified_F"], rel=NIST[name])
    # p of SmLs03 and 09 underflows to 0.
    assert found.test.p == pytest.approx(problem["scipy"]["p"], rel=1e-9, abs=1e-300)


def test_friedman_of_demsar_with_and_without_ties(problems):
    problem = problems["demsar_friedman"]
    found = friedman(columns(problem["matrix"]).complete(), larger_is_better=True)
    published, computed = problem["published"], problem["computed"]
    assert found.mean_ranks == pytest.approx(published["average_ranks"], abs=5e-4)
    assert found.chi2 == pytest.approx(published["chi2_without_tie_correction"], abs=5e-3)
    assert found.chi2 == pytest.approx(computed["chi2_without_tie_correction"], rel=1e-9)
    assert found.f == pytest.approx(published["F_F"], abs=5e-3)
    assert found.f == pytest.approx(computed["F_F"], rel=1e-9)
    assert found.chi2_corrected == pytest.approx(computed["chi2_tie_corrected_scipy"], rel=1e-9)
    assert found.p_corrected == pytest.approx(computed["p_tie_corrected"], rel=1e-9)
    assert found.kendall_w == pytest.approx(computed["pingouin"][0]["W"], rel=1e-9)
    assert found.tied
    # ../shared/reference: the tie sum is 78.
    assert found.tie_factor == pytest.approx(1 - 78 / (14 * 4 * 15))


def test_nemenyi_of_demsar(problems):
    problem = problems["demsar_friedman"]
    for level in ("0.05", "0.10"):
        found = critical_difference(4, 14, alpha=float(level))
        assert found == pytest.approx(problem["published"][f"CD_{level}"], abs=5e-3)
        assert found == pytest.approx(problem["computed"][f"CD_{level}"], rel=1e-9)
        assert nemenyi_q(4, alpha=float(level)) == pytest.approx(problem["published"][f"q_{level}"], abs=1.5e-3)
    p = nemenyi(columns(problem["matrix"]).complete()).p
    assert np.array(p) == pytest.approx(np.array(problem["computed"]["nemenyi_p_scikit_posthocs"]), abs=1e-6)


@pytest.mark.parametrize("level", ["0.05", "0.10"])
def test_critical_values_of_nemenyi(problems, level):
    problem = problems["nemenyi_q_table"]
    for k, q in problem["published"][f"q_{level}"].items():
        assert nemenyi_q(int(k), alpha=float(level)) == pytest.approx(q, abs=problem["tol"])
    for k, q in problem["computed"].get(f"q_{level}", {}).items():
        assert nemenyi_q(int(k), alpha=float(level)) == pytest.approx(q, rel=1e-6)


@pytest.mark.parametrize("zeros", ["zsplit", "pratt", "wilcox"])
def test_wilcoxon_of_demsar_names_its_variant(problems, zeros):
    problem = problems["demsar_wilcoxon"]
    table = columns(zip(problem["x"], problem["y"], strict=True))
    found = paired_test(table, "m0", "m1", choose="wilcoxon", zeros=zeros)
    assert found.statistic == pytest.approx(problem["computed"][zeros]["statistic"])
    assert found.p == pytest.approx(problem["computed"][zeros]["p"], rel=1e-9)
    assert {"zsplit": "zeros split", "pratt": "Pratt", "wilcox": "dropped"}[zeros] in found.test
    # (R+ - R-) / (R+ + R-) of the printed rank sums, which split the zeros.
    assert abs(found.rank_biserial) == pytest.approx((93 - 12) / 105)


def test_shapiro_of_1965(problems):
    problem = problems["shapiro_1965_weights"]
    found = normality(np.array(problem["x"], dtype=float))
    assert found.w == pytest.approx(problem["published"]["W"], abs=5e-3)
    assert (found.w, found.p) == pytest.approx((problem["computed"]["W"], problem["computed"]["p"]), rel=1e-9)


def test_plant_growth_of_r(problems):
    problem = problems["r_plantgrowth"]
    found = compare_groups(problem["groups"])
    values = {
        "F": found.classic.statistic,
        "p": found.classic.p,
        "levene_F": found.levene.statistic,
        "levene_p": found.levene.p,
        "welch_F": found.welch.statistic,
        "welch_df2": found.welch.df[1],
        "welch_p": found.welch.p,
        "kruskal": found.kruskal.statistic,
        "kruskal_p": found.kruskal.p,
    }
    for name, value in values.items():
        assert value == pytest.approx(problem["published"][name], abs=printed(problem["published"][name])), name
        assert value == pytest.approx(problem["computed"][name], rel=1e-9), name
    assert found.test == found.classic
    assert "Levene p = 0.341" in found.chosen
    # Bartlett is for normal data only and is not offered; scipy's is what the list was made with.
    bartlett = stats.bartlett(*(np.array(g, dtype=float) for g in problem["groups"].values()))
    assert bartlett.statistic == pytest.approx(problem["computed"]["bartlett"], rel=1e-9)


def test_sleep_of_r(problems):
    problem = problems["r_sleep_welch_paired"]
    found, published, computed = two_groups({k: problem[k] for k in "xy"}), problem["published"], problem["computed"]
    assert found.welch.statistic == pytest.approx(computed["welch_t"], rel=1e-9)
    assert found.welch.df[0] == pytest.approx(published["welch_df"], abs=5e-4)
    assert found.welch.p == pytest.approx(computed["welch_p"], rel=1e-9)
    assert (found.low, found.high) == pytest.approx(published["welch_ci"], abs=5e-8)
    table = columns(zip(problem["x"], problem["y"], strict=True))
    paired = paired_test(table, "m0", "m1", choose="t")
    assert paired.statistic == pytest.approx(computed["paired_t"], rel=1e-9)
    assert paired.p == pytest.approx(computed["paired_p"], rel=1e-9)
    assert paired.df == published["paired_df"]


def test_p_adjust_of_r(problems):
    problem = problems["holm_small"]
    for ours, theirs in {"holm": "holm", "bonferroni": "bonferroni", "bh": "fdr_bh", "hommel": "hommel"}.items():
        assert adjust(problem["p"], ours) == pytest.approx(problem["computed"][theirs], rel=1e-9)


def test_bca_of_efrons_law_school(problems):
    problem = problems["efron_law_school"]
    x, y = (np.array(problem[k], dtype=float) for k in "xy")
    found = stats.bootstrap(
        (x, y),
        lambda a, b, axis=-1: stats.pearsonr(a, b, axis=axis).statistic,
        paired=True,
        n_resamples=9_999,
        confidence_level=0.9,
        method="BCa",
        random_state=np.random.default_rng(0),
    )
    assert stats.pearsonr(x, y).statistic == pytest.approx(problem["published"]["r"], abs=5e-4)
    assert list(found.confidence_interval) == pytest.approx(problem["published"]["bca90_approx"], abs=problem["tol"])
    assert found.standard_error == pytest.approx(problem["published"]["se"], abs=5e-3)


def test_exact_wilcoxon_of_three_patients():
    # All three differences positive: p = 2 / 2^3.
    found = signed_rank(np.array([1.0, 2.0, 3.0]))
    assert (found.statistic, found.p) == (0, pytest.approx(0.25))
    assert found.variant.endswith("exact")


def test_f_is_infinite_when_every_row_ranks_alike():
    found = friedman(columns([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).complete(), larger_is_better=True)
    assert (found.f, found.reason, found.kendall_w) == (None, "same_order", pytest.approx(1))
    assert found.p == pytest.approx(math.exp(-2))  # chi-square 4 with 2 degrees of freedom
