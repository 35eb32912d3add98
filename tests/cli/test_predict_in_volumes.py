"""Clicks in volumes from the command line: in mm as in voxels, and none at all."""

import numpy as np
import pytest
import torch

from oncoseg.io.images import read_image
from oncoseg.models import sam_med3d
from oncoseg.weights.trained import About, write_checkpoint


@pytest.fixture
def weights(tmp_path):
    """A small SAM-Med3D as `oncoseg train` leaves it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = sam_med3d.build(**sam_med3d.RECIPES["smoke"].options)
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, model.network.state_dict(), About("sam_med3d", "", model.options()))
    return path


def predicted(oncoseg, folder, weights, *arguments):
    out = folder / "p.nii.gz"
    result = oncoseg("predict", weights, folder / "ct.nii.gz", "--probabilities", "--out", out, *arguments)
    assert result.code == 0, result.err
    return read_image(out).voxels, result.err


def test_clicks_in_mm_are_those_in_voxels(oncoseg, thorax, weights):
    folder, image, _ = thorax
    inside, outside = (6, 22, 20), (3, 10, 30)
    voxels = [",".join(map(str, reversed(index))) for index in (inside, outside)]
    mm = [",".join(f"{v:.3f}" for v in image.index_to_mm(index)) for index in (inside, outside)]
    expected, told = predicted(oncoseg, folder, weights, f"--click={voxels[0]}", f"--click={voxels[1]},-")
    found, _ = predicted(oncoseg, folder, weights, "--mm", f"--click={mm[0]}", f"--click={mm[1]},-")
    assert "1 positive click + 1 negative click" in told
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


def test_without_a_click_it_says_where_it_looked(oncoseg, thorax, weights):
    folder, _, _ = thorax
    found, told = predicted(oncoseg, folder, weights)
    assert "no prompt, level 0" in told
    assert "Without a click the cube in the middle of the image is looked at." in told
    assert found.any()
