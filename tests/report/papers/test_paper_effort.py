"""Hours from earlier runs of networks of the same size."""

import json

import pytest

from oncoseg.experiments.effort import efforts, total
from oncoseg.experiments.reproducing import gather
from oncoseg.experiments.store import CELL
from oncoseg.files import write_json


@pytest.fixture(scope="module")
def cells():
    return gather("m-sam", ["2"], "full").untouched()


def by_label(found, label):
    return next(e for e in found if e.cell.label.startswith(label))


def test_earlier_runs_of_the_same_size_are_taken_first(cells, tmp_path, write_cell, planned):
    folder = write_cell(tmp_path / "earlier", planned("m_sam", trained=True))
    record = json.loads((folder / CELL).read_text())
    record |= {"variant": "paper", "parameters_built": record["model_info"]["parameters"]}
    record["provenance"]["machine"]["accelerator"] = "a test GPU"
    write_json(folder / CELL, record)
    one = by_label(efforts(cells, tmp_path / "run"), "m_sam.paper on lits")
    assert one.seconds == pytest.approx(4 * one.steps / 41, rel=0.01)  # the builder's run made 160 samples in 160/41 s
    assert one.measured == "an earlier run on a test GPU"
    assert total([one])["gpu_hours"] == pytest.approx(one.seconds / 3600)


def test_small_networks_say_nothing_about_large_ones(cells, tmp_path, write_cell, planned):
    folder = write_cell(tmp_path / "earlier", planned("m_sam", trained=True))
    record = json.loads((folder / CELL).read_text())
    write_json(folder / CELL, {**record, "variant": "paper"})  # built smaller than the paper's
    assert by_label(efforts(cells, tmp_path / "run"), "m_sam.paper on lits").seconds is None
