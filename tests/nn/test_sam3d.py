"""SAM-Med3D's network against its published counts, its formulas, and numbers of the authors' code."""

import numpy as np
import pytest
import torch
from torch import nn

from oncoseg.errors import ConfigError, InputError
from oncoseg.nn.sam3d.attention import VolumeAttention
from oncoseg.nn.sam3d.network import Sam3d
from oncoseg.nn.sam3d.prompts import VolumePrompts
from oncoseg.nn.sam_vit import VitSize


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def count(module):
    return sum(p.numel() for p in module.parameters())


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


def small(window):
    return filled(Sam3d(VitSize(48, 3, 4, (1,), window), image_size=64, width=48))


def test_has_the_published_parameters_and_tensors():
    with torch.device("meta"):
        network = Sam3d()
    assert count(network) == 100_509_232
    assert count(network.image_encoder) == 92_924_928
    assert count(network.prompt_encoder) == 8_668
    assert count(network.mask_decoder) == 7_575_636
    assert len(network.state_dict()) == 324


def released_names():
    """Of `sam_med3d_turbo.pth`, as the authors' code writes it."""
    both = ("weight", "bias")
    norms = [f"neck.{i}.{kind}" for i in (1, 3) for kind in both]
    names = ["pos_embed", "neck.0.weight", "neck.2.weight", *norms, *(f"patch_embed.proj.{kind}" for kind in both)]
    layers = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2")
    for block in range(12):
        names += [f"blocks.{block}.{layer}.{kind}" for layer in layers for kind in both]
        names += [f"blocks.{block}.attn.rel_pos_{axis}" for axis in "dhw"]
    yield from (f"image_encoder.{name}" for name in names)
    yield "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    single = ("point_embeddings.0", "point_embeddings.1", "not_a_point_embed", "no_mask_embed")
    yield from (f"prompt_encoder.{name}.weight" for name in single)
    yield from (f"prompt_encoder.mask_downscaling.{i}.{kind}" for i in (0, 1, 3, 4, 6) for kind in both)
    yield from ("mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight")
    attentions = [
        *(f"layers.{i}.{name}" for i in (0, 1) for name in ("self_attn", "cross_attn_token_to_image")),
        *(f"layers.{i}.cross_attn_image_to_token" for i in (0, 1)),
        "final_attn_token_to_image",
    ]
    modules = [f"transformer.{name}.{part}_proj" for name in attentions for part in ("q", "k", "v", "out")]
    modules += [f"transformer.layers.{i}.norm{j}" for i in (0, 1) for j in (1, 2, 3, 4)]
    modules += [f"transformer.layers.{i}.mlp.lin{j}" for i in (0, 1) for j in (1, 2)]
    modules += ["transformer.norm_final_attn", *(f"output_upscaling.{i}" for i in (0, 1, 3))]
    modules += [f"output_hypernetworks_mlps.{i}.layers.{j}" for i in range(4) for j in range(3)]
    modules += [f"iou_prediction_head.layers.{j}" for j in range(3)]
    yield from (f"mask_decoder.{module}.{kind}" for module in modules for kind in both)


def test_names_and_shapes_are_those_of_the_released_weights():
    with torch.device("meta"):
        state = Sam3d().state_dict()
    assert sorted(state) == sorted(released_names())
    shapes = {
        "image_encoder.pos_embed": (1, 8, 8, 8, 768),
        "image_encoder.blocks.0.attn.rel_pos_d": (27, 64),
        "image_encoder.blocks.11.attn.rel_pos_w": (15, 64),
        "image_encoder.neck.2.weight": (384, 384, 3, 3, 3),
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (3, 128),
        "mask_decoder.transformer.final_attn_token_to_image.q_proj.weight": (192, 384),
        "mask_decoder.output_upscaling.3.weight": (96, 48, 2, 2, 2),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def plain_attention(layer, tokens):
    """The formulas of nn/sam3d/attention.py for every pair of a padded window, key by key, then cut to the tokens."""
    n, side = tokens.shape[1], layer.side
    padded = tokens.new_zeros((len(tokens), side, side, side, tokens.shape[-1]))
    padded[:, :n, :n, :n] = tokens
    qkv = layer.qkv(padded.flatten(1, 3)).unflatten(-1, (3, layer.heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = qkv
    logits = query @ key.mT / query.shape[-1] ** 0.5
    r = query.unflatten(2, (side, side, side))
    d, h, w = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(side)] * 3, indexing="ij"))
    qd, qh, qw, kd, kh, kw = d[:, None], h[:, None], w[:, None], d[None], h[None], w[None]

    def term(place, table, distance):
        return (r[:, :, *torch.broadcast_tensors(*place)] * table[distance + side - 1]).sum(-1)

    if layer.positions == "official":
        logits = logits + term((qd, qh, qw), layer.rel_pos_d, qd - kw)
        logits = logits + term((qd, qh, kd), layer.rel_pos_h, qh - kw)
        logits = logits + term((qd, qh, kh), layer.rel_pos_w, kh - kw)
    else:
        for table, distance in zip(
            (layer.rel_pos_d, layer.rel_pos_h, layer.rel_pos_w), (qd - kd, qh - kh, qw - kw), strict=True
        ):
            logits = logits + term((qd, qh, qw), table, distance)
    attended = (logits.softmax(-1) @ value).permute(0, 2, 1, 3).flatten(2)
    return layer.proj(attended).unflatten(1, (side, side, side))[:, :n, :n, :n]


@pytest.mark.parametrize("positions", ["official", "intended"])
@pytest.mark.parametrize(("n", "side"), [(3, 3), (2, 3), (2, 5), (1, 3)])
def test_attention_is_the_plain_one_over_padded_windows(positions, n, side):
    """Values and gradients; computed in double precision, where the largest difference is 1e-14."""
    torch.manual_seed(0)
    layer = VolumeAttention(12, 2, side=side, positions=positions).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    tokens = torch.randn(2, n, n, n, 12, dtype=torch.float64, requires_grad=True)
    ours, plain = layer(tokens), plain_attention(layer, tokens)
    torch.testing.assert_close(ours, plain, atol=1e-10, rtol=0)
    weight = torch.randn_like(ours)
    sources = [tokens, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), sources),
        torch.autograd.grad((plain * weight).sum(), sources),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


def test_official_and_intended_positions_differ():
    torch.manual_seed(0)
    official, intended = (VolumeAttention(8, 2, side=3, positions=mode) for mode in ("official", "intended"))
    for parameter in official.parameters():
        nn.init.normal_(parameter)
    intended.load_state_dict(official.state_dict())
    tokens = torch.randn(1, 3, 3, 3, 8)
    assert (official(tokens) - intended(tokens)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (3, [0.16862, 0.48418, -0.84601, -0.72066, 0.89079, -0.88829, 1.5389]),
        (6, [-0.4559, 1.12032, -1.30083, -0.78021, 0.65178, -1.74584, 0.75277]),
    ],
)
def test_embeds_as_the_authors_code(window, expected):
    """Windows smaller than the 4^3 tokens, so that several are cut and padded, and larger."""
    with torch.inference_mode():
        embedding = small(window).embed(uniform(1, 1, 64, 64, 64))
    assert embedding.shape == (1, 48, 4, 4, 4)
    assert embedding.flatten()[::500].tolist() == pytest.approx(expected, abs=1e-4)


CLICKS = (torch.tensor([[[3.0, 40, 20], [50, 7, 33], [9, 9, 60]]]), torch.tensor([[1, 0, -1]]))


@pytest.mark.parametrize(
    ("clicked", "masked", "multimask", "logits", "quality"),
    [
        (True, False, False, [-0.17249, 0.12983, -0.06955, -0.03731, 0.39877], [-1.47985]),
        (True, True, True, [0.16764, 0.16355, -0.11623, -0.03493, 0.47973], [-0.18589, -0.61351, 0.51658]),
        (False, True, False, [-0.3385, 0.06776, -0.15202, -0.12081, 0.09517], [-1.8668]),
    ],
)
def test_answers_as_the_authors_code(clicked, masked, multimask, logits, quality):
    network = small(6)
    points, labels = CLICKS if clicked else (None, None)
    mask = 4 * uniform(1, 1, 16, 16, 16) if masked else None
    with torch.inference_mode():
        embedding = network.embed(uniform(1, 1, 64, 64, 64))
        answer = network.decode(embedding, VolumePrompts(points, labels, mask), multimask=multimask)
    assert answer.logits.shape == (1, len(quality), 16, 16, 16)
    assert answer.logits.flatten()[:: 1000 * len(quality)].tolist() == pytest.approx(logits, abs=1e-4)
    assert answer.quality[0].tolist() == pytest.approx(quality, abs=1e-4)
    assert answer.embedding is embedding


def test_codes_of_places_swap_the_first_two_axes_of_clicks():
    encoder = small(6).prompt_encoder
    places = encoder.positions()
    assert places.shape == (1, 48, 4, 4, 4)
    click = encoder.pe_layer(torch.tensor([2.5, 0.5, 3.5]) / 4)  # centre of patch (2, 0, 3)
    torch.testing.assert_close(places[0, :, 0, 2, 3], click)
    assert (places[0, :, 2, 0, 3] - click).abs().max() > 0.1


def test_a_click_that_does_not_count_is_a_padding_token():
    encoder = small(6).prompt_encoder
    tokens, dense = encoder(VolumePrompts(*CLICKS), 1)
    assert tokens.shape == (1, 4, 48)
    torch.testing.assert_close(tokens[:, 2], encoder.not_a_point_embed.weight)
    torch.testing.assert_close(tokens[:, 3], encoder.not_a_point_embed.weight)
    assert (dense == encoder.no_mask_embed.weight[..., None, None, None]).all()


def test_volumes_of_a_batch_do_not_see_each_other():
    network = small(3)
    volumes = torch.randn(2, 1, 64, 64, 64)
    points, labels = torch.tensor([[[3.0, 40, 20]], [[50.0, 7, 33]]]), torch.tensor([[1], [0]])
    with torch.inference_mode():
        together = network(volumes, points, labels)
        alone = [network(volumes[i : i + 1], points[i : i + 1], labels[i : i + 1]) for i in range(2)]
    assert together.shape == (2, 64, 64, 64)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
def test_half_precision_stays_near():
    network, volumes = small(6), uniform(1, 1, 64, 64, 64)
    with torch.inference_mode():
        exact = network(volumes, *CLICKS)
        # Without oneDNN, which ends the process on some CPUs in bfloat16 (see oncoseg.inference.trial).
        with torch.backends.mkldnn.flags(enabled=False), torch.autocast("cpu", torch.bfloat16):
            half = network(volumes, *CLICKS)
    assert (half - exact).abs().max() < 0.05 * exact.abs().max()


def test_everything_learns():
    network = small(6)
    answer = network.decode(network.embed(uniform(1, 1, 64, 64, 64)), VolumePrompts(*CLICKS, uniform(1, 1, 16, 16, 16)))
    (network.whole(answer.logits).mean() + answer.quality.sum()).backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without == {"prompt_encoder.no_mask_embed.weight"}


def test_impossible_networks_and_volumes_are_refused():
    with pytest.raises(ConfigError, match="image_size 100"):
        Sam3d(VitSize(12, 1, 2, (0,)), image_size=100, width=48)
    with pytest.raises(ConfigError, match="multiple of 3"):
        Sam3d(VitSize(12, 1, 2, (0,)), image_size=64, width=64)
    with pytest.raises(ConfigError, match="multiple of 16"):
        Sam3d(VitSize(12, 1, 2, (0,)), image_size=64, width=24)
    with pytest.raises(ConfigError, match="positions 'right'"):
        Sam3d(VitSize(12, 1, 2, (0,)), image_size=64, width=48, positions="right")
    with pytest.raises(InputError, match=r"\(64, 64, 64\)"):
        small(3).embed(torch.zeros(1, 1, 64, 64, 48))
    with pytest.raises(InputError, match="no cube"):
        VolumeAttention(8, 2, side=3)(torch.zeros(1, 3, 3, 2, 8))
