"""UNETR: MONAI's network in the right size, its files, and what it refuses."""

import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import unetr
from oncoseg.models.unetr import UnetrOptions

TINY = {"features": 4, "hidden": 24, "mlp": 48, "heads": 2, "patch": (32, 32, 48)}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("options", "outputs", "expected"),
    [
        # Counted on MONAI's class; the paper says 92.58 M for the first.
        ({"patch": (96, 96, 96)}, 14, 92_802_478),
        ({}, 2, 93_029_602),
        ({"channels": 4}, 4, 102_468_164),
        ({"channels": 4, "features": 32}, 3, 111_472_483),
    ],
)
def test_has_as_many_parameters_as_monai_s(options, outputs, expected):
    with torch.device("meta"):
        network = unetr.unetr(UnetrOptions(**options), outputs=outputs)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_computes_what_monai_s_class_computes():
    from monai.networks.nets.unetr import UNETR

    network = unetr.unetr(UnetrOptions(**TINY)).eval()
    theirs = UNETR(1, 2, TINY["patch"], feature_size=4, hidden_size=24, mlp_dim=48, num_heads=2).eval()
    theirs.load_state_dict(network.state_dict())
    x = torch.rand(1, 1, *TINY["patch"])
    with torch.no_grad():
        assert torch.equal(network(x), theirs(x))


def test_gradients_reach_every_parameter_that_is_trained():
    network = unetr.unetr(UnetrOptions(**TINY))
    network(torch.rand(1, 1, *TINY["patch"])).square().mean().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None}
    assert without == {name for name, p in network.named_parameters() if not p.requires_grad}
    assert all("norm_cross_attn" in name for name in without)


@pytest.mark.parametrize(("size", "nearest"), [((32, 32, 32), r"\(32, 32, 48\)"), ((33, 32, 48), r"\(32, 32, 48\)")])
def test_takes_one_size_and_names_it(size, nearest):
    network = unetr.unetr(UnetrOptions(**TINY))
    with pytest.raises(InputError, match=f"takes one size only.*{nearest}"):
        network(torch.zeros(1, 1, *size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (100, 128, 128)}, r"multiple of 16.*nearest is \[96, 128, 128\]"),
        ({"heads": 7}, "hidden must be a multiple of heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"features": 0}, "features"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        unetr.build(**options)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_monai_files_load_from_their_wrappers(tmp_path, wrapper, prefix):
    state = unetr.build(**TINY).network.state_dict()
    target = tmp_path / "UNETR.pt"
    renamed = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({wrapper: renamed, "epoch": 3} if wrapper else renamed, target)
    loaded = unetr.build(weights=target, **TINY).network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_files_of_other_monai_versions_load_with_and_without_the_cross_attention_nobody_uses(tmp_path):
    state = unetr.build(**TINY).network.state_dict()
    older = {name: tensor for name, tensor in state.items() if "norm_cross_attn" not in name}
    torch.save(older, tmp_path / "older.pt")
    torch.save({**state, "vit.blocks.0.cross_attn.to_q.weight": torch.zeros(24, 24)}, tmp_path / "newer.pt")
    for name in ("older.pt", "newer.pt"):
        loaded = unetr.build(weights=tmp_path / name, **TINY).network.state_dict()
        assert all(torch.equal(loaded[key], tensor) for key, tensor in older.items())
    torch.save({name: tensor for name, tensor in older.items() if "out." not in name}, tmp_path / "headless.pt")
    with pytest.raises(InputError, match=r"do not fit UNETR: 2 missing: out\.conv\.conv\.bias"):
        unetr.build(weights=tmp_path / "headless.pt", **TINY)


def test_files_of_networks_with_a_linear_embedding_load():
    network = unetr.unetr(UnetrOptions(**TINY, embedding="perceptron"))
    assert "vit.patch_embedding.patch_embeddings.1.weight" in network.state_dict()
