"""Residual blocks of nnU-Net's kind."""

import pytest
import torch
from torch import nn

from oncoseg.nn.residual import Keeping, Projecting, norm


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("kernel", "stride", "size"), [((3, 3), (2, 1), (8, 6)), ((1, 3, 3), (1, 2, 2), (3, 8, 6))])
def test_a_projecting_block_divides_the_size_by_its_stride(kernel, stride, size):
    found = Projecting(2, 5, kernel, stride=stride)(torch.randn(1, 2, *size))
    assert found.shape == (1, 5, *(n // s for n, s in zip(size, stride, strict=True)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_shortcut_is_a_strided_convolution(layout):
    block = Projecting(8, 16, (3, 3), stride=(2, 2)).to(memory_format=layout)
    nn.init.zeros_(block.norm2.weight)
    nn.init.zeros_(block.norm2.bias)
    x = torch.randn(2, 8, 64, 64).to(memory_format=layout).requires_grad_()
    with torch.no_grad():
        strided = nn.functional.conv2d(x, block.conv3.weight, block.conv3.bias, stride=2)
    found = block(x)
    torch.testing.assert_close(found, nn.functional.leaky_relu(strided, 0.01))
    # As one strided convolution, with channels last, this backward pass used to end the process.
    found.square().mean().backward()
    assert torch.isfinite(x.grad).all()


def test_a_keeping_block_whose_branch_is_silent_passes_its_input():
    block = Keeping(4, (3, 3, 3))
    nn.init.zeros_(block.conv2.norm.weight)
    x = torch.randn(1, 4, 3, 4, 5)
    torch.testing.assert_close(block(x), nn.functional.leaky_relu(x, 0.01))


@pytest.mark.parametrize("space", [2, 3])
def test_a_single_voxel_is_normalised_to_the_bias(space):
    layer = norm(space, 3)
    nn.init.normal_(layer.bias)
    found = layer(torch.randn(2, 3, *[1] * space))
    torch.testing.assert_close(found.flatten(1), layer.bias.expand(2, 3))
    found.sum().backward()
    assert layer.bias.grad.tolist() == [2.0, 2.0, 2.0]
