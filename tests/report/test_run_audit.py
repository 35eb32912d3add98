"""The audit of a run tells what its result files say: leaks, uses of the reference, means that do not follow."""

import json
from dataclasses import replace

import pytest

from oncoseg.experiments.splits import Split, Splits, save_splits
from oncoseg.files import write_json
from oncoseg.report.auditing import audit_run
from oncoseg.report.html import write_report
from oncoseg.score import Ledger

CASES = ("c1", "c2", "c3", "c4")
FREE = {"prompt": "none", "jitter_mm": None, "ledger": Ledger(), "cases": CASES}


def by_check(audit):
    told = {}
    for finding in audit.findings:
        told.setdefault(finding.check, []).append(finding)
    return told


def orders(audit):
    return {o.check: o.count for o in audit.in_order}


@pytest.fixture
def trained(tmp_path, write_cell, planned):
    """A trained cell on four patients, with a split that trains on two others."""
    run = tmp_path / "run"
    write_cell(run, planned("unet", 0.7, trained=True, **FREE))
    change_scores(run, lambda line, own: line | {"value": precise(own)} if line["metric"] == "precision" else line)
    save_splits(run / "splits" / "phantom.json", Splits((Split(("t1", "t2"), CASES),), 0))
    return run


def change_scores(run, changed):
    """Every line of the run's scores made anew from itself and the values of its case."""
    [scores] = run.glob("unet*/scores.jsonl")
    lines = [json.loads(line) for line in scores.read_text().splitlines()]
    own = {case: {x["metric"]: x["value"] for x in lines if x["case"] == case} for case in CASES}
    scores.write_text("".join(json.dumps(changed(line, own[line["case"]])) + "\n" for line in lines))


def precise(own):
    """The precision that a case's Dice and sensitivity imply; made-up runs draw it on its own."""
    return own["dice"] * own["sensitivity"] / (2 * own["sensitivity"] - own["dice"])


def test_a_clean_run_raises_nothing(trained):
    found = audit_run(trained)
    assert found.findings == ()
    assert orders(found) == {
        "patient_sides": 1,
        "trained_and_tested": 1,
        "reference_use": 1,
        "cases": 1,
        "arithmetic": 4,
    }
    assert "means" in found.nothing_to_check


def test_a_patient_on_both_sides_of_a_split_file(trained):
    split = {"folds": [{"train": ["t1", "c1"], "validation": ["c2"], "test": list(CASES)}], "seed": 0}
    write_json(trained / "splits" / "phantom.json", split)
    told = by_check(audit_run(trained))
    assert "1 patients are in train and test (c1)" in told["patient_sides"][0].sentence
    assert "2 patients are in training and test (c1, c2)" in told["trained_and_tested"][0].sentence
    assert {f.grade for fs in told.values() for f in fs} == {"C"}


def test_a_patient_in_the_source_and_in_the_target(tmp_path, write_cell, planned):
    folder = write_cell(tmp_path, planned("unet", 0.7, trained=True, **FREE))
    record = json.loads((folder / "cell.json").read_text())
    write_json(folder / "cell.json", {**record, "source": "nodules"})
    save_splits(tmp_path / "splits" / "phantom.json", Splits((Split((), CASES),), 0))
    save_splits(tmp_path / "splits" / "nodules.json", Splits((Split(("c3", "n1"), ("n2",)),), 0))
    [told] = by_check(audit_run(tmp_path))["trained_and_tested"]
    assert "training on nodules and test on phantom (c3)" in told.sentence
    assert told.grade == "I"


def test_prompts_crops_and_choices_from_the_reference(tmp_path, write_cell, planned):
    oracle = Ledger(prompt_source="oracle", boxes=1, crop_centre_known=True, z_extent_known=True)
    write_cell(tmp_path, planned("a", 0.8, ledger=oracle))
    write_cell(tmp_path, planned("b", 0.7, ledger=Ledger(selected_on_test=True, geometry_from_reference=True)))
    write_cell(
        tmp_path, planned("c", 0.6, dataset="cut", **{**FREE, "dataset_info": {"cropped_round_reference": True}})
    )
    told = by_check(audit_run(tmp_path))["reference_use"]
    sentences = " ".join(f.sentence for f in told)
    for words in (
        "Prompts came from the reference",
        "cropped round",
        "tumour slice came",
        "chosen on the scored cases",
    ):
        assert words in sentences
    assert "origin or direction" in sentences.lower()
    assert "cut: its images were cut out round the tumour" in sentences


@pytest.mark.parametrize(("status", "grade"), [("listed", "C"), ("suspected", "I"), ("unknown", "I"), ("clean", None)])
def test_test_data_among_the_weights_training_data(tmp_path, write_cell, planned, status, grade):
    write_cell(tmp_path, planned("medsam", 0.8, seen={"dataset": "phantom", "status": status, "source": "a thread"}))
    told = by_check(audit_run(tmp_path)).get("weights_seen", [])
    assert [f.grade for f in told] == ([grade] if grade else [])


def test_cases_that_failed_or_have_no_score(tmp_path, write_cell, planned):
    folder = write_cell(tmp_path, planned("unet", 0.7, failed=("c2",), **FREE))
    told = by_check(audit_run(tmp_path))["cases"]
    assert "1 cases ended in an error" in told[0].sentence
    lines = (folder / "scores.jsonl").read_text().splitlines()
    (folder / "scores.jsonl").write_text("".join(f"{line}\n" for line in lines if '"c3"' not in line))
    assert any("no score (c3)" in f.sentence for f in by_check(audit_run(tmp_path))["cases"])
    save_splits(tmp_path / "splits" / "phantom.json", Splits((Split((), (*CASES, "c5")),), 0))
    assert any("no prediction (c5)" in f.sentence for f in by_check(audit_run(tmp_path))["cases"])


def test_scores_that_cannot_both_hold(trained):
    changed = {("c1", "iou"): 0.01}
    change_scores(trained, lambda x, _: x | {"value": x["value"] + changed.get((x["case"], x["metric"]), 0)})
    [told] = audit_run(trained).findings
    assert told.check == "arithmetic"
    assert "c1: Dice" in told.sentence


def test_means_of_the_report_follow_from_the_scores(trained):
    write_report(trained, trained / "report.html")
    assert orders(audit_run(trained))["means"] > 0
    assert audit_run(trained).findings == ()
    change_scores(trained, lambda x, _: x | {"value": x["value"] + 0.01 * (x["metric"] == "rel_volume_diff")})
    told = by_check(audit_run(trained))["means"]
    assert [f.check for f in told] == ["means"]
    assert "rel_volume_diff" in told[0].sentence
    assert told[0].numbers["computed"] - told[0].numbers["printed"] == pytest.approx(0.01, abs=1e-5)


def test_the_showcase_is_audited(full_run):
    found = audit_run(full_run)
    assert {"reference_use", "cases"} <= {f.check for f in found.findings}
    assert all(f.id for f in found.findings)
    assert replace(found, subject="x") != found


def test_draws_of_a_prompt_are_no_further_cases(tmp_path, write_cell, planned):
    folder = write_cell(tmp_path, planned("ellipsoid", 0.7, draws=3, jitter_mm=5.0, cases=CASES))
    record = json.loads((folder / "cell.json").read_text())
    for cases, told in ((4, False), (12, False), (5, True)):
        write_json(folder / "cell.json", {**record, "cases": cases})
        assert ("cases" in by_check(audit_run(tmp_path))) == told


def test_slices_of_a_patient_on_both_sides(tmp_path, write_cell, planned):
    slices = ("p1.k0003", "p2.k0001")
    info = {"warning": "Split by slice: slices of one patient are trained on and tested, which leaks."}
    write_cell(tmp_path, planned("unet", 0.7, trained=True, dataset_info=info, **{**FREE, "cases": slices}))
    save_splits(tmp_path / "splits" / "phantom.json", Splits((Split(("p1.k0004", "p3.k0001"), slices),), 0))
    told = by_check(audit_run(tmp_path))
    assert "1 patients are in train and test (p1)" in told["patient_sides"][0].sentence
    assert "1 patients are in training and test (p1)" in told["trained_and_tested"][0].sentence


def test_our_own_leaderboard_holds(full_run, tmp_path):
    from oncoseg.evaluation.audit.checking import audit
    from oncoseg.evaluation.audit.reading import read_table
    from oncoseg.experiments.store import read_run
    from oncoseg.report.downloads import leaderboard_csv
    from oncoseg.report.groups import make_groups

    (tmp_path / "leaderboard.csv").write_text(leaderboard_csv(make_groups(read_run(full_run))))
    cells = read_table(tmp_path / "leaderboard.csv")
    assert len(cells) > 50
    found = audit(cells)
    assert found.findings == ()
    assert any(o.check == "jensen" for o in found.in_order)
