"""Curves over worse prompts, from cells whose prompts are written down."""

import pytest

from oncoseg.experiments.degrading import AXES
from oncoseg.experiments.store import read_run
from oncoseg.report.degradation import area_of, curves, degradations, rows, sentences, worse_prompts
from oncoseg.report.estimates import summary_of
from oncoseg.report.groups import make_groups
from oncoseg.score import Ledger

BOXES = Ledger(prompt_source="oracle", boxes=3, prompted_slices=3, z_extent_known=True)


@pytest.fixture
def groups(tmp_path, write_cell, planned):
    def write(*cells):
        for cell in cells:
            write_cell(tmp_path, cell)
        return make_groups(read_run(tmp_path))

    return write


def slices(planned, model, skills, **more):
    """Cells of one model with a share of slices without a box."""
    return [
        planned(
            model,
            skill,
            prompt=f"key slice missing {level}",
            asked={"use": "key_slice", "options": {"missing": level}, "repeats": 1, **more},
            ledger=BOXES,
        )
        for level, skill in skills.items()
    ]


def test_levels_of_one_prompt_are_one_curve(groups, planned):
    found = groups(*slices(planned, "sam", {0.0: 0.8, 0.5: 0.6, 1.0: 0.3}), planned("sam"))
    assert {label: list(at) for label, at in curves(found, AXES["missing_slices"]).items()} == {"sam": [0.0, 0.5, 1.0]}
    assert curves(found, AXES["wrong_slice"]) == {}


def test_a_prompt_without_the_option_has_its_usual_level(groups, planned):
    usual = planned("sam", 0.3, prompt="key slice", asked={"use": "key_slice", "options": {}}, ledger=BOXES)
    found = groups(*slices(planned, "sam", {0.0: 0.8}), usual)
    assert {label: list(at) for label, at in curves(found, AXES["missing_slices"]).items()} == {"sam": [0.0, 1.0]}


def test_a_curve_never_mixes_corrected_and_uncorrected_predictions(groups, planned):
    corrected = slices(planned, "sam", {1.0: 0.9}, then="edt_error", rounds=3)
    assert curves(groups(*slices(planned, "sam", {0.0: 0.8}), *corrected), AXES["missing_slices"]) == {}


def test_the_area_is_normalised_to_the_undegraded_value(groups, planned):
    found = groups(*slices(planned, "sam", {0.0: 0.8, 0.5: 0.6, 1.0: 0.3}))
    (at,) = curves(found, AXES["missing_slices"]).values()
    means = [summary_of(at[level], "dice").mean for level in (0.0, 0.5, 1.0)]
    area = area_of(at)
    assert area.summary.mean == pytest.approx(0.25 * means[0] + 0.5 * means[1] + 0.25 * means[2])
    assert area.kept == pytest.approx(area.summary.mean / means[0])
    assert area.summary.patients == 4
    assert area.summary.low < area.summary.mean < area.summary.high


def test_the_page_gets_a_figure_and_a_table_an_axis(groups, planned):
    jitter = [
        planned("sam", 0.7, prompt=f"box jitter {px} px", asked={"use": "box", "options": {"jitter_px": px}})
        for px in (5.0, 10.0)
    ]
    exact = planned("sam", 0.8, prompt="box", asked={"use": "box", "options": {}})
    found = groups(*slices(planned, "sam", {0.0: 0.8, 1.0: 0.3}), exact, *jitter)
    first, second = degradations(found, "d")
    assert first.title == "largest displacement of a side of the box (px)"
    assert first.plot.numbers.head[:4] == ("model", "0 px", "5 px", "10 px")
    assert first.plot.numbers.head[-1] == "slope at 0 (per px)"
    assert " to " in first.plot.numbers.rows[0][1].note
    assert "0–10 px" in first.plot.numbers.rows[0][4].note
    assert second.title.startswith("share of the other slices without a box")
    assert "share of the other slices" in second.plot.svg
    told = sentences(found)
    assert told[0].startswith("phantom · box displaced by up to 10 px: mean Dice goes sam 0.")
    assert len(told) == 2
    assert len(list(rows([found]))) == 5


def test_findings_of_worse_prompts_belong_to_the_curve(groups, planned):
    found = groups(*slices(planned, "sam", {0.0: 0.8, 1.0: 0.3}))
    assert worse_prompts(found) == {"key slice missing 1.0"}
