import csv
import io

import pytest

from oncoseg.experiments.splits import Split, Splits, save_splits
from oncoseg.experiments.store import read_run
from oncoseg.report.downloads import leaderboard_csv, scores_csv
from oncoseg.report.groups import make_groups
from oncoseg.report.plan import read_plan
from oncoseg.report.statements import what_it_cannot_show, what_it_shows
from oncoseg.report.tables import (
    case_failures,
    cost_rows,
    leaderboard,
    magnitude,
    metric_columns,
    named,
    number,
    undefined_rows,
)


@pytest.fixture
def run_of(tmp_path, write_cell):
    """`run_of(planned, ...)` is a folder with these cells."""

    def write(*cells):
        for cell in cells:
            write_cell(tmp_path, cell)
        return tmp_path

    return write


@pytest.fixture
def table_of(run_of):
    """`table_of(planned, ...)` is the only table of a run with these cells."""

    def write(*cells):
        (group,) = make_groups(read_run(run_of(*cells)))
        return group, leaderboard(group)

    return write


def test_rows_are_ranked_by_mean_dice(table_of, planned):
    _, rows = table_of(planned("worse", 0.5), planned("best", 0.9), planned("ellipsoid", 0.7, fidelity="baseline"))
    assert [(r.rank, r.label, r.kind) for r in rows] == [
        (1, "best", "model"),
        (2, "ellipsoid", "null"),
        (3, "worse", "model"),
    ]
    assert rows[0].primary.mean > rows[1].primary.mean > rows[2].primary.mean


def test_ties_share_the_smaller_rank(table_of, planned):
    everything = ("c1", "c2", "c3", "c4")
    _, rows = table_of(planned("a", missed=everything), planned("b", missed=everything), planned("c", 0.9))
    assert [(r.label, r.rank) for r in rows] == [("c", 1), ("a", 2), ("b", 2)]


def test_a_row_scored_on_other_cases_is_not_ranked(table_of, planned):
    _, rows = table_of(planned("a"), planned("b", 0.7), planned("lucky", 0.95, cases=("c1", "c2")))
    assert [(r.label, r.rank) for r in rows] == [("lucky", None), ("a", 1), ("b", 2)]
    assert rows[0].unranked == "scored on other cases than the rest"


def test_a_failed_case_is_counted_and_costs_the_rank(table_of, planned):
    _, rows = table_of(planned("a"), planned("b"), planned("broken", 0.95, failed=("c1",)))
    broken = next(r for r in rows if r.label == "broken")
    assert broken.rank is None
    assert broken.n.text == "3 of 4"
    assert "1 failed" in broken.n.note


def test_misses_count_as_zero_dice_and_are_named_beside_distances(table_of, planned):
    group, (row,) = table_of(planned(skill=0.8, missed=("c1", "c2")))
    hd95 = [c.heading for c in metric_columns(group)].index("HD95")
    assert row.primary.n == 4
    assert row.primary.mean < 0.6
    assert row.metrics[hd95].note == "n = 2 of 4; 2 misses"


def test_undefined_scores_are_counted_by_reason(run_of, planned):
    rows = undefined_rows(make_groups(read_run(run_of(planned(missed=("c1", "c2"))))))
    assert {(r.metric, r.reason, r.count) for r in rows} == {
        ("assd", "prediction_empty", 2),
        ("hd95_pooled", "prediction_empty", 2),
        ("precision", "prediction_empty", 2),
    }


def test_cases_of_one_patient_are_averaged_first(table_of, planned):
    _, (row,) = table_of(planned(cases=("p1-scan1", "p1-scan2", "p2-scan1")))
    assert (row.primary.n, row.primary.patients) == (3, 2)
    assert row.n.note == "2 patients"


def test_one_patient_has_no_interval(table_of, planned):
    _, (row,) = table_of(planned(cases=("p1",), draws=3))
    assert row.primary.mean is not None
    assert (row.primary.low, row.primary.high, row.primary.reason) == (None, None, "one_case")


def test_intervals_hold_the_mean(table_of, planned):
    _, (row,) = table_of(planned(cases=tuple(f"c{n}" for n in range(30))))
    assert row.primary.low < row.primary.mean < row.primary.high


def test_number_of_training_patients_comes_from_the_split(run_of, planned):
    run = run_of(planned(trained=True, fraction=0.5))
    people = tuple(f"t{n}" for n in range(10))
    save_splits(run / "splits" / "phantom.json", Splits((Split(train=people, test=("c1", "c2", "c3", "c4")),), 0))
    (group,) = make_groups(read_run(run))
    assert leaderboard(group)[0].training == "trained here on 5 patients (50%)"


def test_a_smaller_build_is_shown_with_the_papers_size(table_of, planned):
    _, (row,) = table_of(planned(trained=True, parameters=32_000_000))
    assert (row.parameters.text, row.parameters.note) == ("2.0 M", "paper: 32.0 M")


def test_contamination_is_flagged(table_of, planned):
    _, (row,) = table_of(planned(notes=("LiteMedSAM: phantom in its training data is suspected: a thread.",)))
    assert len(row.flags) == 1


def seen(status):
    return {"dataset": "phantom", "status": status, "source": "a thread"}


@pytest.mark.parametrize(
    ("status", "flag"),
    [("listed", "⚑ test data seen"), ("suspected", "⚑ test data seen?"), ("unknown", "⚑ test data seen? (unknown)")],
)
def test_every_table_flags_a_model_that_may_have_seen_the_data(run_of, planned, status, flag):
    note = f"LiteMedSAM: phantom in its training data is {status}: a thread."
    run = run_of(planned(notes=(note,), seen=seen(status)), planned(model="other"))
    (group,) = make_groups(read_run(run))
    flagged, clean = sorted(group.entrants, key=lambda e: e.label == "other")
    assert (named(flagged).note, named(clean).note) == (flag, "")
    row = next(r for r in leaderboard(group) if r.label == flagged.label)
    assert row.flag == flag
    assert "zero-shot" not in row.training
    assert flag in leaderboard_csv([group])


def test_only_clean_weights_that_were_not_trained_here_are_called_zero_shot(table_of, planned):
    _, (row,) = table_of(planned(seen=seen("clean")))
    assert row.training.startswith("zero-shot: weights")
    assert row.flag == ""


def test_what_was_trained_here_is_not_zero_shot(table_of, planned):
    _, (row,) = table_of(planned(seen=seen("clean"), trained=True))
    assert "zero-shot" not in row.training


def test_failures_name_case_and_reason(run_of, planned):
    (failure,) = case_failures(read_run(run_of(planned(failed=("c3",)))))
    assert (failure.case, failure.message) == ("c3", "the prompt box lies outside the image")


def test_cost_is_listed_once_for_each_measurement(run_of, planned):
    groups = make_groups(read_run(run_of(planned(macs=5), planned(macs=5, seed=1), planned("other"))))
    assert [(r.label, r.macs) for r in cost_rows(groups)] == [("lite_medsam", 5)]


def test_csv_holds_every_score(run_of, planned):
    rows = list(csv.DictReader(io.StringIO(scores_csv(read_run(run_of(planned(missed=("c1",)), planned("b")))))))
    assert len(rows) == 8
    missed = next(r for r in rows if r["case"] == "c1" and r["model"] == "lite_medsam")
    assert missed["dice"] == "0"
    assert missed["hd95_pooled"] == ""
    assert "hd95_pooled: prediction_empty" in missed["undefined"]


def test_leaderboard_csv_names_level_and_protocol(run_of, planned):
    rows = list(csv.DictReader(io.StringIO(leaderboard_csv(make_groups(read_run(run_of(planned())))))))
    assert {(r["level"], r["protocol"]) for r in rows} == {("2", "case3d")}
    assert rows[0]["metric"] == "dice"


def test_findings_compare_with_the_null_baseline_in_pairs(run_of, planned):
    many = tuple(f"c{n}" for n in range(20))
    run = run_of(planned(skill=0.9, cases=many), planned("ellipsoid", 0.5, fidelity="baseline", cases=many))
    (finding,) = what_it_shows(make_groups(read_run(run)))
    assert "It beats the null baseline ellipsoid" in finding
    assert "paired difference" in finding


def test_a_tie_with_the_null_baseline_is_not_called_a_win(run_of, planned):
    many = tuple(f"c{n}" for n in range(20))
    run = run_of(planned(skill=0.7, cases=many), planned("ellipsoid", 0.7, fidelity="baseline", cases=many))
    (finding,) = what_it_shows(make_groups(read_run(run)))
    assert "It is not shown to beat" in finding


def test_limits_carry_the_warning_of_the_data_set_once(run_of, planned):
    info = {"warning": "Patches, not whole scans."}
    run = run_of(planned(dataset_info=info, notes=("Patches, not whole scans.",)), planned("b", dataset_info=info))
    results = read_run(run)
    limits = what_it_cannot_show(results, make_groups(results), read_plan(run))
    assert sum("Patches" in text for text in limits) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.8349, "0.83"), (-0.05, "−0.05"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_numbers_keep_the_digits_that_mean_something(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (950, "950"), (31_043_521, "31.0 M"), (2.3e12, "2.3 T")])
def test_large_counts_are_in_words(count, text):
    assert magnitude(count) == text


@pytest.mark.parametrize("cases", [("c1",), tuple(f"c{n}" for n in range(20))])
@pytest.mark.parametrize(("skill", "named"), [(0.3, True), (0.95, False)])
def test_a_classical_method_that_is_better_than_every_model_is_named(run_of, planned, cases, skill, named):
    classic = planned("region_growing", 0.6, fidelity="baseline", cases=cases)
    (finding,) = what_it_shows(make_groups(read_run(run_of(planned(skill=skill, cases=cases), classic))))
    assert ("he classical region_growing " in finding) is named
