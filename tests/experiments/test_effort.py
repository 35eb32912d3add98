"""What a matrix would take: counted from the recipes, measured where it was measured, never guessed."""

from pathlib import Path

import pytest

from oncoseg.experiments.effort import efforts, total
from oncoseg.experiments.reproducing import gather


@pytest.fixture(scope="module")
def planned():
    return gather("m-sam", ["2"], "full").untouched()


def by_label(found, label):
    return next(e for e in found if e.cell.label.startswith(label))


def test_epochs_and_steps_are_those_of_the_recipe(planned, tmp_path):
    one = by_label(efforts(planned, tmp_path / "run"), "m_sam.paper on lits")
    # 131 volumes, 20 % tested, 10 % of the rest validate: 94 train; 200 epochs in batches of 4.
    assert (one.cases, one.expected, one.epochs, one.steps) == (94, True, 200, 4700)
    assert (one.seconds, one.measured) == (None, "")


def test_a_shared_training_counts_once(planned, tmp_path):
    found = efforts(planned, tmp_path / "run")
    assert len(found) == 32
    assert sum(e.epochs is not None for e in found) == 16  # the others are trained on the source already


def test_shipped_measurements_name_their_machine_and_are_no_gpu_hours(planned, tmp_path):
    found = efforts(planned, tmp_path / "run")
    one = by_label(found, "unetr on msd_lung")
    assert one.seconds == pytest.approx(62.0 * 4 * one.steps)
    assert "thread" in one.measured
    sums = total(found)
    assert sums["gpu_hours"] is None
    assert sums["not_measured_on_gpu"] == sums["trainings"] == 16


def test_disk_is_weights_and_what_the_optimiser_keeps(planned, tmp_path):
    one = by_label(efforts(planned, tmp_path / "run"), "m_sam.paper on lits")
    assert one.megabytes == pytest.approx((118_244_080 * 4 + 25_319_152 * 12) / 1e6)


def test_cases_are_counted_where_the_files_are():
    cells = gather("gtv-samgan", ["4"], "smoke").untouched()
    one = efforts(cells, Path("nowhere/run"))[0]
    assert (one.cases, one.expected) == (3, False)
    assert (one.epochs, one.steps) == (5, 23)
