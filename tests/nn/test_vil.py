"""The Vision-LSTM block against the recurrence it stands for."""

import math

import pytest
import torch
from torch import nn

from oncoseg.errors import ConfigError
from oncoseg.nn.vil import EPSILON, CausalConvolution, ViLBlock, matrix_lstm


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def recurrence(query, key, value, *, input_gate, forget_gate):
    """Beck et al. 2024, section 2.3, with its stabiliser m: memory C and normaliser n, token by token."""
    batch, heads, tokens, width = query.shape
    memory = query.new_zeros(batch, heads, width, width)
    normaliser = query.new_zeros(batch, heads, width)
    stabiliser = query.new_full((batch, heads), -math.inf)
    found = []
    for t in range(tokens):
        log_forget = torch.log(torch.sigmoid(forget_gate[..., t]))
        highest = torch.maximum(log_forget + stabiliser, input_gate[..., t])
        forget, enter = torch.exp(log_forget + stabiliser - highest), torch.exp(input_gate[..., t] - highest)
        k = key[:, :, t] / math.sqrt(width)
        memory = forget[..., None, None] * memory + enter[..., None, None] * value[:, :, t, :, None] * k[..., None, :]
        normaliser = forget[..., None] * normaliser + enter[..., None] * k
        read = (memory @ query[:, :, t, :, None])[..., 0]
        size = torch.maximum((normaliser * query[:, :, t]).sum(-1).abs(), torch.exp(-highest)) + EPSILON
        found.append(read / size[..., None])
        stabiliser = highest
    return torch.stack(found, dim=2)


def random_sequence(tokens=37, heads=2, width=6, spread=1.0, requires_grad=False):
    def draw(*shape):
        return (spread * torch.randn(2, heads, tokens, *shape, dtype=torch.float64)).requires_grad_(requires_grad)

    return (draw(width), draw(width), draw(width)), {"input_gate": draw(), "forget_gate": draw()}


@pytest.mark.parametrize("spread", [1.0, 6.0])
@pytest.mark.parametrize("rows", [1, 8, 512])
def test_the_parallel_form_is_the_recurrence(rows, spread):
    given, gates = random_sequence(spread=spread)
    found = matrix_lstm(*given, **gates, rows=rows)
    torch.testing.assert_close(found, recurrence(*given, **gates), rtol=1e-10, atol=1e-10)


def test_its_gradient_is_that_of_the_recurrence_with_and_without_recomputing():
    given, gates = random_sequence(tokens=20, requires_grad=True)
    inputs = (*given, *gates.values())
    direction = torch.randn(2, 2, 20, 6, dtype=torch.float64)
    expected = torch.autograd.grad((recurrence(*given, **gates) * direction).sum(), inputs)
    for rows in (7, 512):
        found = torch.autograd.grad((matrix_lstm(*given, **gates, rows=rows) * direction).sum(), inputs)
        # The epsilon beside the normaliser is where the detached maximum shows.
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_gates_at_their_ends_stay_finite():
    given = [part.float() for part in random_sequence(tokens=50)[0]]
    for level in (-200.0, 200.0):
        gate = torch.full((2, 2, 50), level, dtype=torch.float32).requires_grad_()
        found = matrix_lstm(*given, input_gate=gate, forget_gate=-gate)
        found.sum().backward()
        assert torch.isfinite(found).all()
        assert torch.isfinite(gate.grad).all()


def test_the_gradient_of_a_long_sequence_is_finite():
    block = ViLBlock(8)
    tokens = torch.randn(1, 4096, 8, requires_grad=True)
    block(tokens).square().mean().backward()
    for name, gradient in [("tokens", tokens.grad), *((n, p.grad) for n, p in block.named_parameters())]:
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name


def test_a_token_sees_only_those_before_it():
    block = ViLBlock(8).eval()
    tokens = torch.randn(1, 12, 8)
    changed = tokens.clone()
    changed[:, 7] = torch.randn(8)
    before, after = block(tokens), block(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(dim=(0, 2)).min() > 1e-6


def test_the_whole_block_is_its_formula():
    """Written again from the equations with plain torch layers: same weights, same output."""
    block = ViLBlock(12).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    tokens = torch.randn(2, 9, 12, dtype=torch.float64)
    weights = dict(block.named_parameters())

    def dense(name):
        return torch.block_diag(*weights[f"layer.{name}_proj.weight"])

    normed = nn.functional.layer_norm(tokens, (12,), 1 + weights["norm.weight"], None, 1e-5)
    inner, gate = (normed @ weights["layer.proj_up.weight"].T).chunk(2, -1)
    padded = nn.functional.pad(inner.transpose(1, 2), (3, 0))
    near = nn.functional.conv1d(
        padded, weights["layer.conv1d.conv.weight"], weights["layer.conv1d.conv.bias"], groups=24
    ).transpose(1, 2)
    near = near * torch.sigmoid(near)
    query, key, value = near @ dense("q").T, near @ dense("k").T, inner @ dense("v").T
    together = torch.cat([query, key, value], -1)
    gates = {
        f"{name}_gate": nn.functional.linear(
            together,
            weights[f"layer.mlstm_cell.{name[0]}gate.weight"],
            weights[f"layer.mlstm_cell.{name[0]}gate.bias"],
        ).mT
        for name in ("input", "forget")
    }
    heads = [part.view(2, 9, 4, 6).transpose(1, 2) for part in (query, key, value)]
    mixed = recurrence(*heads, **gates).transpose(1, 2).reshape(18, 24)
    mixed = nn.functional.group_norm(mixed, 4, 1 + weights["layer.mlstm_cell.outnorm.weight"], None, 1e-5)
    mixed = (mixed.view(2, 9, 24) + weights["layer.learnable_skip"] * near) * gate * torch.sigmoid(gate)
    expected = tokens + mixed @ weights["layer.proj_down.weight"].T
    torch.testing.assert_close(block(tokens), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("width", "heads"), [(16, 4), (6, 2)])
def test_names_and_number_of_the_parameters(width, heads):
    found = {name: tuple(p.shape) for name, p in ViLBlock(width).named_parameters()}
    inner = 2 * width
    assert found == {
        "norm.weight": (width,),
        "layer.learnable_skip": (inner,),
        "layer.proj_up.weight": (2 * inner, width),
        "layer.q_proj.weight": (inner // heads, heads, heads),
        "layer.k_proj.weight": (inner // heads, heads, heads),
        "layer.v_proj.weight": (inner // heads, heads, heads),
        "layer.conv1d.conv.weight": (inner, 1, 4),
        "layer.conv1d.conv.bias": (inner,),
        "layer.mlstm_cell.igate.weight": (heads, 3 * inner),
        "layer.mlstm_cell.igate.bias": (heads,),
        "layer.mlstm_cell.fgate.weight": (heads, 3 * inner),
        "layer.mlstm_cell.fgate.bias": (heads,),
        "layer.mlstm_cell.outnorm.weight": (inner,),
        "layer.proj_down.weight": (width, inner),
    }


def test_starts_as_the_paper_says():
    cell = ViLBlock(16).layer.mlstm_cell
    assert cell.fgate.bias.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert not cell.fgate.weight.any()
    assert not cell.igate.weight.any()
    assert 0 < cell.igate.bias.abs().max() < 0.5


def test_computes_in_float32_under_autocast():
    block = ViLBlock(8)
    tokens = torch.randn(1, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = block(tokens.bfloat16())
    torch.testing.assert_close(found, block(tokens.bfloat16().float()))


def test_an_odd_width_is_refused():
    with pytest.raises(ConfigError, match="even width; got 9"):
        ViLBlock(9)


def test_the_convolution_looks_back_over_zeros():
    convolution = CausalConvolution(1)
    nn.init.ones_(convolution.conv.weight)
    nn.init.zeros_(convolution.conv.bias)
    found = convolution(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).view(1, 5, 1))
    assert found.flatten().tolist() == [1.0, 3.0, 6.0, 10.0, 14.0]
