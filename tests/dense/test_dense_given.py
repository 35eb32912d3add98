"""Boxes for networks that take no prompts by nature."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from oncoseg import registry
from oncoseg.case import Case
from oncoseg.dense.building import built
from oncoseg.dense.given import filled, informed, joined, marked, simulated, unmarked
from oncoseg.dense.options import DenseOptions, PatchOptions, SliceOptions
from oncoseg.dense.patches import PatchModel
from oncoseg.dense.slices import SliceModel
from oncoseg.errors import ConfigError, InputError
from oncoseg.experiments.recipes import recipes_of
from oncoseg.experiments.specs import ModelSpec
from oncoseg.models import unet, unetr
from oncoseg.prompt import Box, Click
from oncoseg.training.loop import train
from oncoseg.training.settings import TrainConfig
from oncoseg.training.validating import tumour_dice
from oncoseg.volume import Volume
from oncoseg.weights.trained import About, read_about, write_checkpoint

INFOS = [info for name in registry.names("models") for info in registry.load("models", name).INFOS]


def is_dense(info):
    """Whether a model's options are those of prompt-free networks."""
    recipe = recipes_of(info.full_name).get("smoke")
    if recipe is None or info.name == "nnunet":
        return False
    with torch.device("meta"):
        model = registry.load("models", info.name).build(info.variant or None, **recipe.options)
    return isinstance(model.settings, DenseOptions)


class Repeats(nn.Module):
    """Evidence for the tumour is the last input channel; remembers what it saw."""

    multiple = 8

    def __init__(self, options):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))
        self.channels = options.channels
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        evidence = (x[:, -1:] - 0.5) * self.scale
        return torch.cat([-evidence, evidence], dim=1)


def model_of(kind=SliceModel, **options):
    options_class = SliceOptions if kind is SliceModel else PatchOptions
    dimension = "2d" if kind is SliceModel else "3d"
    info = replace(unet.INFOS[0], dimension=dimension)
    return built(kind, (info,), options_class, Repeats, variants={}, variant=None, weights=None, options=options)


def blocks(spacing=(3.0, 1.0, 1.0), shape=(9, 40, 48)):
    """A case with two tumours."""
    voxels = np.full(shape, -800, np.int16)
    voxels[1:4, 8:16, 12:20] = 400
    voxels[6:8, 24:32, 30:40] = 400
    image = Volume.from_spacing(voxels, spacing)
    return Case("blocks", "p", image, {"tumour": image.with_voxels(voxels > 0)})


BOXES = [Box((1, 8, 12), (4, 16, 20)), Box((6, 24, 30), (8, 32, 40))]
KINDS = {
    "pad": (SliceModel, {"fit": "pad", "patch": 32, "spacing": 1.0}),
    "crop": (SliceModel, {"fit": "crop", "patch": 48, "spacing": None}),
    "resize": (SliceModel, {"fit": "resize", "patch": 64}),
    "patches": (PatchModel, {"patch": (8, 16, 16), "spacing": (3.0, 1.0, 1.0)}),
}


@pytest.fixture(params=KINDS, ids=str)
def kind(request):
    return KINDS[request.param]


def test_the_channel_holds_the_boxes_in_their_place(kind):
    made, options = kind
    model, case = model_of(made, given="box channel", **options), blocks()
    assert model.network.channels == 2
    found = model.predict(case.image, BOXES).voxels > 0.5
    np.testing.assert_array_equal(found, filled(BOXES, (0, 0, 0), case.image.shape))


def test_the_channel_holds_the_boxes_of_images_stored_in_another_order():
    model, case = model_of(given="box channel", patch=32), blocks()
    affine = case.image.affine.copy()
    affine[:3, 0] *= -1
    turned = Volume(case.image.voxels, affine)
    np.testing.assert_array_equal(
        model.predict(turned, BOXES[:1]).voxels > 0.5, filled(BOXES[:1], (0,) * 3, turned.shape)
    )


def test_training_samples_carry_the_boxes_of_the_tumour(kind):
    made, options = kind
    model = model_of(made, given="box channel", augment="flips", tumour_share=1.0, **options)
    case = model.prepare(blocks())
    for seed in range(8):
        sample = next(model.samples(case, np.random.default_rng(seed)))
        assert sample["image"].shape[0] == 2
        assert set(np.unique(sample["classes"])) <= {0, 1}
        # The tumours are blocks, so a box round each is the tumour itself.
        np.testing.assert_array_equal(sample["image"][1] > 0.5, sample["classes"] > 0)


def test_jitter_moves_the_boxes_of_training_and_repeats():
    model = model_of(given="box channel", box_jitter_mm=4.0, tumour_share=1.0, augment="none", patch=32)
    case = model.prepare(blocks())
    samples = [next(model.samples(case, np.random.default_rng(seed))) for seed in (0, 0, 1, 2, 3)]
    np.testing.assert_array_equal(samples[0]["image"], samples[1]["image"])
    assert any((s["image"][1] > 0.5).sum() != (s["classes"] > 0).sum() for s in samples)


@pytest.mark.parametrize("per", ["lesion", "slice"])
def test_training_boxes_are_those_of_the_box_simulator(per):
    case, jitter = blocks(), 4.0
    drawn = simulated(case, per, jitter, np.random.default_rng(5))
    expected = registry.load("prompts", "box").build(per=per, jitter_mm=jitter)(case.mask(), np.random.default_rng(5))
    assert [(b.start, b.stop) for b in drawn] == [(b.start, b.stop) for b in expected]
    assert len(drawn) == (2 if per == "lesion" else 5)


def test_boxes_pass_augmentation_beside_the_classes():
    classes = np.array([[0, 1], [2, 3]], np.uint8)
    inside = np.array([[True, False], [False, True]])
    image, back = unmarked(np.zeros((1, 2, 2), np.float32), marked(classes, inside))
    np.testing.assert_array_equal(back, classes)
    np.testing.assert_array_equal(image[1], inside)


@pytest.mark.parametrize("given", ["box channel", "box crop"])
def test_it_is_a_model_that_takes_boxes_and_nothing_else(given):
    model, image = model_of(given=given, patch=32), blocks().image
    assert model.info.prompts == ("box",)
    assert model.info.reference_use != "none"
    with pytest.raises(InputError, match="needs a prompt"):
        model.predict(image)
    with pytest.raises(InputError, match="click"):
        model.predict(image, [Click((1, 2, 3))])
    with pytest.raises(InputError, match="leaves the volume"):
        model.predict(image, [Box((0, 0, 0), (99, 4, 4))])
    assert model_of(patch=32).info.prompts == ()


def test_a_crop_sees_and_finds_what_lies_round_the_box_alone(kind):
    made, options = kind
    model, case = model_of(made, given="box crop", box_margin_mm=3.0, **options), blocks()
    with torch.no_grad():
        model.network.scale.fill_(0.0)  # a probability of a half wherever it looks
    found = model.predict(case.image, BOXES[:1]).voxels
    looked = np.zeros(case.image.shape, bool)
    around = 1 if made is PatchModel else 0  # 3 mm are one slice
    looked[1 - around : 4 + around, 5:19, 9:23] = True
    np.testing.assert_array_equal(found > 0, looked)


def test_a_crop_is_seen_alike_in_training_and_prediction():
    model, case = model_of(given="box crop", fit="resize", patch=32, box_margin_mm=4.0, augment="none"), blocks()
    model.predict(case.image, BOXES[:1])
    seen = {x.numpy()[0, 0].tobytes() for batch in model.network.seen for x in batch[:, None]}
    prepared = model.prepare(case)
    samples = [next(model.samples(prepared, np.random.default_rng(seed))) for seed in range(12)]
    assert sum(s["image"][0].tobytes() in seen for s in samples) >= 3
    assert all(s["image"].shape == (1, 32, 32) for s in samples)


def test_without_tumour_there_is_nothing_to_crop_round():
    case = blocks()
    empty = Case("empty", "p", case.image, {"tumour": case.image.with_voxels(np.zeros(case.image.shape, bool))})
    model = model_of(given="box crop", patch=32)
    assert list(model.samples(model.prepare(empty), np.random.default_rng(0))) == []
    assert model.validation_prompts(empty) == []


def test_boxes_of_the_slices_of_a_lesion_become_its_box():
    slices = [Box((k, 8 + k % 2, 12), (k + 1, 16, 20)) for k in (3, 1, 2)]
    assert joined([*slices, BOXES[1]]) == [Box((1, 8, 12), (4, 16, 20)), BOXES[1]]


def test_a_crop_of_several_structures_is_refused():
    with pytest.raises(ConfigError, match="labels"):
        model_of(given="box crop", labels="lungs+tumour")


def test_other_structures_are_found_on_slices_without_a_box_too():
    class Both(Repeats):
        def forward(self, x):
            everywhere = torch.ones_like(x[:, :1]) * self.scale
            inside = (x[:, -1:] - 0.5) * 4 * self.scale
            return torch.cat([-everywhere, everywhere, -everywhere, inside], dim=1)

    info, options = unet.INFOS[0], {"given": "box channel", "labels": "lungs+tumour", "patch": 32}
    model = built(SliceModel, (info,), SliceOptions, Both, variants={}, variant=None, weights=None, options=options)
    labels = model.predict_labels(blocks().image, BOXES[:1]).voxels
    assert (labels[0] == 1).all()
    assert (labels[2, 8:16, 12:20] == 3).all()
    assert not (labels[5:] == 3).any()


def test_nnunet_says_that_it_cannot():
    with pytest.raises(ConfigError, match=r"nnunet.*cannot be given boxes"):
        registry.load("models", "nnunet").build(given="box channel")


@pytest.mark.parametrize("info", [i for i in INFOS if is_dense(i)], ids=lambda i: i.full_name)
@pytest.mark.parametrize("given", ["box channel", "box crop"])
def test_every_dense_model_can_be_given_boxes(info, given):
    torch.set_num_threads(1)
    options = {**recipes_of(info.full_name)["smoke"].options, "given": given, "box_margin_mm": 6.0}
    model = registry.load("models", info.name).build(info.variant or None, **options)
    case = blocks()
    found = model.predict(case.image, BOXES[:1]).voxels
    assert np.isfinite(found).all()
    assert not found[8].any()
    batch = [next(model.samples(model.prepare(case), np.random.default_rng(n))) for n in range(2)]
    stacked = {key: torch.from_numpy(np.stack([sample[key] for sample in batch])) for key in batch[0]}
    assert all(torch.isfinite(loss) for _, loss in model.losses(stacked))


def test_a_checkpoint_keeps_what_it_was_given(tmp_path):
    torch.manual_seed(0)
    model, case = unet.build("primakov", given="box channel", patch=32, spacing=None), blocks()
    target = tmp_path / "checkpoint.safetensors"
    write_checkpoint(target, model.network.state_dict(), About("unet", "primakov", model.options()))
    again = unet.build(weights=target)
    assert again.info.prompts == ("box",)
    np.testing.assert_array_equal(again.predict(case.image, BOXES).voxels, model.predict(case.image, BOXES).voxels)
    assert ModelSpec("unet.primakov", weights=target).info.prompts == ("box",)
    assert read_about(target).options["given"] == "box channel"


def test_what_is_given_is_known_before_anything_is_built():
    assert ModelSpec("unet", {"given": "box crop"}).info.prompts == ("box",)
    assert ModelSpec("unet", {"given": "nothing"}).info == ModelSpec("unet").info == unet.INFOS[0]
    assert informed(unetr.INFOS[0], "box channel").prompts == ("box",)


@pytest.mark.slow
@pytest.mark.parametrize("given", ["box channel", "box crop"])
def test_it_learns_with_boxes_and_is_validated_with_them(given, tmp_path):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    options = {"shape": [32, 64, 64], "spacing": [5.0, 4.0, 4.0], "volume_ml": [60.0, 90.0], "tumours": [1, 1]}
    phantom = registry.load("datasets", "phantom").build(cases=1, seed=5, textures=["solid"], **options)
    case = phantom.load(phantom.entries()[0].case)
    smoke = recipes_of("unet.primakov")["smoke"]
    model = unet.build("primakov", **{**smoke.options, "given": given})
    config = TrainConfig(**smoke.training)
    result = train(model, training=[case], validation=[case], config=config, folder=tmp_path / "t")
    assert result.best >= 0.9
    assert tumour_dice(model, case) == pytest.approx(result.best)
