"""Operations and parameters at the size of the papers are those of the models' specifications, to 1 %.

GMACs: counted with the same rule (convolutions, matrix products, attention) for the models' specification pages; the
one of DeepLabV3 is published with torchvision. Everything runs on tensors without memory.
"""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import ConfigError, UnknownNameError
from oncoseg.experiments.passes import Scene, every_model, model_cost
from oncoseg.inference.counting import COUNTER, count_macs
from oncoseg.nn.planned_unet import PlannedUnet

GIGA = 1e9


def empty(*size):
    return torch.zeros(1, *size, device="meta")


def on_meta(make):
    torch.set_num_threads(1)
    with torch.device("meta"):
        return make().eval().requires_grad_(False)


def part(cost, name):
    return next(p for p in cost.passes if p.part == name)


#: Model, part, GMACs of one call as the specification pages give them.
SPECIFIED = [
    ("unetr", "network", 176),
    ("swin_unetr.48", "network", 763),
    ("medsam.box", "image encoder", 486),
    ("sam_med2d", "image encoder", 45.8),
    ("medical_sam2.tiny", "image encoder", 146),
    ("medical_sam2.small", "image encoder", 179),
    ("medical_sam2.base_plus", "image encoder", 323),
    ("medical_sam2.large", "image encoder", 912),
]


@pytest.mark.parametrize(("name", "which", "gigas"), SPECIFIED)
def test_operations_of_one_call_are_those_of_the_specification(name, which, gigas):
    cost = model_cost(name, scene=Scene(prompted_slices=2))
    assert part(cost, which).macs == pytest.approx(gigas * GIGA, rel=0.01)
    assert cost.counter == COUNTER


def test_the_largest_encoder_of_sam():
    from oncoseg.nn.sam_vit import sam_vit, sized

    network = on_meta(lambda: sam_vit(sized("h", embed_dim=None, depth=None, heads=None), image_size=1024))
    assert count_macs(network.image_encoder, empty(3, 1024, 1024)) == pytest.approx(2981 * GIGA, rel=0.01)
    assert sum(p.numel() for p in network.image_encoder.parameters()) == 637_026_048


def test_sam_med2d_without_its_adapters():
    from oncoseg.nn.sam_vit import sam_vit, sized

    network = on_meta(lambda: sam_vit(sized("b", embed_dim=None, depth=None, heads=None), image_size=256))
    assert count_macs(network.image_encoder, empty(3, 256, 256)) == pytest.approx(34.5 * GIGA, rel=0.01)


def test_the_encoder_of_sam_med3d_and_what_the_released_one_computes_on_padding():
    """The specification's 184 G are of the released code, which attends over windows padded from 8^3 to 14^3 tokens."""
    ours = part(model_cost("sam_med3d"), "image encoder").macs
    width, heads, tokens, padded = 768, 12, 8**3, 14**3
    products = 4 * width * width * (padded - tokens)
    attention = 2 * width * (padded**2 - tokens**2)
    positions = 3 * (width // heads) * heads * (padded * 14 - tokens * 8)
    assert ours + 8 * (products + attention + positions) == pytest.approx(184 * GIGA, rel=0.01)
    assert ours == pytest.approx(52.4 * GIGA, rel=0.01)


def test_the_unet_of_the_specification_is_monais():
    """204 G are of MONAI's BasicUNet, whose last step up keeps 128 channels; Ronneberger's has 192.4 (by hand)."""
    from monai.networks.nets import BasicUNet

    features = (64, 128, 256, 512, 1024, 64)
    network = on_meta(lambda: BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=features))
    assert count_macs(network, empty(1, 512, 512)) == pytest.approx(204 * GIGA, rel=0.01)
    assert model_cost("unet.ronneberger").forward_macs == pytest.approx(192.4 * GIGA, rel=0.01)


def test_deeplabv3_as_published_with_torchvision():
    """About 259 G at 520 x 520 for 21 classes, with the auxiliary head, which computes in training only."""
    network = model_network("deeplabv3", aux=True)
    network.train()
    macs = count_macs(network, torch.zeros(2, 3, 520, 520, device="meta")) / 2
    assert macs == pytest.approx(259 * GIGA, rel=0.01)


def model_network(name, **options):
    with torch.device("meta"):
        model = registry.load("models", name).build(**options)
    return model.network.requires_grad_(False)


@pytest.mark.parametrize(
    ("axes", "widths", "size", "outputs", "parameters", "gigas"),
    [
        (3, (32, 64, 128, 256, 320, 320), (128, 128, 128), 3, 31_196_399, 477),
        (3, (32, 64, 128, 256, 320), (128, 128, 128), 3, 16_548_076, None),
        (2, (32, 64, 128, 256, 512, 512, 512, 512), (512, 512), 3, 46_326_581, 59.6),
        (2, (32, 64, 128, 256, 512, 512, 512), (512, 512), 3, 33_473_330, None),
    ],
)
def test_nnunets_networks(axes, widths, size, outputs, parameters, gigas):
    network = on_meta(lambda: PlannedUnet(axes, widths, outputs=outputs))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, rel=1e-5)
    if gigas is not None:
        assert count_macs(network, empty(1, *size)) == pytest.approx(gigas * GIGA, rel=0.01)


#: Parameters of the specification's list: (model, all, trainable).
PARAMETERS = [
    ("medsam.box", 93_735_472, 93_729_252),
    ("sam_med2d", 271_241_776, None),
    ("sam_med3d", 100_509_232, None),
    ("m_sam.paper", 118_244_080, 25_319_152),
    ("m_sam.without_mea", 101_099_056, 8_174_128),
    ("gtv_samgan", 271_241_776 + 33_688_585, None),
    ("unet.ronneberger", 31_030_658, None),
    ("unet.primakov", 31_031_685, None),
    ("transunet.r50_vit_b16", 105_277_081, None),
    ("unetr", 93_029_602, None),
    ("swin_unetr.48", 62_186_708, None),
    ("swin_unetr.msam", 139_648_844, None),
    ("nnformer.msam", 149_798_442, None),
    ("nnformer.synapse", 150_054_210, None),
    ("nnformer.tumour", 37_754_190, None),
    ("swin_unet", 27_168_228, None),
    ("unetpp.plain", 9_041_601, None),
    ("sam3d", 88_462_078, 1_879_550),
    ("medsam2", 38_962_498, None),
]


@pytest.mark.parametrize(("name", "parameters", "trainable"), PARAMETERS)
def test_parameters_are_those_of_the_specification(name, parameters, trainable):
    cost = model_cost(name, scene=Scene(prompted_slices=2))
    assert cost.parameters == pytest.approx(parameters, rel=0.01)
    if trainable is not None:
        assert cost.trainable_parameters == trainable


def test_slices_and_mirrors_multiply():
    plain = model_cost("unet.ronneberger", scene=Scene((120, 512, 512), (3.0, 1.0, 1.0)))
    assert dict(plain.passes[0].factors) == {"slices": 120, "mirrors": 1}
    assert plain.volume_macs == 120 * plain.forward_macs
    mirrored = model_cost("unet.ronneberger", options={"mirror": True})
    assert mirrored.volume_macs == 4 * plain.volume_macs


def test_windows_overlap():
    cost = model_cost("unetr", scene=Scene((128, 256, 256), (1.5, 1.5, 1.5)))
    # Half overlapping windows of 128 voxels: 1 along the slices, 3 along rows and columns.
    assert dict(cost.passes[0].factors) == {"windows": 9, "mirrors": 1}
    assert cost.volume_macs == 9 * cost.forward_macs


def test_an_image_is_embedded_once_and_decoded_once_a_prompt():
    one, three = (model_cost("sam_med3d", scene=Scene(clicks=n)) for n in (1, 3))
    assert part(one, "image encoder").total == part(three, "image encoder").total
    decoder = "prompts and mask decoder"
    assert part(three, decoder).total > 2.9 * part(one, decoder).total
    slices = model_cost("medsam.box", scene=Scene(prompted_slices=7))
    assert [p.calls for p in slices.passes] == [7, 7]


def test_a_followed_object_costs_memory_attention():
    cost = model_cost("medsam2", scene=Scene(prompted_slices=4))
    assert [(p.part, p.calls) for p in cost.passes] == [
        ("image encoder", 4),
        ("mask decoder", 4),
        ("memory encoder", 4),
        ("memory attention, mean", 3),
    ]


def test_what_is_counted_without_memory_is_what_is_counted_while_computing():
    import numpy as np

    from oncoseg.experiments.cost import measure_cost
    from oncoseg.experiments.specs import ModelSpec
    from oncoseg.volume import Volume

    options = {"base": 4, "patch": 32}
    image = Volume.from_spacing(np.zeros((3, 40, 48), np.int16), (3, 1, 1))
    measured = measure_cost(ModelSpec("unet.ronneberger", options), image, repeats=1, threads=1)
    by_size = model_cost("unet.ronneberger", scene=Scene((3, 40, 48), (3, 1, 1)), options=options)
    assert measured.macs == by_size.volume_macs
    assert measured.forward_macs == by_size.forward_macs
    assert [(p.part, p.calls, p.macs) for p in measured.parts] == [("network", 3, by_size.forward_macs)]


def test_nnunet_on_a_volume_of_the_lung_benchmark():
    """Own count of a 2D nnU-Net on 107 slices with four mirror passes: 25,509 GMACs; without 6,377."""
    volume = Scene((107, 512, 512), (3.0, 1.0, 1.0))
    mirrored, plain = (model_cost("nnunet.2d", scene=volume, options={"mirror": m}) for m in (True, False))
    assert mirrored.volume_macs == pytest.approx(25_509 * GIGA, rel=0.01)
    assert plain.volume_macs == pytest.approx(6_377 * GIGA, rel=0.01)
    assert (mirrored.parameters, len(mirrored.passes)) == (46_326_581, 1)
    cascade = model_cost("nnunet.3d_cascade_fullres", scene=volume)
    assert [dict(p.factors)["mirrors"] for p in cascade.passes] == [8, 8]
    assert cascade.passes[0].calls < cascade.passes[1].calls
    assert "plans its own" in cascade.assumed[0]


def test_models_without_network_cost_nothing_and_others_are_misspelt():
    assert model_cost("ellipsoid").volume_macs == 0
    with pytest.raises(UnknownNameError, match="Did you mean: unetr"):
        model_cost("unetrr")
    with pytest.raises(ConfigError, match="unknown key"):
        model_cost("unetr", options={"colour": 1})


@pytest.mark.slow
@pytest.mark.parametrize("name", every_model())
def test_every_model_is_counted_at_its_papers_size(name):
    cost = model_cost(name)
    assert cost.reason is None
    if cost.passes:
        assert min(p.macs for p in cost.passes) > 0
        assert cost.volume_macs >= cost.forward_macs


def test_slices_of_a_stack_are_embedded_together():
    cost = model_cost("med_sa.3d", scene=Scene(prompted_slices=10))
    assert dict(part(cost, "image encoder").factors) == {"stacks": 2, "slices": 8}
    assert part(cost, "prompts and mask decoder").calls == 10


@pytest.mark.parametrize("name", ["medsam.box", "sam_med3d", "medsam2"])
def test_prompted_models_compute_what_is_counted_for_them(name):
    """On a CPU, attention included; slices are embedded once, and decoded once a prompt."""
    import numpy as np

    from oncoseg.experiments.recipes import recipes_of
    from oncoseg.inference.counting import counted
    from oncoseg.prompt import Box, Click
    from oncoseg.volume import Volume

    torch.set_num_threads(1)
    recipes = recipes_of(name)
    options = dict(recipes["smoke"].options)
    base, variant = registry.split_variant(name)
    shape, spacing = (6, 40, 40), (4.0, 4.0, 4.0)
    image = Volume.from_spacing(np.random.default_rng(0).normal(-500, 300, shape).astype(np.int16), spacing)
    model = registry.load("models", base).build(variant, **options)
    prompts = [Click((3, 20, 20))] if base == "sam_med3d" else [Box((1, 10, 10), (5, 30, 30))]
    found = counted(lambda: model.predict(image, prompts), model.network)
    by_size = model_cost(name, scene=Scene(shape, spacing, prompted_slices=4), options=options)
    measured = {part: called.items for part, called in found.parts.items()}
    if base == "medsam2":
        assert measured["image encoder"] >= 4
        assert part(by_size, "image encoder").macs * measured["image encoder"] == pytest.approx(
            found.parts["image encoder"].macs
        )
        return
    assert measured["image encoder"] == part(by_size, "image encoder").calls
    assert measured["mask decoder"] == part(by_size, "prompts and mask decoder").calls
    assert found.macs == by_size.volume_macs
