"""TransUNet: its size, equality with the authors' code, its options and the ImageNet weights a user brings."""

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import transunet
from oncoseg.models.transunet import TransUNet, TransUNetOptions
from oncoseg.weights.trained import About, write_checkpoint

SMALL = {
    "patch": 64,
    "width": 32,
    "units": (1, 2, 1),
    "hidden": 48,
    "layers": 2,
    "heads": 3,
    "mlp": 96,
    "decoder": (512, 32, 16, 16, 8),
}
#: Logits of the authors' code (Beckschen/TransUNet at 02ef001) built to the sizes of SMALL with three outputs, with
#: the weights and slices of conftest.py, at (sample, row, column); and their mean and standard deviation.
KNOWN = {
    "three skips": (
        {},
        {
            (0, 0, 0): [-0.10603, 0.03351, -0.05587],
            (0, 20, 41): [-0.25685, 0.22204, -0.15875],
            (1, 63, 5): [0.03002, 0.14527, -0.11625],
        },
        (-0.05827, 0.20713),
    ),
    "one skip": (
        {"skips": 1},
        {
            (0, 0, 0): [-0.11112, 0.03467, -0.07145],
            (0, 20, 41): [-0.14657, 0.15969, -0.1089],
            (1, 63, 5): [-0.12024, 0.09238, -0.14341],
        },
        (-0.04237, 0.1361),
    ),
    "no ResNet": (
        {"stem": "patches", "skips": 0},
        {
            (0, 0, 0): [-0.10817, 0.05517, -0.0559],
            (0, 20, 41): [-0.21433, 0.14985, -0.15307],
            (1, 63, 5): [-0.09792, 0.08448, -0.19446],
        },
        (-0.03906, 0.13619),
    ),
}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({}, 105_277_081), ({"stem": "patches", "skips": 0}, 91_674_201)],
    ids=["r50_vit_b16", "vit_b16"],
)
def test_has_the_parameters_of_the_released_code_at_nine_classes(options, parameters):
    with torch.device("meta"):
        network = TransUNet(TransUNetOptions(**options), outputs=9)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(("options", "pixels", "spread"), KNOWN.values(), ids=KNOWN.keys())
def test_logits_equal_those_of_the_authors_code(options, pixels, spread, known_output):
    logits = known_output(TransUNet(TransUNetOptions(**SMALL | options), outputs=3), 64)
    assert logits.shape == (2, 3, 64, 64)
    for (sample, row, column), expected in pixels.items():
        np.testing.assert_allclose(logits[sample, :, row, column], expected, atol=2e-5)
    np.testing.assert_allclose([logits.mean(), logits.std()], spread, atol=2e-5)


def test_state_dict_has_the_official_names_and_shapes():
    with torch.device("meta"):
        state = TransUNet(TransUNetOptions(), outputs=9).state_dict()
    # Counted on the state dict of the authors' code.
    assert len(state) == 409
    stem = "transformer.embeddings.hybrid_model."
    assert state[stem + "root.conv.weight"].shape == (64, 3, 7, 7)
    assert state[stem + "body.block2.unit1.downsample.weight"].shape == (512, 256, 1, 1)
    assert state[stem + "body.block3.unit9.gn3.bias"].shape == (1024,)
    assert state["transformer.embeddings.patch_embeddings.weight"].shape == (768, 1024, 1, 1)
    assert state["transformer.embeddings.position_embeddings"].shape == (1, 196, 768)
    assert state["transformer.encoder.layer.11.attn.query.weight"].shape == (768, 768)
    assert state["transformer.encoder.layer.0.ffn.fc1.weight"].shape == (3072, 768)
    assert state["decoder.conv_more.0.weight"].shape == (512, 768, 3, 3)
    assert state["decoder.blocks.0.conv1.0.weight"].shape == (256, 1024, 3, 3)
    assert state["decoder.blocks.3.conv2.1.running_var"].shape == (16,)
    assert state["segmentation_head.0.weight"].shape == (9, 16, 3, 3)


def test_a_grey_slice_is_three_equal_channels():
    one, three = (TransUNet(TransUNetOptions(**SMALL, channels=channels)).eval() for channels in (1, 3))
    three.load_state_dict(one.state_dict())
    x = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(one(x), three(x.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("side", [64, 96, 160])
def test_takes_the_size_it_was_built_for_alone(side):
    network = TransUNet(TransUNetOptions(**SMALL | {"patch": side})).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, side, side)).shape == (1, 2, side, side)
        with pytest.raises(InputError, match=rf"nearest that fits is \({side}, {side}\)"):
            network(torch.zeros(1, 1, side + 16, side))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 100}, "multiple of 16"),
        ({"fit": "pad"}, "resize or crop"),
        ({"stem": "patches"}, "skips"),
        ({"hidden": 100, "heads": 12}, "multiple of heads"),
        ({"width": 48}, "multiple of 32"),
    ],
)
def test_options_that_make_no_network_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        transunet.build(**options)


def test_the_loss_moves_every_parameter():
    model = transunet.build(**SMALL | {"decoder": (16, 16, 16, 16, 8), "dropout": 0.0})
    model.network.train()
    batch = {"image": torch.rand(2, 1, 64, 64), "classes": (torch.rand(2, 64, 64) > 0.8).to(torch.uint8)}
    (_, loss), *more = model.losses(batch)
    loss.backward()
    assert not more
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.parameters())


def test_starts_from_the_jax_file_a_user_brings(jax_vit_file, tmp_path):
    arrays = jax_vit_file(tmp_path / "R50+ViT-B_16.npz", **SMALL, tokens=16)
    network = transunet.build(**SMALL, imagenet=tmp_path / "R50+ViT-B_16.npz").network
    root = network.get_parameter("transformer.embeddings.hybrid_model.root.conv.weight")
    np.testing.assert_array_equal(root.detach().permute(2, 3, 1, 0), arrays["conv_root/kernel"])


def test_a_checkpoint_remembers_the_jax_file_and_does_without_it(jax_vit_file, tmp_path):
    source = tmp_path / "R50+ViT-B_16.npz"
    jax_vit_file(source, **SMALL, tokens=16)
    model = transunet.build(**SMALL, imagenet=source)
    about = About("transunet", "r50_vit_b16", model.options())
    write_checkpoint(tmp_path / "trained.safetensors", model.network.state_dict(), about)
    source.unlink()
    again = transunet.build(weights=tmp_path / "trained.safetensors")
    assert again.options()["imagenet"] == str(source)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_imagenet_beside_whole_weights_is_refused(tmp_path):
    torch.save(transunet.build(**SMALL).network.state_dict(), tmp_path / "official.pth")
    with pytest.raises(ConfigError, match="imagenet"):
        transunet.build(**SMALL, weights=tmp_path / "official.pth", imagenet=tmp_path / "R50+ViT-B_16.npz")
