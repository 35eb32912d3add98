"""How predictions are computed can be chosen, changed after training, and is told."""

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError
from oncoseg.inference.running import Running
from oncoseg.models import unet
from oncoseg.volume import Volume
from oncoseg.weights.trained import About, write_checkpoint

SMALL = {"base": 4, "norm": "instance", "patch": 32, "dropout": 0.0, "spacing": None}


def image():
    voxels = np.random.default_rng(0).normal(-600, 300, (4, 32, 32)).astype(np.float32)
    return Volume.from_spacing(voxels, (3, 1, 1))


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_plain_float32_says_nothing():
    model = unet.build(**SMALL)
    model.predict(image())
    assert list(model.told) == []


def test_the_fastest_way_gives_the_same_mask_and_says_what_was_measured():
    model = unet.build(**SMALL, compute="fastest")
    plain = unet.build(**SMALL)
    plain.network.load_state_dict(model.network.state_dict())
    expected = plain.predict(image()).voxels > 0.5
    found = model.predict(image()).voxels > 0.5
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) >= 0.995
    assert model.computing.choice.measured[0].running == Running()
    assert "times as fast as float32" in model.told[0]


def test_the_choice_is_made_once():
    model = unet.build(**SMALL, compute="fastest")
    model.predict(image())
    choice = model.computing.choice
    model.predict(image())
    assert model.computing.choice is choice


def test_a_checkpoint_may_be_predicted_with_otherwise_but_not_be_another_network(tmp_path):
    target = tmp_path / "checkpoint.safetensors"
    model = unet.build(**SMALL)
    write_checkpoint(target, model.network.state_dict(), About("unet", "ronneberger", model.options()))
    again = unet.build(weights=target, mirror=True, batch=2)
    assert (again.settings.mirror, again.settings.batch) == (True, 2)
    with pytest.raises(ConfigError, match="'base' is 8"):
        unet.build(weights=target, mirror=True, base=8)


def test_a_back_end_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"oncoseg\[openvino\]"):
        unet.build(**SMALL, compute="openvino").predict(image())
