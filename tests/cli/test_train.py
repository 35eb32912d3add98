import os
import sys

import pytest
import torch

from oncoseg.models import unet
from oncoseg.weights.trained import read_checkpoint

PHANTOM = ["--data", "cases=3", "--data", "shape=[16,48,48]", "--data", "spacing=[10.0,8.0,8.0]"]


@pytest.mark.parametrize(
    ("model", "more", "reason"),
    [
        ("unt", [], "Did you mean: unet"),
        ("filled_box", [], "cannot be trained"),
        ("unet", ["--set", "bse=4"], "Did you mean: base"),
    ],
)
def test_a_start_that_fails_leaves_nothing_behind(oncoseg, tmp_path, model, more, reason):
    result = oncoseg("train", model, "phantom", "--out", tmp_path / "t", "--steps", 1, *PHANTOM, *more)
    assert result.code == 2
    assert reason in result.err
    assert not (tmp_path / "t").exists()


def test_a_wrong_device_does_not_claim_the_folder(oncoseg, tmp_path):
    common = ["train", "unet", "phantom", "--out", tmp_path / "t", "--steps", 1, "--set", "base=4", *PHANTOM]
    common += ["--set", "spacing=8.0", "--set", "patch=32", "--validation", 0, "--batch", 1]
    wrong = oncoseg(*common, "--device", "cudx")
    assert (wrong.code, "Device 'cudx' cannot be used here" in wrong.err) == (2, True)
    assert oncoseg(*common, "--device", "cpu").code == 0


def test_a_wrong_setting_is_shown_without_the_right_ones(oncoseg, tmp_path):
    result = oncoseg("train", "unet", "phantom", "--out", tmp_path / "t", "--steps", 1, "--train", "learning_rate=-3")
    assert result.code == 2
    assert "learning_rate = -3.0" in result.err
    assert "schedule" not in result.err


def test_several_processes_are_started_by_torchrun_with_the_same_command(oncoseg, monkeypatch, tmp_path):
    started = []

    def replace_process(path, arguments):
        started.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", replace_process)
    command = ["train", "unet", "phantom", "--out", str(tmp_path / "t"), "--steps", "1", "--processes", "2"]
    oncoseg(*command)
    assert started == [
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"),
            *("-m", "oncoseg.cli.main", *command),
        ]
    ]
    assert not (tmp_path / "t").exists()
    assert oncoseg(*command, "--train", "ema=2").code == 2  # what is wrong is said before anything starts
    assert len(started) == 1


def test_a_training_starts_from_weights_of_another_maker(oncoseg, tmp_path):
    torch.manual_seed(7)
    network = unet.build(base=4).network
    torch.save({"state_dict": network.state_dict()}, tmp_path / "start.pth")
    common = ["train", "unet", "phantom", "--out", tmp_path / "t", "--steps", 1, "--set", "base=4", *PHANTOM]
    common += ["--set", "spacing=8.0", "--set", "patch=32", "--validation", 0, "--batch", 1, "--device", "cpu"]
    assert oncoseg(*common, "--train", "learning_rate=1e-9", "--weights", tmp_path / "start.pth").code == 0
    found = read_checkpoint(tmp_path / "t" / "checkpoint.safetensors").state
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
    other = oncoseg(*common, "--train", "learning_rate=1e-9")
    assert (other.code, "another training" in other.err) == (2, True)  # the start is part of what was asked


def test_missing_weights_to_start_from_are_named(oncoseg, tmp_path):
    result = oncoseg("train", "unet", "phantom", "--out", tmp_path / "t", "--steps", 1, "--weights", "no_such.pth")
    assert (result.code, "no_such.pth" in result.err) == (2, True)
