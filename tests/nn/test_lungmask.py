from itertools import pairwise

import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.nn.lungmask import LungUNet


def block_parameters(source, target):
    """Two 3x3 convolutions with bias and two normalisations."""
    return 9 * source * target + target + 9 * target * target + target + 4 * target


def unused_parameters(source, target):
    """1x1 convolution with bias and normalisation."""
    return source * target + target + 2 * target


def test_parameters_are_those_of_the_public_file():
    widths = [1, 64, 128, 256, 512, 1024]
    down = sum(block_parameters(a, b) + unused_parameters(a, b) for a, b in pairwise(widths))
    # An up block has its own unused layers, those of its block, and a 1x1 convolution behind the up-sampling.
    up = sum(block_parameters(b, a) + 2 * unused_parameters(b, a) + b * a + a for a, b in pairwise(widths[1:]))
    count = sum(p.numel() for p in LungUNet(3).parameters())
    assert count == down + up + 64 * 3 + 3 == 31_054_275


def test_names_are_those_of_the_public_file():
    norm = [f"{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    unused = ["residual_input_conv.weight", "residual_input_conv.bias", *(f"residual_batchnorm.{n}" for n in norm)]
    block = [f"block.{i}.{p}" for i in (0, 3) for p in ("weight", "bias")]
    block += [f"block.{i}.{n}" for i in (2, 5) for n in norm]
    expected = {f"down_path.{k}.{name}" for k in range(5) for name in unused + block}
    up = [*unused, "up.1.weight", "up.1.bias", *(f"conv_block.{name}" for name in unused + block)]
    expected |= {f"up_path.{k}.{name}" for k in range(4) for name in up} | {"last.weight", "last.bias"}
    assert set(LungUNet().state_dict()) == expected


@pytest.mark.parametrize("classes", [3, 6])
def test_gives_log_probabilities_at_the_size_of_the_input(classes):
    network = LungUNet(classes).eval()
    with torch.inference_mode():
        result = network(torch.rand(2, 1, 32, 48))
    assert result.shape == (2, classes, 32, 48)
    torch.testing.assert_close(result.exp().sum(dim=1), torch.ones(2, 32, 48))


def test_normalises_after_relu_and_pools_by_the_mean():
    torch.manual_seed(0)
    network = LungUNet().eval()
    first, second = network.down_path[0].block, network.down_path[1].block
    x = torch.rand(1, 1, 16, 16)

    def by_hand(x, block):
        for conv, norm in ((block[0], block[2]), (block[3], block[5])):
            x = torch.conv2d(x, conv.weight, conv.bias, padding=1).clamp(min=0)
            x = x / (1 + norm.eps) ** 0.5  # a fresh normalisation has mean 0, variance 1
        return x

    seen = {}
    network.down_path[1].register_forward_hook(lambda module, inputs, output: seen.update(output=output))
    with torch.inference_mode():
        network(x)
        low = by_hand(x, first)
        pooled = (low[..., ::2, ::2] + low[..., 1::2, ::2] + low[..., ::2, 1::2] + low[..., 1::2, 1::2]) / 4
        torch.testing.assert_close(seen["output"], by_hand(pooled, second))


def test_unused_layers_change_nothing():
    network, x = LungUNet().eval(), torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        before = network(x)
        for name, parameter in network.named_parameters():
            if "residual" in name:
                parameter.fill_(7.0)
        assert torch.equal(network(x), before)


def test_a_size_that_does_not_divide_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"\(32, 48\)"):
        LungUNet()(torch.rand(1, 1, 30, 50))
