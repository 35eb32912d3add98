"""UNet++: its sizes, its wiring against MONAI's, deep supervision, and pruning to one of four outputs.

The bilinear build was also compared with the popular PyTorch port (4uiiurz1/pytorch-nested-unet) on the same state
dict: names equal, all outputs bit-equal.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.models import unetpp
from oncoseg.models.unetpp import Node, UNetPP, UNetPPOptions
from oncoseg.weights.trained import About, write_checkpoint

TINY = {"base": 2, "patch": 32, "spacing": None}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def tiny(outputs=None, **options):
    return UNetPP(UNetPPOptions(**{**TINY, **options}), outputs).eval()


def deep(**options):
    return tiny(**{"deep": True, "inference": "mean", **options})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 9_041_601),
        # Three more 1x1 convolutions of 32 filters to one.
        ({"deep": True}, 9_041_601 + 3 * 33),
        ({"norm": "batch"}, 9_048_897),
        ({"norm": "batch", "up": "bilinear"}, 9_162_753),
    ],
)
def test_has_as_many_parameters_as_the_paper_and_its_ports(options, expected):
    with torch.device("meta"):
        network = UNetPP(UNetPPOptions(**options))
    assert sum(p.numel() for p in network.parameters()) == expected


def test_there_are_fifteen_nodes_and_as_many_ways_up_as_skips():
    names = set(dict(tiny().named_children()))
    nodes = {f"conv{i}_{j}" for i in range(5) for j in range(5 - i)}
    ups = {f"up{i}_{j}" for i in range(1, 5) for j in range(5 - i)}
    assert len(nodes) == 15
    assert names == nodes | ups | {"final"}


def in_monai(network, widths):
    """MONAI's UNet++ with the same weights; its first row raises to twice the width, which is left at zero."""
    from monai.networks.nets import BasicUNetPlusPlus

    other = BasicUNetPlusPlus(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        deep_supervision=True,
        features=(*widths, widths[0]),
        act="relu",
        norm=None,
        dropout=0.0,
        upsample="deconv",
    )
    state = {}
    for i in range(5):
        for j in range(5 - i):
            place = "upcat" if j else "conv"
            inner = "" if (i, j) == (0, 0) else ".convs"
            for number in (1, 2):
                target = f"{place}_{i}_{j}{inner}.conv_{number - 1}.conv"
                for part in ("weight", "bias"):
                    state[f"{target}.{part}"] = f"conv{i}_{j}.conv{number}.{part}"
            for part in ("weight", "bias"):
                if j:
                    state[f"upcat_{i}_{j}.upsample.deconv.{part}"] = f"up{i + 1}_{j - 1}.{part}"
    for depth in (1, 2, 3, 4):
        for part in ("weight", "bias"):
            state[f"final_conv_0_{depth}.{part}"] = f"final{depth}.{part}"
    own, filled = network.state_dict(), other.state_dict()
    assert state.keys() == filled.keys()
    assert sorted(state.values()) == sorted(own)
    for name, tensor in filled.items():
        given = own[state[name]]
        tensor.zero_()
        tensor[tuple(slice(0, n) for n in given.shape)] = given
    other.load_state_dict(filled)
    return other.eval()


def test_is_wired_as_monai_wires_it():
    network = deep(base=4)
    with torch.no_grad():
        # So small a network would put out next to nothing but its biases.
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x = torch.randn(2, 1, 48, 32)
    with torch.inference_mode():
        expected = in_monai(network, (4, 8, 16, 32, 64))(x)
        found = network.train()(x)
    assert len(found) == len(expected) == 4
    for ours, theirs in zip(reversed(found), expected, strict=True):
        assert theirs.std() > 0.01
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_training_gives_four_outputs_deepest_first():
    network = deep().train()
    x = torch.randn(1, 1, 32, 48)
    before = network(x)
    assert [o.shape for o in before] == [(1, 1, 32, 48)] * 4
    with torch.no_grad():
        # The deepest node is part of no output but the first.
        network.get_submodule("conv0_4").conv1.bias.add_(5.0)
    after = network(x)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [False, True, True, True]


def test_without_deep_supervision_there_is_one_output():
    network, x = tiny().train(), torch.randn(1, 1, 32, 32)
    assert isinstance(network(x), torch.Tensor)
    assert torch.equal(network(x), network.eval()(x))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_pruned_network_puts_out_what_the_whole_one_does_there(depth):
    network, x = deep(), torch.randn(2, 1, 32, 48)
    whole = network.train()(x)
    network.eval().inference = f"l{depth}"
    assert torch.equal(network(x), whole[4 - depth])


@pytest.mark.parametrize(("depth", "nodes"), [(1, 3), (2, 6), (3, 10), (4, 15)])
def test_a_pruned_network_computes_only_the_nodes_it_needs(depth, nodes):
    network, seen = deep(inference=f"l{depth}"), []
    for name, part in network.named_children():
        part.register_forward_hook(lambda *_, name=name: seen.append(name))
    network(torch.randn(1, 1, 32, 32))
    computed = {name for name in seen if name.startswith("conv")}
    assert computed == {f"conv{i}_{j}" for i in range(depth + 1) for j in range(depth + 1 - i)}
    assert len(computed) == nodes
    assert [name for name in seen if name.startswith("final")] == [f"final{depth}"]
    assert len(seen) == len(set(seen))


def test_pruning_saves_most_of_the_work():
    def operations(inference):
        """Multiplications of convolutions at 64 x 64: weights of one filter, at every place it is put."""
        counted = []

        def count(part, x, y):
            placed = x[0] if isinstance(part, nn.ConvTranspose2d) else y
            counted.append(part.weight[0].numel() * placed.numel())

        with torch.device("meta"):
            network = UNetPP(UNetPPOptions(deep=True, inference=inference)).eval()
            for part in network.modules():
                if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                    part.register_forward_hook(count)
            network(torch.empty(1, 1, 64, 64))
        return sum(counted)

    work = [operations(f"l{depth}") for depth in (1, 2, 3, 4)]
    assert work == sorted(work)
    # X(0,0), X(1,0), X(0,1), the way up between them and the output, pixel by pixel.
    first = 32 * 9 + 32 * 32 * 9 + (32 * 64 * 9 + 64 * 64 * 9) / 4 + 64 * 32 * 4 / 4 + 64 * 32 * 9 + 32 * 32 * 9 + 32
    assert work[0] == first * 64 * 64
    assert work[0] < 0.12 * work[3]


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_the_mean_is_that_of_the_probabilities(outputs):
    network, x = deep(outputs=outputs), 3 * torch.randn(2, 1, 32, 32)
    four = [o * 5 for o in network.train()(x)]
    probability = (lambda z: z.sigmoid()) if outputs == 1 else (lambda z: z.softmax(1))
    expected = torch.stack([probability(o) for o in four]).mean(0)
    torch.testing.assert_close(probability(unetpp._mean(four)), expected)
    network.eval()
    torch.testing.assert_close(network(x), unetpp._mean([o / 5 for o in four]))


def test_the_mean_of_certain_outputs_is_finite():
    certain = unetpp._mean([torch.full((1, 1, 1, 1), z) for z in (200.0, 200.0, 300.0, 200.0)])
    assert torch.isfinite(certain).all()
    assert certain.sigmoid() == 1


def test_loss_is_the_papers_averaged_over_the_outputs():
    model = unetpp.build("deep", **TINY)
    x = torch.rand(2, 1, 32, 32)
    classes = (torch.rand(2, 32, 32) > 0.7).to(torch.uint8)
    ((name, loss),) = model.losses({"image": x, "classes": classes})
    expected = []
    for logits in model.network(x):
        p, y = logits[:, 0].sigmoid(), classes.float()
        entropy = F.binary_cross_entropy(p, y)
        expected.append(0.5 * entropy + 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))
    assert name == "network"
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), abs=1e-5)


@pytest.mark.parametrize("variant", ["plain", "deep"])
def test_gradients_reach_every_parameter(variant):
    model = unetpp.build(variant, **TINY | {"base": 4})
    batch = {"image": torch.rand(2, 1, 32, 32), "classes": (torch.rand(2, 32, 32) > 0.5).to(torch.uint8)}
    ((_, loss),) = model.losses(batch)
    loss.backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_dropout_follows_each_convolution_in_training_only():
    node, x = Node(1, 4, norm="none", dropout=0.5), torch.rand(1, 1, 8, 8)
    node.train()
    assert not torch.equal(node(x), node(x))
    node.eval()
    assert torch.equal(node(x), node(x))


def test_a_checkpoint_may_be_pruned_when_it_is_used(tmp_path):
    model = unetpp.build("deep", **TINY)
    target = tmp_path / "checkpoint.safetensors"
    write_checkpoint(target, model.network.state_dict(), About("unetpp", "deep", model.options()))
    x = torch.randn(1, 1, 32, 32)
    whole = model.network.train()(x)
    fast = unetpp.build(weights=target, inference="l2")
    assert fast.options() == {**model.options(), "inference": "l2"}
    assert torch.equal(fast.network.eval()(x), whole[2])
    assert unetpp.build(weights=target).options()["inference"] == "mean"


def test_lungs_and_tumour_need_no_other_loss():
    model = unetpp.build("deep", **TINY, labels="lungs+tumour", head="softmax")
    batch = {"image": torch.rand(2, 1, 32, 32), "classes": torch.randint(0, 4, (2, 32, 32), dtype=torch.uint8)}
    ((_, loss),) = model.losses(batch)
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        ("plain", {"inference": "l2"}, "without deep supervision there is one output"),
        ("plain", {"inference": "mean"}, "without deep supervision there is one output"),
        ("deep", {"inference": "l5"}, "must be one of"),
        ("deep", {"depth_weights": [0.5, 0.5]}, "with deep supervision four"),
        ("plain", {"patch": 40}, "nearest is 48"),
        ("plain", {"norm": "layer"}, "must be one of"),
        ("plain", {"base": 0}, "base must be at least 1"),
        ("plain", {"dropout": 1.0}, "below 1"),
    ],
)
def test_wrong_options_are_refused(variant, options, message):
    with pytest.raises(ConfigError, match=message):
        unetpp.build(variant, **TINY | options)


def test_slices_that_do_not_divide_are_refused_with_the_nearest_size():
    with pytest.raises(InputError, match=r"nearest that fits is \(32, 48\)"):
        tiny()(torch.rand(1, 1, 30, 44))
    with pytest.raises(InputError, match="1 input channel"):
        tiny()(torch.rand(1, 3, 32, 32))


def test_unknown_variant_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean: deep"):
        unetpp.build("deeep")
