"""SEA-Net: what it is made of, and what it refuses."""

import pytest
import torch

from oncoseg.config import fill
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.models import sea_net
from oncoseg.models.sea_net import SEANet, SEANetOptions
from oncoseg.training.settings import TrainConfig

SMALL = {"widths": (4, 8, 16), "patch": 16}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def count(network):
    return sum(p.numel() for p in network.parameters())


def by_hand(widths, outputs, reduction=16):
    """Parameters from the description: convolutions k k in out (+ out), batch norms 2 out."""

    def block(a, b):
        inner = b // reduction
        excitation = b * inner + inner + inner * b + b
        return 9 * a * b + 2 * b + 9 * b * b + 2 * b + excitation + a * b + b

    deepest, total = widths[-1], 0
    total += sum(block(a, b) for a, b in zip([1, *widths], widths, strict=False))
    for width in widths[:-1]:
        below, inner = 2 * width, width // 2
        coarser = [below] if below == deepest else [below, deepest]
        gate = width * inner + inner + sum(c * inner + inner for c in coarser) + inner + 1
        total += gate + 4 * below * width + width + block(2 * width, width)
    return total + widths[0] * outputs + outputs


def test_parameters_are_those_of_the_description():
    found = sea_net.INFOS[0].parameters
    assert found == by_hand((64, 128, 256, 512, 1024), 2) == count(sea_net.build().network)


@pytest.mark.parametrize(("channels", "outputs"), [(1, 2), (4, 9)])
def test_gives_logits_at_the_size_of_the_slice(channels, outputs):
    network = SEANet(SEANetOptions(**SMALL, channels=channels), outputs=outputs)
    assert network(torch.randn(2, channels, 24, 16)).shape == (2, outputs, 24, 16)


def test_the_bottleneck_reaches_every_gate():
    network = SEANet(SEANetOptions(**SMALL))
    assert [len(gate.phi) for gate in network.gates] == [1, 2]
    assert network.gates[1].phi[1].in_channels == 16


def test_closed_gates_cut_the_skips_off():
    network = SEANet(SEANetOptions(**SMALL)).eval()
    for gate in network.gates:
        torch.nn.init.constant_(gate.psi.bias, -1000.0)
    seen = []
    for merge in network.merge:
        merge.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(torch.randn(1, 1, 16, 16))
    assert [bool(x[:, : x.shape[1] // 2].any()) for x in seen] == [False, False]
    assert all(x[:, x.shape[1] // 2 :].any() for x in seen)


def test_learns_by_cross_entropy_and_tversky_and_every_parameter_moves():
    model = sea_net.build(**SMALL)
    assert dict(model.settings.losses) == {"cross_entropy": 1.0, "tversky": 1.0}
    batch = {"image": torch.randn(2, 1, 16, 16), "classes": torch.randint(0, 2, (2, 16, 16))}
    ((name, loss),) = model.losses(batch)
    loss.backward()
    assert name == "network"
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("name", sea_net.RECIPES)
def test_recipes_are_options_and_settings_that_exist(name):
    recipe = sea_net.RECIPES[name]
    options = fill(SEANetOptions, recipe.options, name)
    settings = fill(TrainConfig, recipe.training, name)
    assert all(hasattr(options, key) or hasattr(settings, key) for key in recipe.assumed)


def test_a_slice_or_channels_that_do_not_fit_are_refused():
    network = SEANet(SEANetOptions(**SMALL))
    with pytest.raises(
        InputError, match=r"multiples of 4; the batch has \(18, 16\). The nearest that fits is \(20, 16"
    ):
        network(torch.randn(1, 1, 18, 16))
    with pytest.raises(InputError, match="channels = 3"):
        network(torch.randn(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": [64]}, "at least two"),
        ({"widths": [64, 96]}, "double from level to level"),
        ({"reduction": 0}, "reduction must be at least 1"),
        ({"patch": 100}, "nearest is 96"),
        ({"base": 4}, "unknown key 'base'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        sea_net.build(**options)


def test_there_is_one_variant():
    with pytest.raises(UnknownNameError):
        sea_net.build("spiral")
