"""The comparison of a table's models: who is compared, what is drawn, and what the page says."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from oncoseg.cli.main import app
from oncoseg.errors import InputError
from oncoseg.experiments.store import read_run
from oncoseg.report import rank_figures
from oncoseg.report.comparing import Rules, compare_group, consensus_of, rankings_of
from oncoseg.report.groups import make_groups
from oncoseg.report.html import write_report
from oncoseg.report.ranking import friedman_words, p_words, ranking_part
from oncoseg.report.ranks import comparable, stability, table_of
from oncoseg.report.tables import leaderboard
from oncoseg.score import Ledger

CASES = tuple(f"c{n:02d}" for n in range(30))


@pytest.fixture
def groups_of(tmp_path, write_cell):
    """`groups_of(planned, ...)` are the tables of a run with these cells."""

    def write(*cells):
        for cell in cells:
            write_cell(tmp_path, cell)
        return make_groups(read_run(tmp_path))

    return write


@pytest.fixture
def group(groups_of, planned):
    names = ["unet", "medsam2", "deeplab", "ellipsoid"]
    (found,) = groups_of(*(planned(n, s, cases=CASES) for n, s in zip(names, (0.7, 0.8, 0.71, 0.5), strict=True)))
    return found


def test_models_of_one_table_are_compared(group):
    held = compare_group(group)
    assert held.ranking.order[0] == "medsam2"
    assert held.ranking.order[-1] == "ellipsoid"
    assert len(held.pairs) == 6
    assert held.pairs[0].first == "medsam2"
    assert held.friedman.n == 30
    assert set(held.needed) == {"unet", "deeplab", "ellipsoid"}
    assert held.wilcoxon.correction == "Holm"


def test_ranks_of_the_leaderboard_have_their_interval(group):
    rows = {r.label: r for r in leaderboard(group)}
    assert rows["medsam2"].rank_interval == "1–1"
    assert rows["unet"].rank_interval == rows["deeplab"].rank_interval == "2–3"


def test_nothing_is_compared_across_ledger_levels(groups_of, planned):
    told = Ledger(prompt_source="oracle", boxes=9, prompted_slices=9, z_extent_known=True)
    groups = groups_of(planned("a", cases=CASES), planned("b", cases=CASES, ledger=told), planned("c", cases=CASES))
    assert [len(g.entrants) for g in groups] == [2, 1]
    assert [compare_group(g) is None for g in groups] == [False, True]


def test_models_scored_on_other_cases_stay_apart(groups_of, planned):
    (held,) = groups_of(planned("a", cases=CASES), planned("b", cases=CASES), planned("cc", cases=CASES[:20]))
    assert compare_group(held).apart == ("cc",)
    assert [r.rank_interval for r in leaderboard(held) if r.label == "cc"] == [""]


def test_misses_come_last_by_distance(groups_of, planned):
    (held,) = groups_of(planned("a", 0.8, cases=CASES, missed=CASES[:20]), planned("bb", 0.5, cases=CASES))
    metric = "hd95_pooled"
    worst = compare_group(held, Rules(metric=metric))
    assert worst.ranking.order == ["bb", "a"]
    assert compare_group(held, Rules(metric=metric, undefined="drop_case")).ranking.order == ["a", "bb"]
    assert worst.pairs[0].left_out == 20


def test_metrics_without_direction_rank_nobody(group):
    with pytest.raises(InputError, match="no better side"):
        compare_group(group, Rules(metric="rel_volume_diff"))
    with pytest.raises(InputError, match="no metric 'f9'"):
        compare_group(group, Rules(metric="f9"))


def test_one_patient_gets_no_section(groups_of, planned):
    (held,) = groups_of(planned("a", cases=("c1",)), planned("b", cases=("c1",)))
    assert ranking_part(held) is None
    assert {r.rank_interval for r in leaderboard(held)} == {""}


def test_several_trainings_show_their_spread(groups_of, planned):
    (held,) = groups_of(
        *(planned("unet", 0.7 + 0.02 * s, cases=CASES, seed=s) for s in range(3)), planned("b", cases=CASES)
    )
    found = compare_group(held).seeds
    assert set(found) == {"unet"}
    assert found["unet"].seeds == 3
    assert found["unet"].high - found["unet"].low > found["unet"].patients_high - found["unet"].patients_low
    assert ranking_part(held).seeds.rows[0][1].text == "3"


def test_order_under_other_rules(group):
    found = rankings_of(group, ["hd95_pooled", "rel_volume_diff"])
    assert list(found) == [
        "dice, by mean",
        "dice, by median",
        "dice, by ranks of patients",
        "dice, by tests won",
        "hd95_pooled",
    ]
    assert found["hd95_pooled"]["medsam2"] == 1
    assert found["dice, by tests won"]["unet"] == found["dice, by tests won"]["deeplab"] == 2


def test_consensus_over_data_sets(groups_of, planned):
    names = {"a": 0.5, "bb": 0.7, "ccc": 0.9}
    groups = groups_of(*(planned(n, s, dataset=d, cases=CASES) for n, s in names.items() for d in ("lungs", "phantom")))
    ((title, found),) = consensus_of(groups)
    assert title.startswith("prompt: box")
    assert dict(zip(found.models, found.ranks, strict=True)) == {"a": 3, "bb": 2, "ccc": 1}
    assert found.kendall_w == pytest.approx(1)
    assert consensus_of(groups[:1]) == []


class TestSection:
    def test_names_its_tests(self, group):
        part = ranking_part(group)
        text = " ".join([*part.facts, *(p.caption for p in part.plots), part.notes])
        for words in ("Friedman's test of 4 models on 30 patients", "Iman–Davenport F(3, 87)", "Wilcoxon signed-rank",
                      "Holm over 6 pairs", "Nemenyi", "Kendall's τ", "80% power", "n = 30 patients"):  # fmt: skip
            assert words in text

    def test_every_pair_has_interval_effect_and_p(self, group):
        part = ranking_part(group)
        assert len(part.pairs.rows) == 6
        for row in part.pairs.rows:
            assert re.search(r"95% (BCa|t) interval [+−].* to", row[2].note)
            assert row[3].text
            assert row[4].note.startswith("Shapiro–Wilk")

    def test_two_models_have_no_critical_difference(self, groups_of, planned):
        (held,) = groups_of(planned("a", 0.8, cases=CASES), planned("bb", 0.7, cases=CASES))
        part = ranking_part(held)
        assert len(part.plots) == 3
        assert not any("Friedman" in fact for fact in part.facts)

    def test_stands_in_the_page_once_a_table(self, full_run, tmp_path):
        page = write_report(full_run, tmp_path / "report.html").read_text(encoding="utf-8")
        # Exact boxes and no prompt on the phantom; the table of clicks has one model, LIDC one patient.
        assert page.count("Ranking and its stability") == 2
        assert not re.search(r"[>\s(]nan[<\s)%,]", page.lower())


def test_blobs_are_drawn_for_every_model_in_order(group):
    held = stability(group)
    svg = rank_figures.blob_plot(held, {e.label: e.kind for e in group.entrants}, "blobs")
    places = [svg.index(f">{name}<") for name in held.ranking.order]
    assert sorted(places) == places
    assert "rank 1 in" in svg


def test_long_names_fit_into_the_critical_difference_diagram(groups_of, planned):
    names = [f"a_model_with_a_very_long_name_{n}" for n in range(4)]
    (held,) = groups_of(*(planned(n, 0.5 + 0.1 * i, cases=CASES) for i, n in enumerate(names)))
    found = compare_group(held)
    svg = rank_figures.critical_difference_plot(found.friedman, found.nemenyi, found.distance, "cd")
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    starts = [float(x) for x in re.findall(r'translate\(([-\d.]+) [-\d.]+\)">a_model', svg)]
    assert all(0 <= x <= width for x in starts)
    assert all(name in svg for name in names)


def test_same_picture_twice_has_equal_bytes(group):
    held = compare_group(group)
    order = held.ranking.order
    one, two = (rank_figures.significance_plot(held.wilcoxon, order, "p", larger_is_better=True) for _ in range(2))
    assert one == two


def test_who_is_compared(group):
    assert len(comparable(group.entrants)) == 4
    assert table_of([]) is None
    assert np.array_equal(table_of(group.entrants).defined, np.ones((30, 4), bool))


@pytest.mark.parametrize(
    ("p", "words"), [(None, "p undefined"), (0.0001, "p < .001"), (0.0421, "p = .042"), (1.0, "p = 1.000")]
)
def test_p_in_words(p, words):
    assert p_words(p) == words


def test_friedman_in_words_tells_both_treatments_of_ties(groups_of, planned):
    missed = CASES[:10]
    (held,) = groups_of(
        *(planned(n, s, cases=CASES, missed=missed) for n, s in (("a", 0.5), ("bb", 0.52), ("ccc", 0.51)))
    )
    words = friedman_words(compare_group(held).friedman)
    assert "corrected for ties" in words
    assert "without correction" in words


class TestCommand:
    def test_prints_ranks_tests_and_patients_needed(self, full_run):
        found = CliRunner().invoke(app, ["statistics", str(full_run)], env={"COLUMNS": "160"})
        assert found.exit_code == 0, found.output
        for words in ("Friedman's test", "Nemenyi", "rank-biserial", "Patients to tell", "n = 26"):
            assert words in found.output

    def test_json_is_whole_and_without_nan(self, full_run):
        found = CliRunner().invoke(app, ["statistics", str(full_run), "--json", "--metric", "hd95_pooled"])
        content = json.loads(found.stdout, parse_constant=lambda name: pytest.fail(name))
        boxes = next(c for c in content if c["table"]["prompt"] == "box" and c["table"]["dataset"] == "phantom")
        assert boxes["comparison"]["larger_is_better"] is False
        assert boxes["unit"] == "patient"
        assert {p["n"] for p in boxes["comparison"]["pairs"]} == {24, 26}
        assert next(c for c in content if c["table"]["dataset"] == "lidc_demo")["comparison"] is not None

    def test_training_trajectory_says_what_it_is(self, full_run):
        found = CliRunner().invoke(app, ["statistics", str(full_run), "--training-trajectory"], env={"COLUMNS": "160"})
        assert found.exit_code == 0, found.output
        assert "epochs of one run, not patients" in found.output
        assert "Levene" in found.output
        as_json = CliRunner().invoke(app, ["statistics", str(full_run), "--training-trajectory", "--json"])
        (content,) = json.loads(as_json.stdout)
        assert content["label"].startswith("training-trajectory")

    @pytest.mark.parametrize(
        ("options", "message"),
        [(["--metric", "f9"], "There are: "), (["--scheme", "best"], "one of"), (["--resamples", "0"], "no interval"),
         (["--training-trajectory", "--metric", "iou"], "log Dice")],
    )  # fmt: skip
    def test_wrong_choices_are_named(self, full_run, options, message):
        found = CliRunner().invoke(app, ["statistics", str(full_run), *options])
        assert isinstance(found.exception, InputError)
        assert message in str(found.exception)
