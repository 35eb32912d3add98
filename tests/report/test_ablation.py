"""Rows of variants of one model, with counts of networks as built and IoU beside the value derived from Dice."""

import json

import pytest

from oncoseg.evaluation.published import printed
from oncoseg.experiments.store import CELL, read_run
from oncoseg.report.ablation import ablation_rows, ablation_tables, iou_from_dice
from oncoseg.report.groups import make_groups
from oncoseg.report.html import render
from oncoseg.report.plan import read_plan
from oncoseg.score import Ledger

CLICK = Ledger(prompt_source="oracle", clicks_positive=1, prompted_slices=1)
SHARED = {"prompt": "random click", "jitter_mm": None, "ledger": CLICK, "cases": ("c1", "c2", "c3", "c4", "c5")}


def changed(folder, **fields):
    record = json.loads((folder / CELL).read_text())
    (folder / CELL).write_text(json.dumps(record | fields))


@pytest.fixture
def run(tmp_path, write_cell, planned):
    """Three rows of M-SAM's ablation with the counts of the paper, and a U-Net beside them."""
    rows = {
        "paper": (0.92, True, {"rank": 16}, 118_244_080, 25_319_152),
        "without_mea": (0.84, True, {"rank": 16}, 101_099_056, 8_174_128),
        "nothing": (0.2, False, {"rank": 0, "trained": "nothing"}, 100_509_232, 0),
    }
    for variant, (skill, trained, options, parameters, trainable) in rows.items():
        configured = {"options": options, "variant": variant}
        cell = write_cell(tmp_path, planned("m_sam", skill, trained=trained, configured=configured, **SHARED))
        named = variant if variant != "nothing" else "without_mea"
        changed(cell, variant=named, parameters_built=parameters, trainable_built=trainable)
    write_cell(tmp_path, planned("unet", 0.7, trained=True, **SHARED))
    return tmp_path


@pytest.mark.parametrize("method", sorted({c.method for c in printed("m-sam", "3")}))
def test_every_printed_iou_is_derived_from_the_printed_dice(method):
    """spec/protocol-msam.md: every IoU of table 3 equals D / (2 - D) to the last digit."""
    cells = [c for c in printed("m-sam", "3") if c.method == method and c.metric.startswith(("Dice", "IoU", "mIoU"))]
    pairs = {}
    for cell in cells:
        pairs.setdefault((cell.dataset, cell.setting), []).append(cell)
    checked = 0
    for pair in pairs.values():
        if len(pair) == 2:
            dice, iou = sorted(pair, key=lambda c: not c.metric.startswith("Dice"))
            low, high = (100 * iou_from_dice((dice.value + d) / 100) for d in (-dice.half_digit, dice.half_digit))
            assert low - iou.half_digit <= iou.value <= high + iou.half_digit
            checked += 1
    assert checked


def test_tunable_shares_are_those_of_the_paper(run):
    rows = {row["variant"]: row for row in ablation_rows(make_groups(read_run(run)))}
    assert round(rows["paper, rank 16"]["trainable_percent"], 2) == 21.41
    assert round(rows["without_mea, rank 16"]["trainable_percent"], 2) == 8.09
    baseline = rows["without_mea, rank 0, trained nothing"]
    assert (baseline["trainable"], baseline["trainable_percent"], baseline["trained"]) == (0, 0.0, False)


def test_iou_is_averaged_over_cases_and_derived_apart(run):
    """The fixture's IoU of a case is d / (2 - d); a convex function, so its mean lies above that of the mean Dice."""
    for row in ablation_rows(make_groups(read_run(run))):
        assert row["iou_from_dice"] == pytest.approx(row["dice"] / (2 - row["dice"]))
        assert row["iou"] > row["iou_from_dice"]


def test_rows_are_variants_of_one_model_alone(run):
    (table,) = ablation_tables(make_groups(read_run(run)))
    assert [row[0].text for row in table.numbers.rows] == [
        "without_mea, rank 0, trained nothing",
        "without_mea, rank 16",
        "paper, rank 16",
    ]
    assert table.best == "paper, rank 16"
    assert table.numbers.rows[0][0].note == "nothing was trained"
    assert table.numbers.rows[1][-1].value < 0
    assert table.numbers.rows[-1][-1].text == "best"


def test_fractions_and_sources_of_training_are_no_variants(tmp_path, write_cell, planned):
    for fields in ({"fraction": 0.5}, {"fraction": 1.0}, {"source": "elsewhere"}):
        write_cell(tmp_path, planned("m_sam", trained=True, **SHARED, **fields))
    assert ablation_tables(make_groups(read_run(tmp_path))) == []


def test_older_runs_take_the_count_of_the_measured_cost(tmp_path, write_cell, planned):
    for rank in (4, 16):
        cell = planned("m_sam", trained=True, macs=1_000, configured={"options": {"rank": rank}}, **SHARED)
        changed(write_cell(tmp_path, cell), trainable_built=None)
    rows = ablation_rows(make_groups(read_run(tmp_path)))
    assert [row["trainable"] for row in rows] == [9_791_000, 9_791_000]


def test_the_page_heads_the_derived_column_as_derived(run):
    page = render(read_run(run), read_plan(run), title="ablation")
    assert 'id="ablation"' in page
    assert "IoU derived: D / (2 − D)" in page
    assert 'download="ablation.csv"' in page
