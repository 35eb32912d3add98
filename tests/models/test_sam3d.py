"""SAM3D's room: counts, files to begin from, slices that stay slices, and a frozen image encoder."""

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import sam3d
from oncoseg.models.sam3d import Sam3D, Sam3dOptions
from oncoseg.nn.sam_vit import VitEncoder, sam_vit
from oncoseg.volume import Volume

TINY = {"embed_dim": 24, "depth": 2, "heads": 2, "patch": (3, 32, 32)}


@pytest.fixture(autouse=True)
def _own_cache_and_one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    torch.manual_seed(0)


def learning(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(("outputs", "expected"), [(2, 1_879_550), (4, 1_879_668), (14, 1_880_258)])
def test_what_learns_is_as_large_as_published(outputs, expected):
    """Bui et al. 2024, table 1: 1.88 M; counted on the authors' code."""
    with torch.device("meta"):
        network = Sam3D(Sam3dOptions(), outputs=outputs)
    assert learning(network) == expected
    assert all(not p.requires_grad for p in network.image_encoder.parameters())


def test_the_decoder_computes_what_the_authors_code_computes(known):
    """Numbers from UARK-AICV/SAM3D, `network_architecture/sam3d.py`, with weights drawn by name."""
    network = Sam3D(Sam3dOptions(**{**TINY, "patch": (2, 32, 32)}))
    decoder = {n: t.shape for n, t in network.state_dict().items() if not n.startswith("image_encoder.")}
    network.load_state_dict(network.state_dict() | known(decoder))
    features = torch.from_numpy(np.random.RandomState(7).standard_normal((1, 256, 2, 2, 2)).astype(np.float32))
    network.embed = lambda x: features
    with torch.no_grad():
        outputs = network.train()(torch.zeros(1, 1, 2, 32, 32))
    expected = [
        [-0.6268, -0.60027, -0.23894, 0.26048, -0.28798],
        [0.1337, 0.30545, -0.35659, 0.91839, -0.34656],
        [-0.2403, -0.06274, 1.31142, 1.13426, 1.75316],
    ]
    for output, numbers in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output.flatten()[[0, 5, 17, 60, 100]], numbers, atol=2e-5)


def official_sam(side=64):
    """A small SAM under transformers' names, with position tables that are not zero."""
    network = sam_vit(Sam3dOptions(**TINY).size, image_size=side)
    for name, tensor in network.state_dict().items():
        if "pos" in name:
            tensor.normal_()
    return network.state_dict()


def saved(path, content):
    torch.save(content, path)
    return path


def test_slices_are_embedded_alone_and_lie_behind_each_other():
    network = Sam3D(Sam3dOptions(**TINY, channels=2)).eval()
    x = torch.randn(1, 2, 3, 32, 32)
    seen = network.embed(x)
    assert seen.shape == (1, 512, 3, 2, 2)
    with torch.no_grad():
        alone = network.image_encoder(x[:, 1, 2:3].expand(-1, 3, -1, -1))
    torch.testing.assert_close(seen[:, 256:, 2], alone, atol=1e-5, rtol=1e-4)


def test_many_slices_go_through_the_image_encoder_some_at_a_time(monkeypatch):
    network, counted = Sam3D(Sam3dOptions(**{**TINY, "patch": (20, 32, 32)})), []
    forward = VitEncoder.forward
    monkeypatch.setattr(VitEncoder, "forward", lambda self, x: counted.append(len(x)) or forward(self, x))
    assert network.embed(torch.randn(1, 1, 20, 32, 32)).shape[2] == 20
    assert counted == [16, 4]


def test_three_outputs_are_supervised_and_one_is_given():
    network = Sam3D(Sam3dOptions(**TINY))
    x = torch.randn(1, 1, 3, 32, 32)
    assert [tuple(o.shape[2:]) for o in network.train()(x)] == [(3, 32, 32), (3, 16, 16), (3, 8, 8)]
    assert network.eval()(x).shape == (1, 2, 3, 32, 32)
    assert Sam3dOptions().depth_weights == pytest.approx((4 / 7, 2 / 7, 1 / 7))


def test_the_decoder_learns_and_sam_does_not():
    model = sam3d.build(**TINY)
    batch = {"image": torch.randn(1, 1, 3, 32, 32), "classes": torch.randint(0, 2, (1, 3, 32, 32)).byte()}
    model.network.train()
    [(_, loss)] = model.losses(batch)
    loss.backward()
    moved = {name for name, p in model.network.named_parameters() if p.grad is not None}
    assert moved == {name for name, p in model.network.named_parameters() if not name.startswith("image_encoder.")}


def test_a_sam_is_a_beginning_and_its_tables_are_interpolated(tmp_path):
    sam = official_sam()
    path = saved(tmp_path / "sam.pth", sam)
    begun = sam3d.build(weights=path, **TINY)
    assert begun.told == [f"{path} is a SAM; SAM3D's decoder begins anew."]
    held = begun.network.state_dict()
    assert held["image_encoder.pos_embed"].shape == (1, 2, 2, 24)
    torch.testing.assert_close(held["image_encoder.neck.conv1.weight"], sam["image_encoder.neck.conv1.weight"])
    by_option = sam3d.build(sam=path, **TINY).network.state_dict()
    for name in held:
        assert name.startswith("image_encoder.") == torch.equal(held[name], by_option[name]), name


def test_a_file_of_the_authors_holds_the_decoder_alone(tmp_path):
    state = Sam3D(Sam3dOptions(**TINY)).state_dict()
    decoder = {name: t for name, t in state.items() if not name.startswith("image_encoder.")}
    # Tensors of the released trainer's file, in the order of their code (`Sam3D.__init__`).
    assert list(decoder)[:2] == ["decoder5.conv1.0.weight", "decoder5.conv1.0.bias"]
    assert "decoder2.downsample.0.weight" in decoder
    assert "out1.conv_pred.0.weight" in decoder
    assert len(decoder) == 4 * 6 + 3 * 4
    theirs = saved(tmp_path / "model_final_checkpoint.model", {"epoch": 5, "state_dict": decoder})
    sam = saved(tmp_path / "sam.pth", official_sam())
    whole = sam3d.build(weights=theirs, sam=sam, **TINY)
    assert whole.told == []
    held, begun = whole.network.state_dict(), sam3d.build(sam=sam, **TINY).network.state_dict()
    for name, tensor in held.items():
        assert torch.equal(tensor, decoder.get(name, begun[name])), name
    assert "it is random" in sam3d.build(weights=theirs, **TINY).told[0]


def test_files_that_do_not_fit_are_refused(tmp_path):
    sam = saved(tmp_path / "sam.pth", official_sam())
    with pytest.raises(ConfigError, match="Leave the option sam"):
        sam3d.build(weights=sam, sam=sam, **TINY)
    with pytest.raises(InputError, match="of another shape"):
        sam3d.build(weights=sam, **{**TINY, "embed_dim": 48})
    lacking = saved(tmp_path / "lacking.pth", {"decoder5.conv1.0.weight": torch.zeros(128, 256, 3, 3, 3)})
    with pytest.raises(InputError, match="missing: decoder2"):
        sam3d.build(weights=lacking, **TINY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (3, 32, 48)}, "as many rows as columns"),
        ({"patch": (3, 40, 40)}, r"multiple of \[1, 16, 16\].*nearest is \[3, 48, 48\]"),
        ({"depth_weights": (1.0,)}, "depth_weights must be three"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        sam3d.build(**options)


def test_a_thin_volume_is_seen_at_the_patch_it_was_built_for():
    model = sam3d.build(**TINY, spacing=None, mirror=True)
    image = Volume.from_spacing(np.random.default_rng(0).integers(-900, 300, (2, 20, 40)), (4.0, 3.0, 3.0))
    found = model.predict(image)
    assert found.same_grid(image)
    with pytest.raises(InputError, match="takes one size only"):
        model.network(torch.zeros(1, 1, 5, 32, 48))
