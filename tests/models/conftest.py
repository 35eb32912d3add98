"""Weights for known answers: the same for every implementation with the same names."""

import zlib

import numpy as np
import pytest
import torch


def known_state(state):
    """Each tensor of a state dict drawn by its name alone, so that two implementations get equal ones.

    Counters, index tables and attention masks follow from the sizes and stay as they are.
    """
    drawn = {}
    for name, old in state.items():
        if not old.is_floating_point() or name.endswith("attn_mask"):
            drawn[name] = old
            continue
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(old.shape))
        if name.endswith("running_var"):
            values = 1 + 0.1 * values**2
        elif old.ndim == 1:
            values = 0.1 * values + name.endswith("weight")
        elif old.ndim != 3:
            values = values * np.sqrt(2 / np.prod(old.shape[1:]))
        drawn[name] = torch.from_numpy(np.asarray(values, np.float32)).reshape(old.shape)
    return drawn


def known_slices(side, channels=1):
    return torch.from_numpy(np.random.RandomState(7).uniform(size=(2, channels, side, side)).astype(np.float32))


@pytest.fixture
def known():
    """`known(shapes)`: tensors of a layout (name -> shape), drawn by their names."""
    return lambda shapes: known_state({name: torch.zeros(shape) for name, shape in shapes.items()})


@pytest.fixture
def slices():
    """`slices(side, channels)`: two known pictures."""
    return known_slices


@pytest.fixture
def known_output():
    """`known_output(network, side)`: what a network with known weights makes of two known slices."""

    def run(network, side):
        network.load_state_dict(known_state(network.state_dict()))
        with torch.inference_mode():
            return network.eval()(known_slices(side))

    return run
