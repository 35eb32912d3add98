"""What lies outside a model's window is counted, on axial slices, for every case."""

import numpy as np
import pytest
import torch

from oncoseg.experiments.cell import run_cell
from oncoseg.experiments.coverage import Coverage
from oncoseg.experiments.matrix import load_matrix
from oncoseg.experiments.store import read_cell
from oncoseg.report.plots import training_plot
from oncoseg.volume import Volume


class Windowed:
    """Looks at columns 2 to 5."""

    def window_on(self, image):
        seen = np.zeros(image.shape, bool)
        seen[:, :, 2:5] = True
        return seen


class Free:
    """Looks everywhere."""


def reference(*spans):
    """A mask whose slice n holds one row from a to b."""
    voxels = np.zeros((len(spans) + 1, 3, 8), bool)
    for index, (first, stop) in enumerate(spans):
        voxels[index, 1, first:stop] = True
    return Volume.from_spacing(voxels, (3.0, 1.0, 1.0))


def test_slices_and_voxels_outside_are_counted_over_cases():
    coverage = Coverage()
    whole, cut = reference((2, 4)), reference((2, 5), (3, 7), (6, 8))
    assert coverage.add(Windowed(), whole, whole) is None
    sentence = coverage.add(Windowed(), cut, cut)
    assert "4 of 9 tumour voxels (44.4%) on 2 of 3 slices" in sentence
    assert coverage.told == [
        "2 of 4 slices with tumour have some of it (50.0%) outside the window, 4 of 11 tumour voxels (36.4%) lie "
        "there; all of it is scored."
    ]


def test_a_model_without_a_window_has_nothing_to_say():
    coverage, mask = Coverage(), reference((2, 4))
    assert coverage.add(Free(), mask, mask) is None
    assert coverage.told == []


MATRIX = """
name = "gan"
metrics = ["dice"]
cost = false

[dataset.phantom]
use = "phantom"
options = { cases = 5, shape = [10, 48, 48], spacing = [12.0, 6.0, 6.0], volume_ml = [60.0, 90.0], tumours = [1, 1] }
split = { test = 0.4, validation = 0.3, seed = 0 }

[[cells]]
dataset = "phantom"
model = "gtv_samgan"
recipe = "smoke"
options = { embed_dim = 16, depth = 1, heads = 2, image_size = 64, crop_smallest = 16 }
train = { epochs = 2, batch = 1, keep_every_epoch = true }
prompt = { use = "box", options = { per = "slice" } }
"""


@pytest.mark.slow
def test_a_cell_says_what_lies_outside_the_window_of_its_training_cases(tmp_path):
    torch.set_num_threads(1)
    source = tmp_path / "matrix.toml"
    source.write_text(MATRIX)
    (cell,) = load_matrix(source).plan()
    result = read_cell(run_cell(cell, tmp_path / "out"))
    assert sum("slices with tumour have some of it" in note for note in result.record.notes) == 1
    assert any("The fixed window is [" in note for note in result.record.notes)
    assert [line["epoch"] for line in result.training] == [1, 2]
    assert result.training[0]["scores"].keys() == {"dice", "sensitivity", "specificity"}
    assert "judged predicted" in result.training[0]["watched"]
    drawn = training_plot(result, "t")
    assert {"validation slices: dice", "watched: judged real", "loss: discriminator"} <= set(drawn.numbers.head)
