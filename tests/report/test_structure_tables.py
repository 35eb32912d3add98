"""Other structures have a table of their own and change no number of the main ones."""

import csv
import io
import json
from dataclasses import replace

import pytest

from oncoseg.experiments.store import CELL, SCORES, read_run
from oncoseg.files import write_json
from oncoseg.report.downloads import scores_csv, structures_csv
from oncoseg.report.groups import make_groups
from oncoseg.report.html import write_report
from oncoseg.report.structures import structure_summaries, structure_table
from oncoseg.report.tables import leaderboard
from oncoseg.score import read_scores, write_jsonl

LUNGS = {"lung_right": {"c1": 0.9, "c2": 0.8, "c3": 0.7}, "lung_left": {"c1": 0.7, "c2": 0.6, "c3": None}}


def give_structures(folder, structures):
    """Add Dice and IoU of structures, case -> value, to a finished cell; IoU is half the Dice."""
    record = json.loads((folder / CELL).read_text())
    record["configuration"]["also"] = list(structures)
    write_json(folder / CELL, record)
    scores = read_scores(folder / SCORES)
    like = {s.metric: s for s in scores}
    for roi, values in structures.items():
        for case, dice in values.items():
            for metric, value in (("dice", dice), ("iou", dice and dice / 2)):
                reason = "both_empty" if value is None else None
                patch = {"case": case, "patient": case, "roi": roi, "value": value, "reason": reason}
                scores.append(replace(like[metric], **patch))
    write_jsonl(folder / SCORES, scores)


@pytest.fixture
def told_apart(tmp_path, write_cell, planned):
    """A run with a model that tells lungs and tumour apart and one that does not."""
    write_cell(tmp_path, planned("unet", 0.6, cases=("c1", "c2", "c3")))
    give_structures(write_cell(tmp_path, planned("nnunet", 0.7, cases=("c1", "c2", "c3"))), LUNGS)
    return tmp_path


@pytest.fixture
def entrant(told_apart):
    (group,) = make_groups(read_run(told_apart))
    return next(e for e in group.entrants if e.label == "nnunet")


def test_structures_stay_out_of_every_other_table(tmp_path, told_apart, write_cell, planned):
    write_cell(tmp_path / "alone", planned("unet", 0.6, cases=("c1", "c2", "c3")))
    write_cell(tmp_path / "alone", planned("nnunet", 0.7, cases=("c1", "c2", "c3")))
    (first,), (second,) = (make_groups(read_run(run)) for run in (told_apart, tmp_path / "alone"))
    assert first.key == second.key
    assert leaderboard(first) == leaderboard(second)


def test_lungs_are_the_mean_of_both_in_cases_that_have_both(entrant):
    found = structure_summaries(entrant, "dice", "tumour")
    assert list(found) == ["tumour", "lung_right", "lung_left", "Lungs", "Avg."]
    assert found["lung_right"].mean == pytest.approx(0.8)
    assert (found["Lungs"].mean, found["Lungs"].n) == (pytest.approx((0.8 + 0.7) / 2), 2)


def test_the_average_is_over_three_structures(entrant):
    """(2 Lungs + tumour) / 3 of the cases in which all three are defined, c1 and c2."""
    tumour = entrant.by_case("dice")
    found = structure_summaries(entrant, "dice", "tumour")["Avg."]
    expected = [(2 * lungs + tumour[case]) / 3 for case, lungs in (("c1", 0.8), ("c2", 0.7))]
    assert (found.mean, found.n) == (pytest.approx(sum(expected) / 2), 2)


def test_other_structures_than_lungs_are_not_averaged(tmp_path, write_cell, planned):
    give_structures(write_cell(tmp_path, planned("nnunet")), {"heart": {"c1": 0.9}})
    (group,) = make_groups(read_run(tmp_path))
    table = structure_table(group)
    assert table.numbers.head == ("model", "Dice tumour", "Dice heart", "IoU tumour", "IoU heart")
    assert table.rule == ""


def test_only_models_that_tell_structures_apart_have_a_row(told_apart):
    (group,) = make_groups(read_run(told_apart))
    table = structure_table(group)
    (row,) = table.numbers.rows
    shown = dict(zip(table.numbers.head, row, strict=True))
    assert shown["model"].text == "nnunet"
    assert (shown["Dice lung_right"].text, shown["IoU lung_right"].text) == ("0.80", "0.40")
    assert shown["Dice lung_left"].note.endswith("n = 2 of 3")


def test_the_page_names_the_rule_of_the_average(told_apart, tmp_path):
    page = write_report(told_apart, tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<h4>Other structures</h4>" in page
    assert "Avg. is (2 Lungs + tumour) / 3 of each case, the mean over three structures" in page


def test_a_run_without_other_structures_says_nothing_about_them(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned())
    page = write_report(tmp_path, tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Other structures" not in page
    assert "structures.csv" not in page


def test_downloads_name_the_structure_of_every_number(told_apart):
    results = read_run(told_apart)
    rows = list(csv.DictReader(io.StringIO(scores_csv(results))))
    assert {row["roi"] for row in rows if row["model"] == "unet"} == {"tumour"}
    assert {row["roi"] for row in rows if row["model"] == "nnunet"} == {"tumour", *LUNGS}
    table = list(csv.DictReader(io.StringIO(structures_csv(make_groups(results)))))
    right = next(row for row in table if (row["structure"], row["metric"]) == ("lung_right", "iou"))
    assert float(right["mean"]) == pytest.approx(0.4)
