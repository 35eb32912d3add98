"""RAU-Net: what it is made of, and what it refuses."""

import pytest
import torch

from oncoseg.config import fill
from oncoseg.errors import ConfigError, InputError
from oncoseg.models import rau_net
from oncoseg.models.rau_net import RAUNet, RAUNetOptions
from oncoseg.training.settings import TrainConfig

SMALL = {"widths": (4, 8, 16), "patch": 16}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def count(network):
    return sum(p.numel() for p in network.parameters())


def by_hand(widths, outputs):
    """Parameters from the description: convolutions k k in out (+ out), batch norms 2 out."""

    def block(a, b):
        return 9 * a * b + 2 * b + 9 * b * b + 2 * b + a * b + b

    total = sum(block(a, b) for a, b in zip([1, *widths], widths, strict=False))
    for width in widths[:-1]:
        below, inner = 2 * width, width // 2
        gate = width * inner + 2 * inner + below * inner + 2 * inner + inner + 2
        total += gate + 4 * below * width + width + block(2 * width, width)
    return total + widths[0] * outputs + outputs


def test_parameters_are_those_of_the_description():
    found = rau_net.INFOS[0].parameters
    assert found == by_hand((64, 128, 256, 512, 1024), 1) == count(rau_net.build().network)


@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (4, 9)])
def test_gives_logits_at_the_size_of_the_slice(channels, outputs):
    network = RAUNet(RAUNetOptions(**SMALL, channels=channels), outputs=outputs)
    assert network(torch.randn(2, channels, 24, 16)).shape == (2, outputs, 24, 16)


def test_a_gate_is_moved_by_the_map_below():
    network = RAUNet(RAUNetOptions(**SMALL)).eval()
    x = torch.randn(1, 1, 16, 16)
    gated = []
    network.gates[0].register_forward_hook(lambda _, given, found: gated.append(found / given[0]))
    network(x)
    with torch.no_grad():
        network.down[-1].shortcut.bias.add_(2.0)
    network(x)
    assert (gated[0] - gated[1]).nan_to_num().abs().max() > 1e-4


@pytest.mark.parametrize("options", [{}, {"labels": "lungs+tumour", "head": "softmax"}], ids=["tumour", "lungs"])
def test_every_parameter_moves(options):
    model = rau_net.build(**SMALL, **options)
    batch = {"image": torch.randn(2, 1, 16, 16), "classes": torch.randint(0, 2, (2, 16, 16))}
    ((_, loss),) = model.losses(batch)
    loss.backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("name", rau_net.RECIPES)
def test_recipes_are_options_and_settings_that_exist(name):
    recipe = rau_net.RECIPES[name]
    options = fill(RAUNetOptions, recipe.options, name)
    settings = fill(TrainConfig, recipe.training, name)
    assert all(hasattr(options, key) or hasattr(settings, key) for key in recipe.assumed)


def test_a_slice_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"RAU-Net needs multiples of 4"):
        RAUNet(RAUNetOptions(**SMALL))(torch.randn(1, 1, 18, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"widths": [8, 8]}, "double"), ({"labels": "lungs+tumour"}, "head = softmax"), ({"patch": 100}, "nearest is 96")],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        rau_net.build(**options)
