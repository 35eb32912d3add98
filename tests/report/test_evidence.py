"""Sections on failures, lesions, probabilities, volumes and scoring rules, from result files alone."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from oncoseg.evaluation.findings import LesionRecord, calibration_record
from oncoseg.evaluation.pair import MaskPair
from oncoseg.evaluation.scoring import PROBABILITY_METRICS, metric
from oncoseg.experiments.store import CALIBRATION, LESIONS, SCORES, read_run
from oncoseg.report.calibration import calibration_parts
from oncoseg.report.failures import failure_parts
from oncoseg.report.groups import make_groups
from oncoseg.report.html import write_report
from oncoseg.report.lesions import curve_of, lesion_parts
from oncoseg.report.spread import means_by_rule, spread_parts
from oncoseg.report.volumes import volume_parts
from oncoseg.score import Score, read_predictions, read_scores, write_jsonl
from oncoseg.volume import Volume

CASES = tuple(f"c{n}" for n in range(8))


@pytest.fixture
def run(tmp_path, write_cell, planned):
    """A model with probabilities and a null baseline without, on the same cases; the model misses two."""
    free = {"prompt": "box", "cases": CASES}
    model = write_cell(tmp_path, planned("unet", 0.7, missed=CASES[:2], **free))
    null = write_cell(tmp_path, planned("ellipsoid", 0.5, fidelity="baseline", parameters=0, **free))
    for folder in (model, null):
        dice = {s.case: s.value for s in read_scores(folder / SCORES) if s.metric == "dice"}
        records = [lesion(case, value, scored=folder == model) for case, value in dice.items()]
        write_jsonl(folder / LESIONS, [*records, false("c0", scored=folder == model)])
        flow(folder)
    give_probabilities(model)
    write_jsonl(
        null / CALIBRATION,
        [calibration_record(pair(None), case=c, patient=c, roi="tumour", reason="binary_output") for c in CASES],
    )
    return tmp_path


def lesion(case, dice, *, scored):
    found = bool(dice)
    return LesionRecord(
        case, case, "tumour", "reference", 0, 1000.0 if case < "c4" else 30_000.0, "iou0.5", found, found,
        iou=0.6 if found else None, dice=dice if found else None, score=0.9 if found and scored else None,
        location="pleural" if case == "c5" else "unknown",
    )  # fmt: skip


def false(case, *, scored):
    return LesionRecord(case, case, "tumour", "false", 0, 50.0, "iou0.5", False, False, score=0.95 if scored else None)


def pair(level):
    reference = np.zeros((4, 20, 20), dtype=bool)
    reference[1:3, 5:12, 5:12] = True
    volumes = [Volume.from_spacing(reference, (3.0, 1.0, 1.0))] * 2
    if level is None:
        return MaskPair(*volumes)
    return MaskPair(*volumes, volumes[0].with_voxels(np.where(reference, level, 0.05).astype(np.float32)))


def give_probabilities(folder):
    scores, records = read_scores(folder / SCORES), []
    for number, case in enumerate(CASES):
        one = pair(0.6 + 0.04 * number)
        records.append(calibration_record(one, case=case, patient=case, roi="tumour"))
        for name in PROBABILITY_METRICS:
            value, reason = metric(name)(one)
            scores.append(Score(case, case, "tumour", name, "case3d", value, reason, "", False))
    others = [
        Score(s.case, s.patient, s.roi, "dice", rule, s.value * factor, None, "", True)
        for s in scores
        if s.metric == "dice" and s.value is not None
        for rule, factor in (("crop128", 1.1), ("pooled", 1.0))
    ]
    write_jsonl(folder / CALIBRATION, records)
    write_jsonl(folder / SCORES, [*scores, *others])


def flow(folder):
    record = json.loads((folder / "cell.json").read_text())
    record["flow"] = {"known": 12, "excluded": {"no usable lungs": 2}, "train": 0, "validation": 0, "test": 8}
    (folder / "cell.json").write_text(json.dumps(record))
    predictions = [asdict(p) | {"diagonal_mm": 500.0} for p in read_predictions(folder / "predictions.jsonl")]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(p) + "\n" for p in predictions))


@pytest.fixture
def groups(run):
    return make_groups(read_run(run))


def cells(table, label):
    (row,) = [row for row in table.rows if row[0].text == label]
    return {head: cell for head, cell in zip(table.head, row, strict=True)}


def test_excluded_cases_are_counted_on_the_way(groups):
    (part,) = failure_parts(groups)
    assert [(step.count, step.lost) for step in part.flow] == [
        (12, ("2 left out: no usable lungs",)),
        (10, ()),
        (8, ()),
    ]


def test_found_and_drawn_are_apart_and_a_miss_has_its_price(groups):
    (part,) = failure_parts(groups)
    row = cells(part.found, "unet")
    assert row["found"].note == "6 of 8"
    assert row["found"].value == pytest.approx(0.75)
    assert row["Dice given found"].value == pytest.approx(row["Dice, a miss 0"].value / 0.75)
    plain, priced = row["hd95_pooled, defined"], row["hd95_pooled, a miss costs the diagonal"]
    assert plain.note == "n = 6; 2 missed"
    assert priced.value == pytest.approx((6 * plain.value + 2 * 500) / 8)


def test_the_worst_cases_come_first_and_misses_say_so(groups):
    (part,) = failure_parts(groups)
    values = [row[2].value for row in part.worst.rows]
    assert values == sorted(values)
    assert [row[2].note for row in part.worst.rows[:3]] == ["missed", "missed", ""]


def test_small_lesions_and_empty_classes_keep_their_row(groups):
    (part,) = lesion_parts(groups)
    volume = dict(part.strata)["volume"]
    assert [row[1].value for row in volume.rows] == [0, 4, 0, 4, 0]
    small = volume.rows[1][[h == "unet" for h in volume.head].index(True)]
    assert small.value == pytest.approx(0.5)
    assert "2 of 4" in small.text


def test_a_stratum_of_which_nothing_is_known_is_left_out(groups):
    (part,) = lesion_parts(groups)
    assert [heading for heading, _ in part.strata] == ["volume", "place"]


def test_the_curve_needs_scores(groups):
    (group,) = groups
    (part,) = lesion_parts(groups)
    held = {e.label: e for e in group.entrants}
    records = [r for r in held["unet"].cells[0].lesions]
    curve = curve_of(held["unet"], records)
    # One false lesion of higher score than all six found ones, in eight scans.
    assert curve.false_per_scan == (0, 1 / 8, 1 / 8)
    assert curve.sensitivity == (0, 0, 6 / 8)
    assert [row[0].text for row in part.curve.numbers.rows] == ["unet"]
    assert cells(part.totals, "ellipsoid")["FROC score"].note == "no scores"


def test_models_without_probability_are_named_with_the_reason(groups):
    (part,) = calibration_parts(groups)
    assert part.without == ("ellipsoid: its output is only 0 or 1",)
    assert [row[0].text for row in part.regions[0][1].rows] == ["unet"]
    assert part.reliability.numbers.rows[0][1].note.endswith("voxels")
    assert part.risk.numbers.rows[0][-1].value == 8


def test_pooled_dice_weighs_cases_by_their_volumes(groups):
    (entrant,) = [e for g in groups for e in g.entrants if e.label == "unet"]
    found = means_by_rule(entrant)
    dice = {s.case: s.value or 0 for s in entrant.scores if s.metric == "dice"}
    volumes = {p.case: p.volume_reference_mm3 + p.volume_prediction_mm3 for p in entrant.predictions}
    want = sum(dice[c] * volumes[c] for c in dice) / sum(volumes[c] for c in dice)
    assert found["pooled"] == pytest.approx(want)
    (part,) = spread_parts(groups)
    assert "for the same predictions" in part.sentence


def test_volumes_have_bias_and_limits(groups):
    (part,) = volume_parts(groups)
    row = cells(part.plot.numbers, "unet")
    assert row["bias"].value < 0  # every prediction is 10 % too small
    assert row["lower limit"].value < row["bias"].value < row["upper limit"].value


def test_the_page_has_every_section_and_none_in_old_runs(run, tmp_path, full_run):
    page = write_report(run, tmp_path / "new.html").read_text()
    for name in ("found", "lesions", "calibration", "volumes", "spread"):
        assert f'<h2 id="{name}">' in page
    old = write_report(full_run, tmp_path / "old.html").read_text()
    for name in ("lesions", "calibration", "spread"):
        assert f'<h2 id="{name}">' not in old
