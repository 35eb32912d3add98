"""Operations counted by hand are the operations that are reported."""

import numpy as np
import pytest

from oncoseg.errors import OncosegError
from oncoseg.experiments.cost import measure_cost
from oncoseg.experiments.specs import ModelSpec
from oncoseg.volume import Volume


@pytest.fixture
def image():
    return Volume.from_spacing(np.zeros((3, 8, 10), np.float32), (1, 1, 1))


def test_a_convolution_on_every_slice(image):
    cost = measure_cost(ModelSpec("toy_network"), image, case="one", repeats=2, threads=1)
    assert cost.macs == 3 * 8 * 10 * 9
    assert (cost.parameters, cost.trainable_parameters, cost.repeats, cost.threads) == (10, 10, 2, 1)
    assert "FlopCounterMode" in cost.mac_counter
    assert cost.peak_memory_bytes > 50e6
    assert (cost.case, cost.shape, cost.device) == ("one", (3, 8, 10), "cpu")


def test_a_classical_model_has_no_operations_to_count(image):
    cost = measure_cost(ModelSpec("toy_bright"), image, repeats=1)
    assert (cost.macs, cost.parameters) == (0, 0)
    assert cost.mac_counter.startswith("none")


def test_the_budget_ends_the_repeats(image):
    cost = measure_cost(ModelSpec("toy_bright", {"seconds": 0.2}), image, repeats=50, budget_s=0.3)
    assert cost.repeats == 2
    assert cost.seconds_median == pytest.approx(0.2, abs=0.15)


def test_a_model_that_fails_says_so(image):
    with pytest.raises(OncosegError, match="does not like"):
        measure_cost(ModelSpec("toy_bright", {"mode": "fails"}), image)


def test_layers_are_counted_as_by_hand():
    import torch
    from torch import nn

    from oncoseg.inference.counting import count_macs

    torch.set_num_threads(1)
    x = torch.zeros(1, 4, 6, 6)
    assert count_macs(nn.Conv2d(4, 8, 3, padding=1), x) == 6 * 6 * 8 * 4 * 9
    assert count_macs(nn.Conv2d(4, 4, 3, padding=1, groups=4), x) == 6 * 6 * 4 * 9
    assert count_macs(nn.ConvTranspose2d(4, 2, 2, stride=2), x) == 6 * 6 * 4 * 2 * 4
    assert count_macs(nn.Linear(6, 5), x) == 4 * 6 * 6 * 5
    q = torch.zeros(2, 3, 7, 4)
    attention = type("A", (nn.Module,), {"forward": lambda _, q: nn.functional.scaled_dot_product_attention(q, q, q)})
    assert count_macs(attention(), q) == 2 * 3 * 2 * 7 * 7 * 4


def _unet_by_hand(size=512, base=64):
    """Two 3x3 convolutions a level down and up, 2x2 up-convolutions (one product per input pixel and tap), 1x1 head."""
    widths, total = [base * 2**level for level in range(5)], 0
    for level, (before, width) in enumerate(zip([1, *widths], widths, strict=False)):
        total += (size >> level) ** 2 * 9 * (before * width + width * width)
    for level, width in enumerate(widths[:-1]):
        total += (size >> level + 1) ** 2 * 4 * (2 * width * width)
        total += (size >> level) ** 2 * 9 * (2 * width * width + width * width)
    return total + size**2 * base * 2


def test_the_unet_at_512_has_the_operations_counted_by_hand():
    from oncoseg.experiments.passes import model_cost

    assert model_cost("unet.ronneberger").forward_macs == _unet_by_hand()
