"""The moving average of weights."""

import copy

import pytest
import torch
from torch import nn

from oncoseg.errors import InputError
from oncoseg.training.average import Average


@pytest.fixture
def network():
    torch.manual_seed(0)
    built = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    built[2].requires_grad_(False)
    return built


def fill(network, value):
    for tensor in network.state_dict().values():
        tensor.fill_(value)


def test_decay_grows_up_to_the_one_asked_for(network):
    fill(network, 0.0)
    average = Average(network, 0.5)
    fill(network, 1.0)
    expected = 0.0
    for step in range(12):
        average.follow(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
        assert average.state()["0.weight"].flatten().tolist() == pytest.approx([expected] * 4)


def test_running_statistics_are_averaged_and_counts_and_frozen_weights_are_not(network):
    average = Average(network, 0.9)
    assert average.state().keys() == {
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
    }


def test_the_network_gets_its_own_weights_back_to_the_bit(network):
    average = Average(network, 0.9)
    before = copy.deepcopy(network.state_dict())
    fill(network, 7.0)
    average.follow(100)
    own = copy.deepcopy(network.state_dict())
    with average.in_place():
        assert not torch.equal(network[0].weight, own["0.weight"])
        assert not torch.equal(network[0].weight, before["0.weight"])
    assert all(torch.equal(tensor, own[name]) for name, tensor in network.state_dict().items())


def test_the_average_of_another_network_is_refused(network):
    with pytest.raises(InputError, match="average is of another network"):
        Average(network, 0.9).restore({"other": torch.zeros(1)})
