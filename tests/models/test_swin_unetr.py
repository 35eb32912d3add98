"""Swin UNETR: MONAI's network in the right size, its files, pretrained transformers, and what it refuses."""

import logging

import pytest
import torch
from torch import nn

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import swin_unetr
from oncoseg.models.swin_unetr import SwinUnetrOptions
from oncoseg.nn.monai_networks import FirstMerging

TINY = {
    "features": 12,
    "depths": (1, 1, 1, 1),
    "heads": (1, 2, 4, 8),
    "window_tokens": 4,
    "patch": (32, 32, 64),
}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("options", "outputs", "expected"),
    [
        # Counted on MONAI's class.
        ({"features": 24}, 2, 15_703_004),
        ({}, 2, 62_186_708),
        ({"channels": 4}, 3, 62_191_941),
        ({"v2": True}, 2, 72_762_068),
        (swin_unetr.VARIANTS["msam"], 2, 139_648_844),
    ],
)
def test_has_as_many_parameters_as_monai_s(options, outputs, expected):
    with torch.device("meta"):
        network = swin_unetr.swin_unetr(SwinUnetrOptions(**options), outputs=outputs)
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize("v2", [False, True])
def test_computes_what_monai_s_class_computes(v2):
    from monai.networks.nets.swin_unetr import SwinUNETR

    network = swin_unetr.swin_unetr(SwinUnetrOptions(**TINY, v2=v2)).eval()
    theirs = SwinUNETR(1, 2, feature_size=12, depths=(1,) * 4, num_heads=(1, 2, 4, 8), window_size=4, use_v2=v2).eval()
    theirs.load_state_dict(network.state_dict())
    x = torch.rand(1, 1, 32, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), theirs(x), atol=1e-5, rtol=0)


def test_the_first_merging_joins_two_neighbours_twice():
    # As listed in MONAI's issue 8284; fixed in its version 1.5.
    tokens = torch.arange(8.0).reshape(1, 2, 2, 2, 1)
    merging = FirstMerging(1)
    merging.norm, merging.reduction = nn.Identity(), nn.Identity()
    assert merging(tokens).flatten().tolist() == [0, 4, 2, 1, 5, 2, 1, 7]


def test_files_fit_either_merging_and_give_other_results():
    networks = [swin_unetr.swin_unetr(SwinUnetrOptions(**TINY, merging=m)).eval() for m in ("all", "first")]
    networks[1].load_state_dict(networks[0].state_dict())
    x = torch.rand(1, 1, 32, 32, 64)
    with torch.no_grad():
        assert not torch.allclose(networks[0](x), networks[1](x), atol=1e-3)


def test_gradients_reach_every_parameter_with_and_without_recomputing():
    for recompute in (False, True):
        network = swin_unetr.swin_unetr(SwinUnetrOptions(**TINY, recompute=recompute))
        network(torch.rand(1, 1, 32, 32, 64)).square().mean().backward()
        assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize(("size", "nearest"), [((40, 32, 64), r"\(32, 32, 64\)"), ((64, 96, 50), r"\(64, 96, 64\)")])
def test_other_sizes_than_multiples_of_32_are_refused_with_the_nearest(size, nearest):
    network = swin_unetr.swin_unetr(SwinUnetrOptions(**TINY))
    with pytest.raises(InputError, match=f"needs multiples of 32.*{nearest}"):
        network(torch.zeros(1, 1, *size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (96, 96, 100)}, r"multiple of 32.*nearest is 96"),
        ({"features": 20}, "features must be a positive multiple of 12"),
        ({"heads": (5, 6, 12, 24)}, "heads must divide features"),
        ({"patch": (32, 32, 32)}, "patch must be larger than 32 x 32 x 32"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        swin_unetr.build(**options)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_monai_files_load_from_their_wrappers(tmp_path, wrapper):
    state = swin_unetr.build(**TINY).network.state_dict()
    renamed = {"module." + name: tensor for name, tensor in state.items()}
    torch.save({wrapper: renamed, "epoch": 3} if wrapper else renamed, tmp_path / "swin.pt")
    loaded = swin_unetr.build(weights=tmp_path / "swin.pt", **TINY).network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def old_names(state):
    """The transformer as the first self-supervised weights name it: no `swinViT`, `fc` for `linear`."""
    return {
        "module." + name.removeprefix("swinViT.").replace("mlp.linear", "mlp.fc"): tensor
        for name, tensor in state.items()
        if name.startswith("swinViT.")
    }


def newer_names(state):
    """As the later pretraining (disruptive autoencoders) names it."""
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("swinViT."):
            stage, dot, rest = name.removeprefix("swinViT.").partition(".0.")
            renamed[f"encoder.{stage}.0.0.{rest}" if dot and stage.startswith("layers") else f"encoder.{stage}"] = (
                tensor
            )
    return renamed


@pytest.mark.parametrize("names", [old_names, newer_names, dict])
def test_training_may_begin_from_a_pretrained_transformer(tmp_path, names):
    state = swin_unetr.build(**TINY).network.state_dict()
    # A head of the pretraining, and the decoder of a network with other classes, have no place here.
    others = {"module.rotation_head.weight": torch.zeros(4, 4), "out.conv.conv.weight": torch.zeros(14, 12, 1, 1, 1)}
    torch.save({"state_dict": {**names(state), **others}}, tmp_path / "model_swinvit.pt")
    torch.manual_seed(1)
    begun = swin_unetr.build(pretrained=str(tmp_path / "model_swinvit.pt"), **TINY).network.state_dict()
    for name, tensor in begun.items():
        constant = "norm" in name or "index" in name
        assert torch.equal(tensor, state[name]) == (name.startswith("swinViT.") or constant), name


def test_what_a_pretrained_file_lacks_is_reported(tmp_path, caplog):
    network = swin_unetr.build(**TINY).network
    state = old_names(network.state_dict())
    del state["module.layers2.0.blocks.0.mlp.fc1.weight"]
    with caplog.at_level(logging.WARNING):
        missing = swin_unetr.load_pretrained(network, state, "cut.pt")
    assert missing == ["swinViT.layers2.0.blocks.0.mlp.linear1.weight"]
    assert "cut.pt lacks 1 of them, which stay random: swinViT.layers2.0.blocks.0.mlp.linear1.weight" in caplog.text


def test_a_pretrained_file_of_another_size_or_kind_is_refused(tmp_path):
    network = swin_unetr.build(**TINY).network
    with pytest.raises(InputError, match="holds no Swin transformer"):
        swin_unetr.load_pretrained(network, {"down.0.weight": torch.zeros(1)}, "unet.pt")
    with torch.device("meta"):
        larger = swin_unetr.swin_unetr(SwinUnetrOptions(**{**TINY, "features": 24})).state_dict()
    with pytest.raises(InputError, match="is of another size"):
        swin_unetr.load_pretrained(network, larger, "24.pt")
    with pytest.raises(ConfigError, match="either weights or pretrained"):
        swin_unetr.build(weights=tmp_path / "a.pt", pretrained=tmp_path / "b.pt")
