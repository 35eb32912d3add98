"""xLSTM-UNet: equal to the released code on the same weights, its plan, and what it refuses."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from oncoseg.config import fill
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.models import xlstm_unet
from oncoseg.models.xlstm_unet.network import Tokens, XLSTMUNet
from oncoseg.models.xlstm_unet.options import XLSTMPatchOptions, XLSTMSliceOptions, halving_weights
from oncoseg.nn.residual import Keeping
from oncoseg.training.settings import TrainConfig
from oncoseg.weights.trained import About, write_checkpoint

FEATURES = (4, 6, 8, 12, 12)
FLAT = {
    "features": FEATURES,
    "kernels": ((3, 3),) * 5,
    "strides": ((1, 1), *((2, 2),) * 4),
    "patch": 64,
    "depth_weights": halving_weights(3),
}
#: As planned for thick slices.
DEEP = {
    "features": FEATURES,
    "kernels": ((1, 3, 3), *((3, 3, 3),) * 4),
    "strides": ((1, 1, 1), (1, 2, 2), *((2, 2, 2),) * 3),
    "patch": (16, 32, 32),
    "depth_weights": halving_weights(3),
}
VARIANTS = tuple(xlstm_unet.VARIANTS)


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def options_of(variant, **changed):
    small, chosen = (FLAT, XLSTMSliceOptions) if variant.endswith("2d") else (DEEP, XLSTMPatchOptions)
    return chosen(**{**xlstm_unet.VARIANTS[variant], **small, **changed})


def count(network):
    return sum(p.numel() for p in network.parameters())


#: From the released code (github.com/tianrun-chen/xLSTM-UNet-PyTorch) with the plans above and the weights and image
#: of the test, in float64: the first background logit, the one a third of the image further, and the mean
#: size of the logits of the three supervised levels.
RELEASED = {
    "bot_2d": (-0.236102102, -0.147314955, (0.234306234, 0.306178163, 0.231725296)),
    "enc_2d": (-0.238923357, -0.164271946, (0.234483555, 0.318324799, 0.254539118)),
    "bot_3d": (-0.249325492, -0.271381581, (0.235687797, 0.326787041, 0.263555768)),
    "enc_3d": (-0.250782693, -0.291796467, (0.249075598, 0.351876412, 0.272785443)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_is_that_of_the_released_code(variant):
    network = XLSTMUNet(options_of(variant)).double()
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(network.named_parameters())):
            wave = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number)
            parameter.copy_(0.3 * wave.view(parameter.shape))
    size = (64, 64) if variant.endswith("2d") else (16, 32, 32)
    voxels = math.prod(size)
    image = torch.cos(torch.arange(voxels, dtype=torch.float64) ** 1.5 * 0.01).view(1, 1, *size)
    first, third, sizes = RELEASED[variant]
    found = network.train()(image)
    assert found[0].flatten()[0].item() == pytest.approx(first, abs=1e-8)
    assert found[0].flatten()[voxels // 3].item() == pytest.approx(third, abs=1e-8)
    assert [level.abs().mean().item() for level in found] == pytest.approx(list(sizes), abs=1e-8)
    torch.testing.assert_close(network.eval()(image), found[0])


def vil(width):
    inner, heads = 2 * width, 4 if width % 4 == 0 else 2
    gates = 2 * (3 * inner * heads + heads)
    return width + 4 * width**2 + 3 * inner * heads + 5 * inner + gates + 2 * inner + inner * width


def projecting(a, b, kernel):
    return math.prod(kernel) * (a * b + b * b) + 6 * b + a * b + b


def keeping(a, kernel):
    return 2 * (math.prod(kernel) * a * a + 3 * a)


def by_hand(options, *, tokens, extra, finest_skip):
    """Parameters from the description.

    Args:
        options: plan.
        tokens: widths of the Vision-LSTM blocks.
        extra: stages followed by another residual block.
        finest_skip: whether the finest level of the decoder has its skip.
    """
    features, kernels, stages = options.features, options.kernels, len(options.features)
    total = projecting(1, features[0], kernels[0]) + keeping(features[0], kernels[0])
    for stage, (a, b) in enumerate(zip([features[0], *features], features, strict=False)):
        total += projecting(a, b, kernels[stage])
        total += keeping(b, kernels[stage]) * ((stage < stages / 2) + (stage in extra))
    for level in range(stages - 1):
        below, width, kernel = features[-1 - level], features[-2 - level], kernels[-2 - level]
        joined = 2 if finest_skip or level < stages - 2 else 1
        total += below * width + width + projecting(joined * width, width, kernel)
        total += keeping(width, kernel) * (level < stages / 2)
    heads = sum((width + 1) * options.outputs for width in features[: len(options.depth_weights)])
    return total + heads + sum(vil(width) for width in tokens)


@pytest.mark.parametrize(
    ("variant", "tokens", "extra"),
    [
        ("bot_2d", [512], ()),
        # Stages 4, 6 and 8 have maps of 64 x 64, 16 x 16 and 4 x 4; the last two are no larger than their channels.
        ("enc_2d", [256, 256, 16], (1,)),
        ("bot_3d", [320], ()),
        # Stages 4, 5 and 6 have maps of 16, 8 and 4 cubed; the last has fewer voxels than channels.
        ("enc_3d", [256, 320, 64], (0, 1, 2)),
    ],
)
def test_parameters_are_those_of_the_description(variant, tokens, extra):
    info = next(i for i in xlstm_unet.INFOS if i.variant == variant)
    model = xlstm_unet.build(variant)
    expected = by_hand(model.settings, tokens=tokens, extra=extra, finest_skip=info.dimension == "3d")
    assert info.parameters == expected == count(model.network)


def test_vision_lstm_layers_lie_where_the_released_code_has_them():
    kinds = {
        variant: [type(layer) for layer in XLSTMUNet(options_of(variant)).encoder.xlstm_layers]
        for variant in ("enc_2d", "enc_3d")
    }
    assert kinds["enc_2d"] == [nn.Identity, Keeping, Tokens, nn.Identity, Tokens]
    assert kinds["enc_3d"] == [Keeping, Keeping, Keeping, Tokens, Tokens]
    assert isinstance(XLSTMUNet(options_of("bot_2d")).xlstm, Tokens)


def test_channels_are_tokens_where_the_map_is_no_larger_than_they_are():
    layers = XLSTMUNet(options_of("enc_2d", patch=32)).encoder.xlstm_layers
    # 32 x 32 halved twice is 64 positions for 8 channels, four times 4 for 12.
    assert [(layer.by_channel, layer.vil.norm.weight.numel()) for layer in (layers[2], layers[4])] == [
        (False, 8),
        (True, 4),
    ]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("channels", "outputs"), [(1, 2), (4, 9)])
def test_gives_logits_at_the_size_of_the_image(variant, channels, outputs):
    options = options_of(variant, channels=channels)
    network = XLSTMUNet(options, outputs=outputs)
    size = (64, 64) if variant.endswith("2d") else (16, 32, 32)
    x = torch.randn(1, channels, *size)
    levels = network(x)
    assert [tuple(level.shape[:2]) for level in levels] == [(1, outputs)] * 3
    assert levels[0].shape[2:] == size
    assert levels[1].shape[-1] == size[-1] // 2
    assert network.eval()(x).shape == (1, outputs, *size)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_moves(variant):
    model = xlstm_unet.build(variant, **(FLAT if variant.endswith("2d") else DEEP))
    size = (64, 64) if variant.endswith("2d") else (16, 32, 32)
    batch = {"image": torch.randn(1, 1, *size), "classes": torch.randint(0, 2, (1, *size))}
    ((_, loss),) = model.losses(batch)
    loss.backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_one_depth_weight_switches_deep_supervision_off():
    network = XLSTMUNet(options_of("bot_2d", depth_weights=(1.0,))).train()
    assert network(torch.randn(1, 1, 64, 64)).shape == (1, 2, 64, 64)
    assert [type(head) for head in network.decoder.seg_layers] == [nn.Identity] * 3 + [nn.Conv2d]


def test_the_bottleneck_variant_takes_slices_of_any_size_that_halves():
    network = XLSTMUNet(options_of("bot_2d")).eval()
    assert network(torch.randn(1, 1, 16, 80)).shape == (1, 2, 16, 80)
    assert network(torch.randn(2, 1, 16, 16)).shape == (2, 2, 16, 16)


def test_a_file_of_the_released_code_loads(tmp_path):
    model = xlstm_unet.build("enc_2d", **FLAT)
    state = dict(model.network.state_dict())
    # What the released code keeps besides: doubles of the encoder and of convolutions, unused norms and heads.
    extra = {f"decoder.{name}": tensor for name, tensor in state.items() if name.startswith("encoder.")}
    extra["encoder.stem.1.conv1.all_modules.0.weight"] = state["encoder.stem.1.conv1.conv.weight"]
    extra["encoder.xlstm_layers.2.norm.weight"] = torch.ones(8)
    extra["decoder.seg_layers.0.weight"] = torch.ones(2, 12, 1, 1)
    target = tmp_path / "released.safetensors"
    save_file({name: tensor.contiguous().clone() for name, tensor in {**state, **extra}.items()}, target)
    again = xlstm_unet.build("enc_2d", weights=target, **FLAT)
    for name, tensor in again.network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    with pytest.raises(InputError, match="do not fit XLSTMUNet"):
        xlstm_unet.build("bot_2d", weights=target, **FLAT)


def test_a_checkpoint_brings_its_variant_and_plan(tmp_path):
    model = xlstm_unet.build("enc_3d", **DEEP)
    target = tmp_path / "checkpoint.safetensors"
    write_checkpoint(target, model.network.state_dict(), About("xlstm_unet", "enc_3d", model.options()))
    again = xlstm_unet.build(weights=target)
    assert again.info.variant == "enc_3d"
    assert again.options() == model.options()
    with pytest.raises(ConfigError, match=r"not of xlstm_unet\.bot_3d"):
        xlstm_unet.build("bot_3d", weights=target)


@pytest.mark.parametrize("name", xlstm_unet.RECIPES)
def test_recipes_are_options_and_settings_that_exist(name):
    recipe = xlstm_unet.RECIPES[name]
    for variant in recipe.variants:
        chosen = XLSTMSliceOptions if variant.endswith("2d") else XLSTMPatchOptions
        options = fill(chosen, {**xlstm_unet.VARIANTS[variant], **recipe.options}, name)
        settings = fill(TrainConfig, recipe.training, name)
        assert all(hasattr(options, key) or hasattr(settings, key) for key in recipe.assumed)


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(
        InputError, match=r"multiples of 16; the batch has \(50, 64\). The nearest that fits is \(48, 64"
    ):
        XLSTMUNet(options_of("bot_2d"))(torch.randn(1, 1, 50, 64))
    with pytest.raises(InputError, match=r"multiples of 8 x 16 x 16"):
        XLSTMUNet(options_of("bot_3d"))(torch.randn(1, 1, 12, 32, 32))
    with pytest.raises(
        InputError, match=r"one size only; the batch has \(128, 128\). The nearest that fits is \(32, 32"
    ):
        XLSTMUNet(options_of("enc_2d", patch=32))(torch.randn(1, 1, 128, 128))
    with pytest.raises(InputError, match="channels = 2"):
        XLSTMUNet(options_of("bot_2d"))(torch.randn(1, 2, 64, 64))


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        ("bot_2d", {"features": [8, 16, 32]}, "as many entries"),
        ("bot_2d", FLAT | {"kernels": ((3, 3, 3),) * 5}, "2 numbers a stage"),
        ("bot_2d", FLAT | {"kernels": ((2, 2),) * 5}, "kernels must be odd"),
        ("bot_2d", FLAT | {"features": (4, 6, 7, 8, 8)}, "positive and even"),
        ("bot_2d", FLAT | {"depth_weights": (0.2,) * 5}, "fewer than features"),
        ("bot_2d", FLAT | {"depth_weights": (1.0, 0.0)}, "depth_weights must be positive"),
        ("bot_2d", FLAT | {"patch": 16}, "more than one voxel"),
        ("bot_2d", FLAT | {"patch": 72}, "nearest is 80"),
        ("enc_2d", FLAT | {"fit": "pad"}, "fit must be crop or resize"),
        ("enc_2d", FLAT | {"patch": 48}, "even width; got 9"),
        ("bot_2d", FLAT | {"place": "decoder"}, "must be one of"),
        ("bot_3d", {"patch": (128, 128, 100)}, "nearest"),
    ],
)
def test_wrong_options_are_refused(variant, options, message):
    with pytest.raises(ConfigError, match=message):
        xlstm_unet.build(variant, **options)


def test_unknown_variants_are_refused():
    with pytest.raises(UnknownNameError, match="bot_2d"):
        xlstm_unet.build("bot2d")


def test_halving_weights_sum_to_one():
    # nnU-Net's for three levels: 1, 1/2 and 1/4 of 7/4.
    assert halving_weights(3) == pytest.approx((4 / 7, 2 / 7, 1 / 7))
