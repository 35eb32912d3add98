"""M-SAM's parts against the paper's counts, its formulas, and numbers of the authors' code."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oncoseg.errors import ConfigError
from oncoseg.nn.sam3d.lora import LowRankQkv, add_low_rank
from oncoseg.nn.sam3d.mask_enhanced import (
    MaskEnhancedAdapter,
    MaskEnhancedSam,
    official_state,
    set_trained,
    with_base,
)
from oncoseg.nn.sam3d.network import Sam3d
from oncoseg.nn.sam3d.prompts import VolumePrompts
from oncoseg.nn.sam_vit import VitSize

SMALL = VitSize(48, 2, 4, (1,), window=6)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def count(network, trainable=False):
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


def filled(network):
    """Weights that any library gives alike: uniform numbers, tensor i of the sorted names from numpy's seed i."""
    state = network.state_dict()
    for seed, name in enumerate(sorted(state)):
        tensor = state[name]
        numbers = np.random.default_rng(seed).random(tensor.numel()) - 0.5
        scale = 4 * tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5
        shift = 1.0 if tensor.ndim == 1 and name.endswith("weight") else 0.0
        state[name] = torch.from_numpy(scale * numbers + shift).to(tensor.dtype).reshape(tensor.shape)
    network.load_state_dict(state)
    return network.eval()


def uniform(*shape):
    return torch.from_numpy(np.random.default_rng(99).random(shape) - 0.5).float()


def small(**options):
    return MaskEnhancedSam(SMALL, image_size=64, width=48, **{"rank": 4, **options})


@pytest.mark.parametrize(
    ("options", "total", "trainable", "share"),
    [
        ({}, 118_244_080, 25_319_152, "21.41"),
        ({"adapter": False}, 101_099_056, 8_174_128, "8.09"),
        ({"rank": 4}, 117_801_712, 24_876_784, "21.12"),
    ],
)
def test_has_the_parameters_of_the_paper(options, total, trainable, share):
    """Table 2 of the paper for rank 16; the last row is the rank of the released script."""
    with torch.device("meta"):
        network = MaskEnhancedSam(**options)
    assert count(network) == total
    assert count(network, trainable=True) == trainable
    assert f"{100 * trainable / total:.2f}" == share


def test_its_parts_have_the_parameters_of_the_authors_code():
    with torch.device("meta"):
        network = MaskEnhancedSam()
    assert count(network.bidatt) == 17_145_024
    assert sum(count(m) - count(m.qkv) for m in network.modules() if isinstance(m, LowRankQkv)) == 36_864 * 16


def test_the_rows_of_the_ablation_learn_what_they_say():
    network = small()
    set_trained(network, "nothing")
    assert count(network, trainable=True) == 0
    set_trained(network, "everything")
    assert count(network, trainable=True) == count(network)
    set_trained(network, "light")
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    own = {name for name in network.state_dict() if name.startswith("image_encoder.") and "linear_" not in name}
    assert frozen == own
    base = Sam3d(SMALL, image_size=64, width=48)
    assert sum(p.numel() for p in base.image_encoder.parameters()) == count(network) - count(network, trainable=True)


POINTS = torch.tensor([[[3.0, 40, 20]], [[50, 7, 33]], [[9, 9, 60]]])


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (
            "code",
            [
                [0.68737, 0.22839, 0.20922, -0.08463],
                [0.10793, 0.73032, 0.12841, 0.30224],
                [0.74318, 0.45938, 0.59422, 0.13848],
            ],
        ),
        (
            "paper",
            [
                [0.68737, 0.22839, 0.20922, -0.08463],
                [0.03475, 0.4806, -0.03382, 0.08514],
                [0.30341, 0.70066, 0.25541, 0.45236],
            ],
        ),
    ],
)
def test_refines_as_the_authors_code(feed, expected):
    """Logits of three stages, each from one click and the logits before; the first mask is of zeros."""
    network = filled(small(feed=feed))
    logits, found = torch.zeros(1, 1, 16, 16, 16), []
    with torch.inference_mode():
        embedding = network.embed(uniform(1, 1, 64, 64, 64))
        for stage, point in enumerate(POINTS):
            prompts = VolumePrompts(point[None], torch.tensor([[stage % 2]]), logits)
            logits, _, embedding = network.decode(embedding, prompts)
            found.append(logits.flatten()[::1300].tolist())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_the_code_feeds_the_encoders_embedding_and_the_paper_the_enhanced_one():
    embedding, prompts = torch.randn(1, 48, 4, 4, 4), VolumePrompts(masks=torch.randn(1, 1, 16, 16, 16))
    code = filled(small())
    _, mask = code.prompt_encoder(prompts, 1)
    assert code.decode(embedding, prompts).embedding is embedding
    enhanced = filled(small(feed="paper")).decode(embedding, prompts).embedding
    torch.testing.assert_close(enhanced, code.bidatt(embedding, mask))
    assert filled(small(feed="paper", adapter=False)).decode(embedding, prompts).embedding is embedding


def test_the_adapter_follows_the_formulas_of_the_paper():
    torch.manual_seed(0)
    adapter = filled(MaskEnhancedAdapter(48, side=2))
    block = adapter.bidirectional_attentions[0]
    image, prompt = torch.randn(2, 1, 48, 2, 2, 2)

    def norm(layer, x):
        return F.layer_norm(x.movedim(1, -1), (48,), layer.weight, layer.bias, 1e-6).movedim(-1, 1)

    def mlp(layer, x):
        return layer.lin2(F.gelu(layer.lin1(x.movedim(1, -1)))).movedim(-1, 1)

    def local(name, x):
        first, second = (getattr(block, f"{name}_conv{i}") for i in (1, 2))
        return norm(
            getattr(block, f"{name}_addnorm1"), second(F.gelu(norm(getattr(block, f"{name}_norm"), first(x)))) + x
        )

    e, m = norm(adapter.add_norm3, image), norm(adapter.add_norm2, prompt)
    a, b = local("image", e), local("prompt", m)
    u = norm(block.image_addnorm2, block.image_multiheadattn(a + e + m) + a)
    v = norm(block.prompt_addnorm2, block.prompt_multiheadattn(b + e + m) + b)
    u = norm(block.image_addnorm3, mlp(block.mlp1, u) + u)
    v = norm(block.prompt_addnorm3, mlp(block.mlp2, v) + v)
    s = u + e + v + m
    o = norm(adapter.add_norm, adapter.multi_head_self_attention(s) + s)
    torch.testing.assert_close(adapter(image, prompt), o + mlp(adapter.mlp, o), atol=1e-5, rtol=1e-5)


def test_low_rank_changes_start_as_none_and_spare_the_keys():
    torch.manual_seed(0)
    layer = LowRankQkv(torch.nn.Linear(6, 18), 2)
    tokens = torch.randn(3, 6)
    torch.testing.assert_close(layer(tokens), layer.qkv(tokens))
    for part in (layer.linear_b_q, layer.linear_b_v):
        torch.nn.init.normal_(part.weight)
    change = layer(tokens) - layer.qkv(tokens)
    torch.testing.assert_close(change[:, :6], tokens @ layer.linear_a_q.weight.T @ layer.linear_b_q.weight.T)
    torch.testing.assert_close(change[:, 6:12], torch.zeros(3, 6))
    torch.testing.assert_close(change[:, 12:], tokens @ layer.linear_a_v.weight.T @ layer.linear_b_v.weight.T)


@pytest.mark.parametrize("rank", [0, 4])
def test_starts_from_sam_med3d(rank):
    """Without the adapter, and with low-rank changes still at zero, both answer alike."""
    base = filled(Sam3d(SMALL, image_size=64, width=48))
    network = small(rank=rank, adapter=False).eval()
    network.load_state_dict(with_base(network, base.state_dict()), strict=True)
    volumes, clicks = uniform(1, 1, 64, 64, 64), (POINTS[None, 0], torch.ones(1, 1))
    with torch.inference_mode():
        torch.testing.assert_close(network(volumes, *clicks), base(volumes, *clicks))


def test_a_base_that_lacks_a_tensor_is_noticed():
    state = Sam3d(SMALL, image_size=64, width=48).state_dict()
    del state["image_encoder.blocks.1.attn.qkv.bias"]
    network = small()
    with pytest.raises(RuntimeError, match=r"Missing key\(s\).*blocks\.1\.attn\.qkv\.qkv\.bias"):
        network.load_state_dict(with_base(network, state), strict=True)


def test_loads_what_the_trainer_writes():
    """Four more tensors a block, and 89 of the adapter, which the authors' code loads strictly."""
    network = filled(small())
    written = {
        name if name.startswith("bidatt.") else f"lora_sam.sam.{name}": t for name, t in network.state_dict().items()
    }
    assert "lora_sam.sam.image_encoder.blocks.0.attn.qkv.linear_a_q.weight" in written
    assert "bidatt.bidirectional_attentions.0.prompt_multiheadattn.mlp.lin1.weight" in written
    assert "bidatt.add_norm4.weight" in written
    assert len(written) == len(Sam3d(SMALL, image_size=64, width=48).state_dict()) + 2 * 4 + 89
    other = small()
    other.load_state_dict(official_state(written), strict=True)
    torch.testing.assert_close(other.state_dict(), network.state_dict())


def test_impossible_parts_are_refused():
    with pytest.raises(ConfigError, match="feed 'both'"):
        small(feed="both")
    with pytest.raises(ConfigError, match="rank 0"):
        add_low_rank(Sam3d(SMALL, image_size=64, width=48).image_encoder, 0)
    with pytest.raises(ConfigError, match="already"):
        add_low_rank(small().image_encoder, 4)
