"""nnFormer: equal to the released code on the same weights, its sizes, its three outputs, and what it refuses."""

import zlib

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import nnformer
from oncoseg.models.nnformer.network import NnFormer
from oncoseg.models.nnformer.options import NnFormerOptions
from oncoseg.nn.swin3d import DropPath

TINY = {"embed": 24, "heads": (1, 2, 4, 8), "decoder_heads": (1, 2, 4), "windows": (4, 4, 4, 4), "patch": (32, 32, 32)}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def network_of(variant="msam", *, outputs=None, **changed):
    return NnFormer(NnFormerOptions(**{**nnformer.VARIANTS[variant], **changed}), outputs=outputs)


def known_state(state):
    """Each tensor drawn by its name alone, so that two implementations get equal ones."""
    drawn = dict(state)
    for name, old in state.items():
        if old.is_floating_point():
            values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(old.shape))
            gain = "norm" in name and name.endswith("weight")
            drawn[name] = torch.from_numpy(0.05 * values if old.ndim > 1 else 0.2 * values + gain).to(old.dtype)
    return drawn


RELEASED_AS = {
    "tumour": ("tumour", {"embed": 24, "patch": (64, 64, 64), "channels": 4, "outputs": 4}),
    "synapse": ("synapse", {"embed": 48, "patch": (32, 64, 64), "outputs": 14}),
    "padded and shifted windows": ("tumour", {"embed": 24, "patch": (96, 64, 64), "windows": (3, 5, 2, 4)}),
}
#: From the released code (github.com/282857341/nnFormer, networks for brain tumours and for organs) with the sizes
#: above and the weights and patch of the test, in float64. For each of the three resolutions: the first logit of the
#: background, the logit of the last class a third of the patch further, and the mean size of all.
RELEASED = {
    "tumour": (
        (0.338098675, -0.260007785, 0.253422599),
        (0.679912881, -0.347155607, 0.386249323),
        (1.244224474, 0.102531122, 0.565464153),
    ),
    "synapse": (
        (-0.659345731, -0.810278128, 0.400734274),
        (-0.795252777, -0.099785657, 0.570799380),
        (-0.744822723, -0.941845399, 1.118568190),
    ),
    "padded and shifted windows": (
        (0.044710175, 0.037273982, 0.252783294),
        (0.273724199, 0.221759860, 0.403747078),
        (0.210379754, -1.441701052, 0.621714160),
    ),
}


@pytest.mark.parametrize("case", RELEASED)
def test_computes_what_the_released_code_computes(case):
    variant, sizes = RELEASED_AS[case]
    network = network_of(variant, drop_path=0.0, **sizes).double().train()
    network.load_state_dict(known_state(network.state_dict()))
    patch = np.random.RandomState(7).uniform(size=(1, network.channels, *network.size))
    with torch.no_grad():
        outputs = network(torch.from_numpy(patch))
    for logits, expected in zip(outputs, RELEASED[case], strict=True):
        last = logits[0, -1].flatten()
        found = (logits[0, 0, 0, 0, 0], last[len(last) // 3], logits.abs().mean())
        np.testing.assert_allclose([float(v) for v in found], expected, rtol=0, atol=2e-9)


@pytest.mark.parametrize(
    ("variant", "channels", "outputs", "expected"),
    [
        ("synapse", 1, 14, 150_054_210),  # the paper's: 14 classes of organs
        ("tumour", 4, 4, 37_754_190),  # the paper's: four MR sequences, three tumour regions and background
        ("msam", 1, 2, 149_798_442),
    ],
)
def test_has_as_many_parameters_as_the_released_network(variant, channels, outputs, expected):
    with torch.device("meta"):
        network = network_of(variant, channels=channels, outputs=outputs)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_without_deep_supervision_the_two_coarser_heads_are_gone():
    # The released trainer for brain tumours supervises the finest output only.
    with torch.device("meta"):
        network = network_of("tumour", channels=4, outputs=4, deep_supervision=False, depth_weights=(1.0,))
    assert sum(p.numel() for p in network.parameters()) == 37_606_726


def test_names_are_the_released_ones():
    keys = list(network_of(**TINY).state_dict())
    assert keys[0] == "model_down.patch_embed.proj1.conv1.weight"
    assert "model_down.layers.0.blocks.1.attn.qkv.weight" in keys
    assert "model_down.layers.2.downsample.reduction.bias" in keys
    assert "decoder.layers.0.blocks.0.attn.kv.weight" in keys
    assert "decoder.layers.2.Upsample.up.weight" in keys
    assert keys[-1] == "final.2.up.bias"
    # Masks of shifted windows follow from the sizes and are not stored.
    assert not [key for key in keys if "mask" in key]


def test_training_gives_three_outputs_finest_first_and_prediction_the_finest():
    network = network_of(**{**TINY, "patch": (32, 64, 32)}, drop_path=0.0)
    x = torch.rand(2, 1, 32, 64, 32)
    with torch.no_grad():
        trained, predicted = network.train()(x), network.eval()(x)
    assert [tuple(o.shape) for o in trained] == [(2, 2, 32, 64, 32), (2, 2, 16, 32, 16), (2, 2, 8, 16, 8)]
    torch.testing.assert_close(predicted, trained[0])


def test_gradients_reach_every_parameter():
    network = network_of(**TINY)
    sum(o.square().mean() for o in network(torch.rand(1, 1, 32, 32, 32))).backward()
    # Most rows of a bias table are never read (see the page of the model), so a gradient may hold zeros.
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_drop_rates_grow_from_nothing_to_the_highest_in_encoder_and_decoder():
    network = network_of(**TINY)
    rates = {n: m.probability for n, m in network.named_modules() if isinstance(m, DropPath)}
    assert rates["model_down.layers.0.blocks.0.drop_path"] == 0
    assert rates["model_down.layers.3.blocks.1.drop_path"] == pytest.approx(0.2)
    # The coarsest stage of the decoder is the last in the list and the first to be computed.
    assert rates["decoder.layers.2.blocks.0.drop_path"] == 0
    assert rates["decoder.layers.0.blocks.1.drop_path"] == pytest.approx(0.2)


def test_a_dropped_branch_keeps_its_mean():
    drop = DropPath(0.25).train()
    kept = drop(torch.ones(4000, 2, 3))
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (kept == kept[:, :1, :1]).all()
    assert float(kept.mean()) == pytest.approx(1, abs=0.05)
    assert (drop.eval()(torch.ones(3, 2)) == 1).all()


def test_takes_one_size_and_names_it():
    network = network_of(**TINY)
    with pytest.raises(InputError, match=r"takes one size only; the batch has \(64, 32, 32\)\..*\(32, 32, 32\)"):
        network(torch.zeros(1, 1, 64, 32, 32))
    with pytest.raises(InputError, match=r"1 input channel\(s\); the batch has 4"):
        network(torch.zeros(1, 4, 32, 32, 32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (100, 128, 128)}, r"multiple of 32.*nearest is \[96, 128, 128\]"),
        ({"token": (3, 4, 4)}, "token must be 2 or 4"),
        ({"embed": 100}, "heads .* must divide embed"),
        ({"depth_weights": (1.0,)}, "depth_weights must be three with deep_supervision"),
        ({"drop_path": 1.0}, "drop_path"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        nnformer.build(**options)


def test_a_file_of_the_released_trainer_loads(tmp_path):
    model = nnformer.build(**TINY)
    target = tmp_path / "model_final_checkpoint.model"
    state = {f"module.{name}": tensor for name, tensor in model.network.state_dict().items()}
    torch.save({"epoch": 1000, "state_dict": state, "lr_scheduler_state_dict": None}, target)
    again = nnformer.build(weights=target, **TINY)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name
    with pytest.raises(InputError, match="do not fit NnFormer"):
        nnformer.build(weights=target, **{**TINY, "embed": 48})
