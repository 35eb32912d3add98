"""A matrix goes on whatever happens to its cells, and ends with the same results however often it was interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from oncoseg.errors import PartialFailureError
from oncoseg.experiments.local import run_matrix
from oncoseg.experiments.planning import ATTEMPT_LIMIT
from oncoseg.experiments.store import ATTEMPTS, PROVENANCE, is_finished, read_plan, read_run
from oncoseg.report.plan import read_plan as read_plan_for_report

GOOD = '[[cells]]\ndataset="balls"\nmodel="toy_bright"\n'
LEVELS = "".join(f"{GOOD}options={{ level={level}.0, seconds=0.05 }}\n" for level in (-500, -400, -300, -200, -100))


def _scores(output):
    return {f.parent.name: f.read_bytes() for f in sorted(output.glob("*/scores.jsonl"))}


def test_everything_runs_once_and_is_described(matrix_of, tmp_path):
    events = []
    matrix = matrix_of(GOOD + '[[cells]]\ndataset="balls"\nmodel="toy_bright.boxed"\nprompt=["none", "box"]')
    summary = run_matrix(matrix, tmp_path / "run", progress=events.append, command="oncoseg bench /home/me/toy.toml")
    assert [line.status for line in (p.line for p in summary.planned)] == ["finished", "skipped", "finished"]
    summary.raise_if_failed()
    assert len(read_run(tmp_path / "run")) == 2
    plan = read_plan(tmp_path / "run")
    assert (plan.name, [c.status for c in plan.cells], plan.left_out) == (
        "toy",
        ["finished", "skipped", "finished"],
        [],
    )
    provenance = json.loads((tmp_path / "run" / PROVENANCE).read_text())
    assert provenance["command"] == "oncoseg bench toy.toml"
    assert provenance["seeds"] == {"matrix": 0}
    assert (tmp_path / "run" / "splits" / "balls.json").exists()
    assert [e.kind for e in events if e.cell == "toy_bright on balls"] == ["started", *["predicted"] * 3, "finished"]


def test_resuming_is_a_set_difference(matrix_of, tmp_path):
    first = run_matrix(matrix_of(LEVELS), tmp_path / "run", workers=2)
    assert len(first.ran) == 5
    gone = sorted((tmp_path / "run").glob("*/scores.jsonl"))[2]
    kept = {f: f.stat().st_mtime_ns for f in (tmp_path / "run").glob("*/scores.jsonl") if f != gone}
    before = _scores(tmp_path / "run")
    gone.unlink()
    again = run_matrix(matrix_of(LEVELS), tmp_path / "run")
    assert len(again.ran) == 1
    assert _scores(tmp_path / "run") == before
    assert {f: f.stat().st_mtime_ns for f in kept} == kept


def test_a_failing_cell_does_not_end_the_matrix(matrix_of, tmp_path):
    text = GOOD + 'options={ mode="fails" }\n' + GOOD
    summary = run_matrix(matrix_of(text), tmp_path / "run")
    assert [p.line.status for p in summary.planned] == ["failed", "finished"]
    with pytest.raises(PartialFailureError, match="does not like this image") as raised:
        summary.raise_if_failed()
    assert raised.value.exit_code == 4
    assert read_plan(tmp_path / "run").left_out[0]["label"] == "toy_bright on balls"


def test_a_failing_case_shows_in_the_exit_code_and_again_on_resume(matrix_of, tmp_path):
    matrix = matrix_of(GOOD, options='options={ broken=["ball-1"] }')
    for _ in range(2):
        summary = run_matrix(matrix, tmp_path / "run")
        with pytest.raises(PartialFailureError, match=r"ball-1\.nii\.gz is cut off"):
            summary.raise_if_failed()


def test_a_crash_is_tried_again_and_succeeds(matrix_of, tmp_path):
    marker = tmp_path / "died"
    text = GOOD + f'options={{ mode="dies once", marker="{marker}" }}\n'
    summary = run_matrix(matrix_of(text), tmp_path / "run")
    assert marker.exists()
    assert summary.having("finished")
    folder = tmp_path / "run" / summary.planned[0].line.folder
    (attempt,) = [json.loads(line) for line in (folder / ATTEMPTS).read_text().splitlines()]
    assert "SIGKILL" in attempt["error"]
    assert set(attempt) == {"at", "kind", "error"}


def test_a_model_without_a_form_for_the_data_has_not_failed(matrix_of, tmp_path):
    """The cell keeps the reason, is not tried again, and a report lists it apart from failures and missing cells."""
    matrix = matrix_of(GOOD + GOOD + 'options={ mode="does not apply" }\n')
    for _ in range(2):
        summary = run_matrix(matrix, tmp_path / "run")
        assert [p.line.status for p in summary.planned] == ["finished", "not applicable"], summary.planned[
            1
        ].line.reason
        assert "the images are too small" in str(summary.planned[1].line.reason)
        summary.raise_if_failed()
    told = read_plan_for_report(tmp_path / "run")
    assert [row.message for row in told.inapplicable] == ["toy_bright not applicable: the images are too small"]
    assert (told.planned, told.missing, told.skipped) == (1, (), ())


def test_three_failures_put_a_cell_into_quarantine(matrix_of, tmp_path):
    matrix = matrix_of(GOOD + f'options={{ mode="dies", marker="{tmp_path / "m"}" }}\n' + GOOD)
    summary = run_matrix(matrix, tmp_path / "run")
    (line,) = summary.having("quarantined")
    assert f"failed {ATTEMPT_LIMIT} times" in line.reason
    assert len(summary.having("finished")) == 1
    attempts = tmp_path / "run" / line.folder / ATTEMPTS
    before = attempts.read_bytes()
    assert run_matrix(matrix, tmp_path / "run").having("quarantined")
    assert attempts.read_bytes() == before


def test_without_a_network_cells_are_left_out_and_named(matrix_of, tmp_path):
    away = '[dataset.away]\nuse="toy_balls"\noptions={ offline=true }\n'
    matrix = matrix_of(GOOD + GOOD.replace("balls", "away", 1), options=away)
    summary = run_matrix(matrix, tmp_path / "run")
    assert [p.line.status for p in summary.planned] == ["finished", "left out"]
    summary.raise_if_failed()
    assert read_plan(tmp_path / "run").left_out == [
        {"label": "toy_bright on away", "reason": "no network for the toys"}
    ]


def test_a_dry_run_plans_and_writes_nothing(matrix_of, tmp_path):
    matrix = matrix_of(LEVELS + '[[cells]]\ndataset="balls"\nmodel="toy_bright.boxed"\n')
    summary = run_matrix(matrix, tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    assert [line.status for line in (p.line for p in summary.planned)] == ["planned"] * 5 + ["skipped"]
    assert [p.line.predictions for p in summary.planned[:5]] == [3] * 5
    assert summary.seconds is None
    run_matrix(matrix, tmp_path / "run")
    done = run_matrix(matrix, tmp_path / "run", dry_run=True)
    assert len(done.having("finished")) == 5
    assert done.seconds == 0.0


def test_earlier_results_give_the_estimate(matrix_of, tmp_path):
    run_matrix(matrix_of(GOOD + "options={ seconds=0.2 }\n"), tmp_path / "runs" / "a")
    more = matrix_of(GOOD + "options={ seconds=0.2 }\n", overrides=["dataset.balls.options.cases=30"])
    assert run_matrix(more, tmp_path / "runs" / "b", dry_run=True).seconds > 30 * 0.2


def test_cells_of_an_older_matrix_are_not_read(matrix_of, tmp_path):
    run_matrix(matrix_of(GOOD + "options={ level=-300.0 }\n"), tmp_path / "run")
    run_matrix(matrix_of(GOOD), tmp_path / "run")
    assert len(list((tmp_path / "run").glob("*/cell.json"))) == 2
    assert [r.record.configuration["options"] for r in read_run(tmp_path / "run")] == [{}]


_SCRIPT = """
import sys
from pathlib import Path
from oncoseg.experiments.local import run_matrix
from oncoseg.experiments.matrix import load_matrix
run_matrix(load_matrix(Path(sys.argv[1])), Path(sys.argv[2]), workers=2)
"""


def _wait_until(happened, limit_s=60):
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_in_the_middle_and_resumed_gives_the_same_results(matrix_of, tmp_path):
    matrix = matrix_of(LEVELS)
    run_matrix(matrix, tmp_path / "undisturbed", workers=2)
    killed = tmp_path / "killed"
    runner = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(tmp_path / "matrix.toml"), str(killed)])
    _wait_until(lambda: len(_scores(killed)) >= 2)
    children = psutil.Process(runner.pid).children(recursive=True)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
    interrupted = _scores(killed)
    assert 2 <= len(interrupted) < 5
    again = run_matrix(matrix, killed)
    assert len(again.ran) == 5 - len(interrupted)
    assert _scores(killed) == _scores(tmp_path / "undisturbed")
    assert all(is_finished(f.parent) for f in killed.glob("*/cell.json"))
    assert not list(killed.rglob("lease"))
    assert not list(killed.rglob(".partial-*"))


def test_two_runners_share_a_folder(matrix_of, tmp_path):
    matrix = matrix_of(LEVELS)
    other = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(tmp_path / "matrix.toml"), str(tmp_path / "run")])
    summary = run_matrix(matrix, tmp_path / "run", workers=2)
    assert other.wait() == 0
    assert len(summary.having("finished")) == 5
    assert not list((tmp_path / "run").glob(f"*/{ATTEMPTS}"))


@pytest.mark.parametrize("reaches", ["every process, as from a keyboard", "the runner alone"])
def test_ctrl_c_ends_the_run_at_once_and_is_no_failure_of_the_cell(matrix_of, tmp_path, reaches):
    matrix = matrix_of(GOOD + "options={ seconds=20.0 }\n")
    matrix_file, output = str(tmp_path / "matrix.toml"), tmp_path / "run"
    # A shell's background jobs ignore the interrupt, and hand that on to what they start.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    runner = subprocess.Popen([sys.executable, "-c", heard + _SCRIPT, matrix_file, str(output)], start_new_session=True)
    _wait_until(lambda: list(output.glob("*/log.txt")))
    time.sleep(3)
    asked = time.monotonic()
    (os.kill if reaches == "the runner alone" else os.killpg)(runner.pid, signal.SIGINT)
    assert runner.wait(timeout=15) != 0
    assert time.monotonic() - asked < 10
    assert not list(output.glob(f"*/{ATTEMPTS}"))
    assert not list(output.rglob("lease"))
    assert [p.line.status for p in run_matrix(matrix, output, dry_run=True).planned] == ["planned"]


def test_the_split_file_is_the_one_of_the_newest_plan(matrix_of, tmp_path):
    for share in (0.34, 0.67):
        run_matrix(matrix_of(GOOD, overrides=[f"dataset.balls.split.test={share}"]), tmp_path / "run")
        folds = json.loads((tmp_path / "run" / "splits" / "balls.json").read_text())["folds"]
        assert len(folds[0]["test"]) == round(3 * share)
