"""Attention of 2D U-Nets: what is weighed by what."""

import pytest
import torch

from oncoseg.nn.attention_gates import AttentionGate, BlockAttention, ResidualBlock, SqueezeExcitation


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_squeeze_and_excitation_weighs_whole_channels_by_their_mean():
    features = torch.randn(2, 32, 5, 7)
    attention = SqueezeExcitation(32)
    weights = attention(features) / features
    mean = weights.mean(dim=(2, 3))
    torch.testing.assert_close(weights, mean[..., None, None].expand_as(weights))
    squeeze, excite = attention.squeeze.weight.flatten(1), attention.excite.weight.flatten(1)
    hidden = (features.mean(dim=(2, 3)) @ squeeze.T + attention.squeeze.bias).clamp_min(0)
    torch.testing.assert_close(mean, torch.sigmoid(hidden @ excite.T + attention.excite.bias))


def test_block_attention_weighs_channels_first_and_positions_afterwards():
    features = torch.randn(1, 16, 6, 6)
    attention = BlockAttention(16)
    torch.nn.init.zeros_(attention.positions.weight)
    weights = attention(features) / features
    # The weights of the positions are all sigmoid(0) now; those of the channels are left.
    torch.testing.assert_close(weights, weights.mean(dim=(2, 3), keepdim=True).expand_as(weights))
    pooled = attention.shared(features.mean((2, 3), keepdim=True)) + attention.shared(
        features.amax((2, 3), keepdim=True)
    )
    torch.testing.assert_close(weights[..., :1, :1], 0.5 * torch.sigmoid(pooled))


def test_block_attention_weighs_all_channels_of_a_position_alike():
    features = torch.randn(1, 16, 6, 6)
    attention = BlockAttention(16)
    torch.nn.init.zeros_(attention.shared[2].weight)
    weights = attention(features) / features
    torch.testing.assert_close(weights, weights.mean(dim=1, keepdim=True).expand_as(weights))
    assert weights.std() > 0


@pytest.mark.parametrize("norm", [False, True])
def test_a_gate_weighs_all_channels_of_a_position_alike(norm):
    skip, deep, deepest = torch.randn(2, 8, 8, 8), torch.randn(2, 16, 4, 4), torch.randn(2, 32, 2, 2)
    gate = AttentionGate(8, [16, 32], inner=4, norm=norm)
    weights = gate(skip, [deep, deepest]) / skip
    torch.testing.assert_close(weights, weights.mean(dim=1, keepdim=True).expand_as(weights))
    assert weights.min() > 0
    assert weights.max() < 1
    for changed in ([deep + 1, deepest], [deep, deepest + 1]):
        moved = gate.eval()(skip, changed) / skip
        assert (moved - gate(skip, [deep, deepest]) / skip).abs().max() > 1e-4


def test_a_gate_can_close():
    gate = AttentionGate(8, [16], inner=4, norm=False)
    torch.nn.init.constant_(gate.psi.bias, -1000.0)
    assert not gate(torch.randn(1, 8, 8, 8), [torch.randn(1, 16, 4, 4)]).any()


def test_a_residual_block_whose_branch_is_silent_is_its_shortcut():
    block = ResidualBlock(3, 6, attention=SqueezeExcitation(6))
    torch.nn.init.zeros_(block.branch[-1].weight)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(block(x), block.shortcut(x).clamp_min(0))
