"""A prompt-free network that is given boxes stands beside a prompted model, on the same level of the ledger."""

import pytest
import torch

from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.matrix import load_matrix
from oncoseg.experiments.store import read_cell

MATRIX = """
name = "equal"
metrics = ["dice"]
cost = false

[dataset.phantom]
use = "phantom"
options = { cases = 5, shape = [12, 32, 32], spacing = [10.0, 8.0, 8.0], volume_ml = [60.0, 90.0], tumours = [1, 2] }
split = { test = 0.4, validation = 0.3, seed = 0 }

[[cells]]
dataset = "phantom"
model = "filled_box"
prompt = { use = "box", jitter_mm = 5.0 }

[[cells]]
dataset = "phantom"
model = "unet.primakov"
options = { given = "box channel", box_jitter_mm = 5.0, patch = 32, spacing = 8.0, base = 4 }
train = { steps = 4, batch = 2, validate_every = 2 }
prompt = [{ use = "box", jitter_mm = 5.0 }, "none"]

[[cells]]
dataset = "phantom"
model = "unet.primakov"
options = { patch = 32, spacing = 8.0, base = 4 }
train = { steps = 4, batch = 2, validate_every = 2 }
prompt = ["box", "none"]
"""


@pytest.fixture
def cells(tmp_path):
    source = tmp_path / "matrix.toml"
    source.write_text(MATRIX)
    return load_matrix(source).plan()


def test_the_plan_knows_who_takes_boxes(cells):
    assert [cell.skipped is None for cell in cells] == [True, True, False, False, True]
    assert "needs a prompt (box)" in cells[2].skipped
    assert "takes no prompt" in cells[3].skipped


def test_dense_and_prompted_get_the_same_boxes_and_the_same_level(cells, tmp_path):
    torch.set_num_threads(1)
    prompted, dense = (read_cell(run_cell(cell, tmp_path / "out")) for cell in cells[:2])
    assert [p.error for p in (*prompted.predictions, *dense.predictions)] == [None] * 4
    assert [p.prompts for p in dense.predictions] == [p.prompts for p in prompted.predictions]
    assert [p.ledger for p in dense.predictions] == [p.ledger for p in prompted.predictions]
    assert {p.level for p in dense.predictions} == {2}
    assert dense.record.model_info["prompts"] == ["box"]
    assert all(line["validated"] for line in dense.training)
