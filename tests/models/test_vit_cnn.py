"""ViT + CNN: what it is made of, and what it refuses."""

import pytest
import torch

from oncoseg.config import fill
from oncoseg.errors import ConfigError, InputError
from oncoseg.models import vit_cnn
from oncoseg.models.vit_cnn import ViTCNN, ViTCNNOptions
from oncoseg.training.settings import TrainConfig

SMALL = {"widths": (4, 8), "hidden": 12, "layers": 2, "heads": 3, "patch": 16}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def count(network):
    return sum(p.numel() for p in network.parameters())


def by_hand(widths, hidden, *, layers, patch, outputs):
    """Parameters from the description: convolutions k k in out + out, norms 2 out, linear maps in out + out."""

    def double(a, b):
        return 9 * a * b + 9 * b * b + 6 * b

    attention = sum(2 * b * (b // 16) + 2 * 7 * 7 for b in widths)
    encoder = sum(double(a, b) for a, b in zip([1, *widths], widths, strict=False)) + attention
    tokens = widths[-1] * hidden + hidden + (patch // 2 ** len(widths)) ** 2 * hidden
    layer = 4 * hidden + 4 * (hidden**2 + hidden) + 8 * hidden**2 + 5 * hidden
    up = sum(4 * below * width + width for below, width in zip([hidden, *widths[::-1]], widths[::-1], strict=False))
    merge = sum(double(2 * width, width) for width in widths)
    return encoder + tokens + layers * layer + 2 * hidden + up + merge + widths[0] * outputs + outputs


def test_parameters_are_those_of_the_description():
    found = vit_cnn.INFOS[0].parameters
    assert found == by_hand((64, 128, 256, 512), 384, layers=8, patch=256, outputs=1) == count(vit_cnn.build().network)


@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (4, 9)])
def test_gives_logits_at_the_size_of_the_slice(channels, outputs):
    network = ViTCNN(ViTCNNOptions(**SMALL, channels=channels), outputs=outputs)
    assert network(torch.randn(2, channels, 16, 16)).shape == (2, outputs, 16, 16)


def test_the_transformer_sees_the_whole_slice():
    network = ViTCNN(ViTCNNOptions(**SMALL)).eval()
    seen = []
    network.transformer.register_forward_hook(lambda *given: seen.append(given[2]))
    x = torch.randn(1, 1, 16, 16)
    network(x)
    x[..., :4, :4] += 1.0
    network(x)
    assert seen[0].shape == (1, 16, 12)
    # The last token is that of the corner opposite to the change, out of reach of the convolutions before.
    assert (seen[0] - seen[1])[0, -1].abs().max() > 1e-6


def test_every_parameter_moves():
    model = vit_cnn.build(**SMALL)
    batch = {"image": torch.randn(2, 1, 16, 16), "classes": torch.randint(0, 2, (2, 16, 16))}
    ((_, loss),) = model.losses(batch)
    loss.backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("name", vit_cnn.RECIPES)
def test_recipes_are_options_and_settings_that_exist(name):
    recipe = vit_cnn.RECIPES[name]
    options = fill(ViTCNNOptions, recipe.options, name)
    settings = fill(TrainConfig, recipe.training, name)
    assert all(hasattr(options, key) or hasattr(settings, key) for key in recipe.assumed)


def test_another_size_of_slice_is_refused():
    with pytest.raises(InputError, match=r"one size only; the batch has \(32, 16\). The nearest that fits is \(16, 16"):
        ViTCNN(ViTCNNOptions(**SMALL))(torch.randn(1, 1, 32, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "pad"}, "fit must be resize or crop"),
        ({"patch": 100}, "patch must be a multiple of 2 for every one of widths"),
        ({"heads": 5}, "multiple of heads"),
        ({"layers": 0}, "at least 1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        vit_cnn.build(**options)
