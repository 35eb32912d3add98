"""ImageNet weights in the JAX layout: where each array goes, and files that are refused."""

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from oncoseg.errors import InputError, UnsafeFileError
from oncoseg.models.transunet import TransUNet, TransUNetOptions
from oncoseg.weights.jax_vit import read_jax_vit

SIZES = {"width": 8, "units": (1, 2, 1), "hidden": 12, "layers": 2, "heads": 3, "mlp": 20}
HEADS = SIZES["heads"]
LAYER_0 = "Transformer/encoderblock_0/"
LAYER = "Transformer/encoderblock_1/"
ATTENTION = LAYER + "MultiHeadDotProductAttention_1/"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "R50+ViT-B_16.npz"


def wanted(side=64, **changed):
    options = TransUNetOptions(patch=side, decoder=(8, 8, 8, 8, 8), **SIZES | changed)
    return TransUNet(options).transformer.state_dict()


def test_every_array_lands_where_the_network_computes_the_same(file, jax_vit_file):
    arrays = jax_vit_file(file, tokens=16, **SIZES)
    state = read_jax_vit(file, wanted(), HEADS)
    assert state.keys() == wanted().keys()
    rng = np.random.default_rng(1)
    token = rng.normal(size=12).astype(np.float32)
    for part in ("query", "key", "value"):
        # As in the JAX code: axes (in, head, size of a head).
        heads = np.einsum("i,ihs->hs", token, arrays[ATTENTION + part + "/kernel"]) + arrays[ATTENTION + part + "/bias"]
        weight, bias = (state[f"encoder.layer.1.attn.{part}.{end}"].numpy() for end in ("weight", "bias"))
        np.testing.assert_allclose((weight @ token + bias).reshape(3, 4), heads, rtol=1e-4, atol=1e-5)
    mixed = rng.normal(size=(3, 4)).astype(np.float32)
    out = np.einsum("hs,hso->o", mixed, arrays[ATTENTION + "out/kernel"])
    np.testing.assert_allclose(state["encoder.layer.1.attn.out.weight"].numpy() @ mixed.ravel(), out, rtol=1e-4)
    hidden = token @ arrays[LAYER + "MlpBlock_3/Dense_0/kernel"]
    np.testing.assert_allclose(state["encoder.layer.1.ffn.fc1.weight"].numpy() @ token, hidden, rtol=1e-4, atol=1e-5)
    unit = "embeddings.hybrid_model.body.block2.unit1."
    for name, source in {
        unit + "conv2.weight": "block2/unit1/conv2/kernel",
        unit + "downsample.weight": "block2/unit1/conv_proj/kernel",
    }.items():
        np.testing.assert_array_equal(state[name].permute(2, 3, 1, 0), arrays[source])
    np.testing.assert_array_equal(state[unit + "gn_proj.bias"], arrays["block2/unit1/gn_proj/bias"].ravel())
    np.testing.assert_array_equal(state["encoder.layer.0.ffn_norm.weight"], arrays[LAYER_0 + "LayerNorm_2/scale"])


@pytest.mark.parametrize(("tokens", "side"), [(16, 64), (196, 64), (16, 160)], ids=["same", "finer", "coarser"])
def test_the_position_table_is_interpolated_to_the_grid_of_the_network(file, jax_vit_file, tokens, side):
    arrays = jax_vit_file(file, tokens=tokens, **SIZES)
    found = read_jax_vit(file, wanted(side), HEADS)["embeddings.position_embeddings"]
    old, new = round(tokens**0.5), side // 16
    table = arrays["Transformer/posembed_input/pos_embedding"][0, 1:].reshape(old, old, -1)
    # What the authors' code does.
    expected = zoom(table, (new / old, new / old, 1), order=1).reshape(1, new * new, -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("conv_root/kernel"), r"1 \(embeddings.hybrid_model.root.conv.weight\) missing"),
        (lambda a: a.update(surprise=np.ones(3)), r"1 \(.*surprise\) too many"),
        (lambda a: a.update({LAYER + "MlpBlock_3/Dense_0/kernel": np.ones((20, 12))}), r"fc1.weight.*\(20, 12\)"),
        (lambda a: a.update({ATTENTION + "query/kernel": np.ones((12, 4, 3))}), r"query.weight.*heads"),
        (lambda a: a.update({"conv_root/kernel": np.ones((7, 7, 3, 8), np.int64)}), "conv_root/kernel.*int64"),
        (lambda a: a.update({"Transformer/posembed_input/pos_embedding": np.ones((1, 19, 12))}), "position"),
    ],
    ids=["missing", "too many", "turned", "other heads", "whole numbers", "no square"],
)
def test_a_file_that_does_not_fit_exactly_is_refused(file, jax_vit_file, change, message):
    arrays = jax_vit_file(file, tokens=16, **SIZES)
    change(arrays)
    np.savez(file, **arrays)
    with pytest.raises(InputError, match=message):
        read_jax_vit(file, wanted(), HEADS)


def test_a_file_for_a_network_without_resnet_is_told_apart(file, jax_vit_file):
    jax_vit_file(file, tokens=16, **SIZES | {"units": ()})
    with pytest.raises(InputError, match="missing"):
        read_jax_vit(file, wanted(), HEADS)


def test_pickled_objects_are_not_opened(file, tmp_path):
    class Marker:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.savez(file, kernel=np.array([Marker()], dtype=object))
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(UnsafeFileError, match="pickled"):
        read_jax_vit(file, wanted(), HEADS)
    assert not (tmp_path / "ran").exists()


def test_damaged_files_and_other_kinds_are_refused(file, jax_vit_file, tmp_path):
    jax_vit_file(file, tokens=16, **SIZES)
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive at all"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="whole"):
            read_jax_vit(file, wanted(), HEADS)
    other = tmp_path / "ViT.bin"
    torch.save({}, other)
    with pytest.raises(InputError, match="npz"):
        read_jax_vit(other, wanted(), HEADS)
