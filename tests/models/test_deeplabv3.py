"""DeepLabV3: its size, the library's names, how it widens its view, and what it takes from other people's files.

That it computes what the library computes was measured with torchvision 0.29.2 beside torch 2.13: same state dict,
random normalisation statistics, logits equal to 2e-7 at 128 x 128 and 97 x 131 pixels, output strides 8 and 16;
4e-7 in training mode with both heads. torchvision is no dependency; what can be checked without it is checked here.
"""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.models import deeplabv3
from oncoseg.models.deeplabv3 import DeepLabV3, DeepLabV3Options, Pyramid
from oncoseg.nn.resnet import Bottleneck, ResNet
from oncoseg.weights.trained import About, write_checkpoint

TINY = {"base": 4, "layers": (1, 1, 2, 1), "patch": 32, "spacing": None}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def count(network):
    return sum(p.numel() for p in network.parameters())


def on_meta(outputs=None, **options):
    """A network of paper size without memory."""
    with torch.device("meta"):
        return DeepLabV3(DeepLabV3Options(**options), outputs)


def tiny(outputs=2, **options):
    return DeepLabV3(DeepLabV3Options(**{**TINY, **options}), outputs)


@pytest.mark.parametrize(
    ("outputs", "options", "expected"),
    [
        (4, {}, 58_626_628),
        (4, {"aux": True}, 60_987_464),
        (21, {"aux": True}, 60_996_202),
        # A stem for one channel has 2 x 64 x 49 weights less.
        (4, {"channels": 1}, 58_626_628 - 6_272),
        # Dilation costs no parameter.
        (4, {"output_stride": 16}, 58_626_628),
    ],
)
def test_has_as_many_parameters_as_the_library(outputs, options, expected):
    assert count(on_meta(outputs, **options)) == expected


@pytest.mark.parametrize(
    ("aux", "tensors", "expected"),
    [
        (False, 668, "df70691abc2d31fe9b6f74efb26bd7582f3279979435e093740b5ef5da2425d3"),
        (True, 676, "d6607d9c14ef50d11061e319d735827e0f5a4149c6fdb5e40ccf1cfc46f78a84"),
    ],
)
def test_names_and_shapes_are_those_of_the_library_in_its_order(aux, tensors, expected):
    # SHA-256 of "name shape" lines of torchvision.models.segmentation.deeplabv3_resnet101(num_classes=4).state_dict().
    state = on_meta(4, aux=aux).state_dict()
    lines = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    assert len(state) == tensors
    assert hashlib.sha256(lines.encode()).hexdigest() == expected


@pytest.mark.parametrize(
    ("output_stride", "third", "fourth"),
    [(8, [1] + [2] * 22, [2, 4, 4]), (16, [1] * 23, [1, 2, 2])],
)
def test_late_stages_dilate_instead_of_striding(output_stride, third, fourth):
    network = on_meta(output_stride=output_stride).backbone
    for stage, expected in (("layer2", [1] * 4), ("layer3", third), ("layer4", fourth)):
        blocks = [b for b in network.get_submodule(stage) if isinstance(b, Bottleneck)]
        assert [b.conv2.dilation[0] for b in blocks] == expected
        assert [b.conv2.padding for b in blocks] == [b.conv2.dilation for b in blocks]
    strides = {8: [1, 2, 1, 1], 16: [1, 2, 2, 1]}[output_stride]
    assert [network.get_submodule(f"layer{n}")[0].conv2.stride[0] for n in (1, 2, 3, 4)] == strides


@pytest.mark.parametrize("output_stride", [8, 16])
def test_features_are_as_fine_as_the_output_stride_says(output_stride):
    features = ResNet(1, layers=(1, 1, 1, 1), base=4, output_stride=output_stride)(torch.rand(1, 1, 64, 96))
    assert features.third.shape == (1, 64, 64 // output_stride, 96 // output_stride)
    assert features.fourth.shape == (1, 128, 64 // output_stride, 96 // output_stride)


def test_a_block_without_residual_is_its_shortcut():
    block = Bottleneck(16, 4).eval()
    nn.init.zeros_(block.bn3.weight)
    x = torch.randn(1, 16, 5, 6)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18])])
def test_the_pyramid_looks_with_the_rates_of_its_stride(output_stride, rates):
    pyramid = on_meta(output_stride=output_stride).classifier[0]
    assert isinstance(pyramid, Pyramid)
    assert [branch[0].dilation[0] for branch in pyramid.convs[1:4]] == rates


def test_a_pixel_of_the_pyramid_sees_the_whole_slice_through_its_mean():
    pyramid = Pyramid(4, 8, rates=(2,), dropout=0.0).eval()
    x = torch.randn(1, 4, 20, 20, requires_grad=True)
    pyramid(x)[0, :, 0, 0].sum().backward()
    assert (x.grad[0, :, 15:, 15:] != 0).any()
    for branch in list(pyramid.convs)[:-1]:
        y = torch.randn(1, 4, 20, 20, requires_grad=True)
        branch(y)[0, :, 0, 0].sum().backward()
        assert (y.grad[0, :, 15:, 15:] == 0).all()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (9, 8)])
def test_logits_have_the_size_of_the_slice_whatever_it_is(size):
    network = tiny(outputs=5).eval()
    assert network(torch.rand(2, 3, *size)).shape == (2, 5, *size)


def test_the_auxiliary_head_trains_beside_the_main_one_and_is_silent_afterwards():
    network = tiny(aux=True)
    x = torch.rand(2, 3, 32, 40)
    outputs = network(x)
    assert [o.shape for o in outputs] == [(2, 2, 32, 40)] * 2
    sum(o.square().sum() for o in outputs[1:]).backward()
    assert network.aux_classifier[0].weight.grad is not None
    assert network.classifier[4].weight.grad is None
    assert isinstance(network.eval()(x), torch.Tensor)


def test_the_auxiliary_loss_counts_half_unless_said_otherwise():
    assert DeepLabV3Options(aux=True).depth_weights == (1.0, 0.5)
    assert DeepLabV3Options(aux=True, depth_weights=(1.0, 0.4)).depth_weights == (1.0, 0.4)
    model = deeplabv3.build(**TINY, aux=True)
    batch = {"image": torch.rand(2, 3, 32, 32), "classes": torch.zeros(2, 32, 32, dtype=torch.uint8)}
    ((name, loss),) = model.losses(batch)
    loss.backward()
    assert name == "network"
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.network.parameters())


def test_one_slice_cannot_be_trained_on_but_predicted():
    network = tiny()
    with pytest.raises(InputError, match="at least 2 slices"):
        network(torch.rand(1, 3, 32, 32))
    assert network.eval()(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)


def test_another_number_of_channels_is_refused():
    with pytest.raises(InputError, match="3 input channel"):
        tiny()(torch.rand(2, 1, 32, 32))


def segmentation_file(path, *, outputs, aux):
    """A file as the library writes it."""
    save_file(tiny(outputs, aux=aux).state_dict(), path)
    return path


def test_a_segmentation_file_that_fits_is_loaded_without_a_word(tmp_path, caplog):
    path = segmentation_file(tmp_path / "same.safetensors", outputs=2, aux=True)
    model = deeplabv3.build(weights=path, **TINY, aux=True)
    for name, tensor in deeplabv3.read_tensors(path).state.items():
        assert torch.equal(model.network.state_dict()[name], tensor), name
    assert caplog.text == ""


def test_a_last_layer_for_other_classes_starts_anew_and_is_reported(tmp_path, caplog):
    path = segmentation_file(tmp_path / "voc.safetensors", outputs=21, aux=True)
    model = deeplabv3.build(weights=path, **TINY, aux=True)
    held = deeplabv3.read_tensors(path).state
    same = [n for n, t in model.network.state_dict().items() if t.shape == held[n].shape and torch.equal(t, held[n])]
    anew = {f"{head}.4.{part}" for head in ("classifier", "aux_classifier") for part in ("weight", "bias")}
    assert set(held) - set(same) == anew
    assert "its last layer tells 21 classes apart, this model 2" in caplog.text
    assert "last layer of the auxiliary head" in caplog.text


@pytest.mark.parametrize(
    ("in_file", "wanted", "message"), [(True, False, "auxiliary head is left out"), (False, True, "no auxiliary head")]
)
def test_an_auxiliary_head_too_many_or_too_few_is_reported(tmp_path, caplog, in_file, wanted, message):
    path = segmentation_file(tmp_path / "file.safetensors", outputs=2, aux=in_file)
    model = deeplabv3.build(weights=path, **TINY, aux=wanted)
    assert message in caplog.text
    assert torch.equal(model.network.classifier[4].weight, deeplabv3.read_tensors(path).state["classifier.4.weight"])


def test_anything_else_that_does_not_fit_is_refused(tmp_path):
    path = segmentation_file(tmp_path / "file.safetensors", outputs=2, aux=False)
    with pytest.raises(InputError, match=r"do not fit DeepLabV3.*backbone\.conv1\.weight"):
        deeplabv3.build(weights=path, **TINY, channels=1)
    with pytest.raises(InputError, match=r"unexpected.*backbone\.layer3\.1"):
        deeplabv3.build(weights=path, **TINY | {"layers": (1, 1, 1, 1)})


@pytest.fixture
def backbone_file(tmp_path):
    """A classifier's file as the library writes it."""
    state = ResNet(3, layers=TINY["layers"], base=4).state_dict()
    path = tmp_path / "resnet.pth"
    torch.save({**state, "fc.weight": torch.zeros(7, 128), "fc.bias": torch.zeros(7)}, path)
    return path


def test_the_backbone_may_come_from_a_classifier(backbone_file):
    model = deeplabv3.build(**TINY, backbone=str(backbone_file))
    for name, tensor in deeplabv3.read_tensors(backbone_file).state.items():
        if not name.startswith("fc."):
            assert torch.equal(model.network.backbone.state_dict()[name], tensor), name


def test_a_checkpoint_remembers_its_backbone_but_does_not_need_it(backbone_file, tmp_path):
    model = deeplabv3.build(**TINY, backbone=str(backbone_file))
    target = tmp_path / "checkpoint.safetensors"
    write_checkpoint(target, model.network.state_dict(), About("deeplabv3", "", model.options()))
    backbone_file.unlink()
    again = deeplabv3.build(weights=target)
    assert again.options()["backbone"] == str(backbone_file)
    assert all(torch.equal(a, b) for a, b in zip(again.network.parameters(), model.network.parameters(), strict=True))


def test_a_backbone_that_is_none_is_refused(backbone_file, tmp_path):
    with pytest.raises(InputError, match="do not fit ResNet"):
        deeplabv3.build(**TINY | {"layers": (1, 1, 1, 1)}, backbone=str(backbone_file))
    with pytest.raises(ConfigError, match="channels = 3"):
        deeplabv3.build(**TINY, channels=1, backbone=str(backbone_file))
    whole = segmentation_file(tmp_path / "whole.safetensors", outputs=2, aux=False)
    with pytest.raises(ConfigError, match="backbone of its own"):
        deeplabv3.build(**TINY, backbone=str(backbone_file), weights=whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stride": 32}, "must be one of 8, 16"),
        ({"layers": [3, 4, 23]}, "4 values"),
        ({"base": 0}, "at least 1"),
        ({"dropout": 1.0}, "below 1"),
        ({"depth_weights": [1.0, 0.5]}, "must be one, with aux two"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        deeplabv3.build(**TINY | options)


def test_there_is_no_variant():
    with pytest.raises(UnknownNameError, match="deep"):
        deeplabv3.build("deep")
