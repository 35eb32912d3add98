"""Swin-Unet: its size, equality with the authors' code, its options and the ImageNet weights a user brings."""

import logging

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import swin_unet
from oncoseg.models.swin_unet import SwinUNet, SwinUNetOptions
from oncoseg.weights.trained import About, write_checkpoint

SMALL = {"patch": 64, "embed": 24, "depths": (2, 2, 2, 2), "heads": (2, 3, 4, 6), "attention_window": 4}
#: Logits of the authors' code (HuCaoFighting/Swin-Unet at f48f623) built to the sizes of SMALL with three outputs, with
#: the weights and slices of conftest.py, at (sample, row, column).
KNOWN = {
    (0, 0, 0): [-0.18202, -1.01918, -4.35161],
    (0, 20, 41): [-0.32004, -1.47711, 0.92532],
    (1, 63, 5): [0.57703, -2.58398, 1.88438],
}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def imagenet_file(path, *, window=4, depths=(2, 2, 6, 2), **changed):
    """Random weights of a Swin classifier deeper than SMALL, under the official names; returns them."""
    options = SwinUNetOptions(
        **SMALL | {"depths": depths, "attention_window": window, "patch": 64 if window == 4 else 32 * window}
    )
    state = SwinUNet(options).swin_unet.state_dict()
    kept = {name: t for name, t in state.items() if name.startswith(("patch_embed.", "layers.", "norm."))}
    kept = {n: torch.randn_like(t) if t.is_floating_point() else t for n, t in kept.items()}
    kept |= {"head.weight": torch.randn(10, 192), "head.bias": torch.randn(10)} | changed
    torch.save({"model": kept}, path)
    return kept


@pytest.mark.parametrize(("outputs", "parameters"), [(2, 27_168_228), (9, 27_168_900)])
def test_has_the_parameters_of_the_released_code(outputs, parameters):
    with torch.device("meta"):
        network = SwinUNet(SwinUNetOptions(), outputs=outputs)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_logits_equal_those_of_the_authors_code(known_output):
    logits = known_output(SwinUNet(SwinUNetOptions(**SMALL), outputs=3), 64)
    assert logits.shape == (2, 3, 64, 64)
    for (sample, row, column), expected in KNOWN.items():
        np.testing.assert_allclose(logits[sample, :, row, column], expected, atol=5e-5)
    np.testing.assert_allclose([logits.mean(), logits.std()], [-0.28424, 1.66147], atol=5e-5)


def test_state_dict_has_the_official_names_and_shapes():
    with torch.device("meta"):
        state = SwinUNet(SwinUNetOptions()).state_dict()
    assert all(name.startswith("swin_unet.") for name in state)
    shapes = {name.removeprefix("swin_unet."): tuple(tensor.shape) for name, tensor in state.items()}
    assert shapes["patch_embed.proj.weight"] == (96, 3, 4, 4)
    assert shapes["layers.0.blocks.1.attn_mask"] == (64, 49, 49)
    assert "layers.3.blocks.1.attn_mask" not in shapes
    assert shapes["layers.3.blocks.1.attn.relative_position_bias_table"] == (169, 24)
    assert shapes["layers.2.blocks.0.attn.relative_position_index"] == (49, 49)
    assert shapes["layers.0.downsample.reduction.weight"] == (192, 384)
    assert shapes["layers_up.0.expand.weight"] == (1536, 768)
    assert shapes["layers_up.1.upsample.norm.weight"] == (192,)
    assert shapes["layers_up.3.blocks.0.mlp.fc1.weight"] == (384, 96)
    assert shapes["concat_back_dim.3.weight"] == (96, 192)
    assert shapes["up.expand.weight"] == (1536, 96)
    assert shapes["output.weight"] == (2, 96, 1, 1)


def test_a_file_with_official_names_gives_the_same_network(tmp_path):
    model = swin_unet.build(**SMALL)
    torch.save(model.network.state_dict(), tmp_path / "epoch_149.pth")
    again = swin_unet.build(**SMALL, weights=tmp_path / "epoch_149.pth")
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_drop_path_leaves_out_branches_while_training_alone():
    network = SwinUNet(SwinUNetOptions(**SMALL, drop_path=0.5))
    x = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_takes_the_size_it_was_built_for_alone():
    network = SwinUNet(SwinUNetOptions(**SMALL))
    with pytest.raises(InputError, match=r"nearest that fits is \(64, 64\)"):
        network(torch.zeros(1, 1, 64, 96))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 256}, "multiple of 224"),
        ({"patch": 100}, "multiple of 224"),
        ({"fit": "pad"}, "resize or crop"),
        ({"depths": (2, 2)}, "same stages"),
        ({"embed": 50}, "divide the widths"),
        ({"attention_window": 1}, "at least 2"),
    ],
)
def test_options_that_make_no_network_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        swin_unet.build(**options)


def test_the_loss_moves_every_parameter():
    model = swin_unet.build(**SMALL | {"drop_path": 0.0})
    model.network.train()
    batch = {"image": torch.rand(2, 1, 64, 64), "classes": (torch.rand(2, 64, 64) > 0.8).to(torch.uint8)}
    (_, loss), *more = model.losses(batch)
    loss.backward()
    assert not more
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.parameters())


def test_imagenet_weights_go_into_the_encoder_and_mirrored_into_the_decoder(tmp_path, caplog):
    file = imagenet_file(tmp_path / "swin.pth")
    with caplog.at_level(logging.INFO):
        network = swin_unet.build(**SMALL, imagenet=tmp_path / "swin.pth").network
    state = network.swin_unet.state_dict()
    for own, source in {
        "patch_embed.norm.bias": "patch_embed.norm.bias",
        "layers.2.blocks.1.attn.qkv.weight": "layers.2.blocks.1.attn.qkv.weight",
        "layers.1.downsample.norm.weight": "layers.1.downsample.norm.weight",
        "norm.weight": "norm.weight",
        "layers_up.1.blocks.0.mlp.fc2.bias": "layers.2.blocks.0.mlp.fc2.bias",
        "layers_up.3.blocks.1.norm1.weight": "layers.0.blocks.1.norm1.weight",
    }.items():
        assert torch.equal(state[own], file[source]), own
    assert "layers.2.blocks.5.norm1.weight" in caplog.text
    assert "head.weight" in caplog.text
    assert "stay random" not in caplog.text


def test_position_tables_of_another_window_stay_random_and_are_reported(tmp_path, caplog):
    file = imagenet_file(tmp_path / "swin.pth", window=7)
    with caplog.at_level(logging.WARNING):
        network = swin_unet.build(**SMALL, imagenet=tmp_path / "swin.pth").network
    table = "attn.relative_position_bias_table"
    assert f"layers.0.blocks.0.{table}" in caplog.text
    assert f"layers_up.3.blocks.1.{table}" in caplog.text
    state = network.swin_unet.state_dict()
    assert state[f"layers.0.blocks.0.{table}"].shape == (49, 2)
    assert torch.equal(state["layers.0.blocks.0.attn.proj.weight"], file["layers.0.blocks.0.attn.proj.weight"])


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"surprise": torch.ones(3)}, {}, r"1 \(surprise\) unknown"),
        ({"layers.0.blocks.0.norm1.weight": torch.ones(25)}, {}, r"another size.*\(25,\) instead of \(24,\)"),
        ({}, {"depths": (2, 2, 8, 2)}, r"missing"),
        ({}, {"channels": 4}, "patch_embed.proj.weight"),
    ],
    ids=["unknown", "another shape", "too shallow", "four channels"],
)
def test_a_file_of_another_network_is_refused(tmp_path, changed, options, message):
    imagenet_file(tmp_path / "swin.pth", **changed)
    with pytest.raises(InputError, match=message):
        swin_unet.build(**SMALL | options, imagenet=tmp_path / "swin.pth")


def test_a_checkpoint_remembers_the_imagenet_file_and_does_without_it(tmp_path):
    source = tmp_path / "swin.pth"
    imagenet_file(source)
    model = swin_unet.build(**SMALL, imagenet=source)
    write_checkpoint(tmp_path / "t.safetensors", model.network.state_dict(), About("swin_unet", "", model.options()))
    source.unlink()
    again = swin_unet.build(weights=tmp_path / "t.safetensors")
    assert again.options()["imagenet"] == str(source)
    assert torch.equal(again.network.swin_unet.norm.weight, model.network.swin_unet.norm.weight)


def test_imagenet_beside_whole_weights_is_refused(tmp_path):
    torch.save(swin_unet.build(**SMALL).network.state_dict(), tmp_path / "official.pth")
    with pytest.raises(ConfigError, match="imagenet"):
        swin_unet.build(**SMALL, weights=tmp_path / "official.pth", imagenet=tmp_path / "swin.pth")
