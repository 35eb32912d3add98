"""What the page says about corrections, from rounds whose Dice is known."""

import json

import pytest

from oncoseg.experiments.store import CELL, read_run
from oncoseg.report.downloads import dicts_csv
from oncoseg.report.groups import make_groups
from oncoseg.report.html import render
from oncoseg.report.interaction import clicks_table, rounds_plot, rows, unprompted
from oncoseg.report.plan import read_plan
from oncoseg.score import Ledger

CLICKS = Ledger(prompt_source="oracle", clicks_positive=3, clicks_negative=1, prompted_slices=4, error_map_used=True)
INTERACTIVE = {"prompt": "centre click, then 3 x edt error", "jitter_mm": None, "ledger": CLICKS}


@pytest.fixture
def results(tmp_path, write_cell, planned):
    """Four cases of two models; each case is 0.02 below the one before it."""
    write_cell(tmp_path, planned("quick", curve=(0.6, 0.88, 0.93, 0.95), **INTERACTIVE))
    write_cell(tmp_path, planned("slow", curve=(0.2, 0.4, 0.6, 0.91), **INTERACTIVE))
    return read_run(tmp_path)


def test_prompts_to_a_target_are_counted_with_the_failures(results):
    """quick reaches .85 with 2 clicks in two cases (.88, .86) and with 3 in two (.84 and .82, then .89 and .87)."""
    (group,) = make_groups(results)
    table = clicks_table(group)
    assert table.head[:3] == ("model", "NoC@85 (prompts)", "Dice 0.85 not reached")
    by_model = {row[0].text: row for row in table.rows}
    quick, slow = by_model["quick"], by_model["slow"]
    assert (quick[1].value, quick[2].text) == (2.5, "0 of 4")
    assert (slow[1].value, slow[2].text) == (4.0, "0 of 4")
    assert slow[4].text == "3 of 4"  # .91 is reached by the first case alone; the others count with all 4
    assert slow[3].value == 4.0
    assert quick[5].value == pytest.approx((0.3 + 0.88 + 0.93 + 0.475) / 3 - 0.03, abs=1e-9)
    assert quick[6].text == "4.0"
    assert quick[7].text == "0.2 s"


def test_curves_are_means_over_patients_with_their_numbers(results):
    (group,) = make_groups(results)
    plot = rounds_plot(group)
    assert plot.numbers.head == ("model", "first prompts", "after 1", "after 2", "after 3")
    assert [row[0].text for row in plot.numbers.rows] == ["quick", "slow"]
    assert plot.numbers.rows[0][1].value == pytest.approx(0.57)
    assert plot.numbers.rows[1][4].value == pytest.approx(0.88)
    assert " to " in plot.numbers.rows[0][1].note
    assert "corrections after the first prompts" in plot.svg


def test_the_page_shows_them_and_their_ledger(results, tmp_path):
    page = render(results, read_plan(tmp_path), title="clicks")
    assert "How many prompts it takes" in page
    assert "later prompts placed on errors" in page
    assert "3 positive clicks a case" in page
    assert 'download="rounds.csv"' in page


def test_every_round_is_a_line_of_the_download(results):
    lines = dicts_csv(rows(results)).splitlines()
    assert len(lines) == 1 + 2 * 4 * 4
    assert lines[0].split(",")[-5:] == ["round", "given", "dice", "reason", "seconds"]


def test_models_that_nobody_corrects_have_neither(tmp_path, write_cell, planned):
    write_cell(tmp_path, planned())
    (group,) = make_groups(read_run(tmp_path))
    assert clicks_table(group) is None
    assert rounds_plot(group) is None
    assert dicts_csv(rows(read_run(tmp_path))) == ""


def test_no_prompt_at_all_begins_the_curve_of_the_same_model(tmp_path, write_cell, planned):
    """Rounds are then counted from the answer to nothing; another model and another cube keep their own curve."""
    shown = {"around_reference": 16}
    asked = {"use": "random_click", **shown}
    clicks = {**INTERACTIVE, "asked": asked}
    write_cell(tmp_path, planned("m_sam", curve=(0.6, 0.8), **clicks))
    write_cell(tmp_path, planned("other", curve=(0.5, 0.7), **clicks))
    for cube in (16, 32):
        silent = {"prompt": f"none, {cube}", "jitter_mm": None, "ledger": Ledger(crop_centre_known=True)}
        folder = write_cell(tmp_path, planned("m_sam", asked={"use": "none", "around_reference": cube}, **silent))
        record = json.loads((folder / CELL).read_text())
        record["model_info"]["prompts"] = ["click"]
        (folder / CELL).write_text(json.dumps(record))
    groups = make_groups(read_run(tmp_path))
    held = unprompted(groups)
    assert sorted(e.record.prompt for e in held.values()) == ["none, 16", "none, 32"]
    (clicked,) = (g for g in groups if g.entrants[0].cells[0].rounds)
    plot = rounds_plot(clicked, held)
    assert plot.numbers.head == ("model", "no prompt", "first prompts", "after 1")
    by_model = {row[0].text: row for row in plot.numbers.rows}
    assert by_model["m_sam"][1].value > 0.3
    assert by_model["other"][1].text == "–"
    assert "0: no prompt at all; 1: the first prompts alone." in plot.caption
