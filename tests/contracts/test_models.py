"""Every model on the shelf must pass; a newcomer needs no test of its own for this.

Models with weights in the catalogue are built with `random_weights=True`: these tests need no network connection.
Trainable ones are built as small as their recipe "smoke" says, and counted at paper size without memory.
"""

from dataclasses import fields, replace
from functools import cache
from typing import get_args

import numpy as np
import pytest
import torch

from oncoseg import registry
from oncoseg.config import fill
from oncoseg.contracts import (
    Fidelity,
    Interactive,
    NeuralModel,
    PromptType,
    SelfTraining,
    Trainable,
    ValidatedWithPrompts,
)
from oncoseg.errors import InputError, UnknownNameError
from oncoseg.experiments.recipes import recipes_of
from oncoseg.prompt import Box, Click, MaskPrompt, Scribble
from oncoseg.training.loop import train
from oncoseg.training.settings import TrainConfig
from oncoseg.training.validating import tumour_dice
from oncoseg.volume import Volume
from oncoseg.weights import catalogue
from oncoseg.weights.trained import About, write_checkpoint

INFOS = [info for name in registry.names("models") for info in registry.load("models", name).INFOS]
SHAPE = (5, 40, 36)
#: Voxels of the tumour in the test image, and the prompt box round it: one slice, to be quick.
TUMOUR = Box((2, 14, 10), (3, 24, 22))


@cache
def model_of(full_name):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return small(next(i for i in INFOS if i.full_name == full_name))


def small(info, **changed):
    """A model with random weights, of the smallest size its file knows."""
    options = {"random_weights": True} if info.weights else {}
    if "smoke" in recipes_of(info.full_name):
        options = dict(recipes_of(info.full_name)["smoke"].options)
    return registry.load("models", info.name).build(info.variant or None, **{**options, **changed})


def without_memory(info, options):
    """A model whose tensors have shapes only, where its library can make such."""
    make = registry.load("models", info.name).build
    try:
        with torch.device("meta"):
            return make(info.variant or None, **options)
    except RuntimeError:  # MONAI's Swin UNETR looks at numbers while it is made
        return make(info.variant or None, **options)


@cache
def overfit_case():
    """A synthetic thorax with one large tumour."""
    options = {"shape": [32, 64, 64], "spacing": [5.0, 4.0, 4.0], "volume_ml": [60.0, 90.0], "tumours": [1, 1]}
    phantom = registry.load("datasets", "phantom").build(
        cases=1, seed=5, positions=["solitary"], textures=["solid"], **options
    )
    return phantom.load(phantom.entries()[0].case)


@pytest.fixture(params=INFOS, ids=lambda info: info.full_name)
def info(request):
    return request.param


@pytest.fixture
def model(info):
    made = model_of(info.full_name)
    if isinstance(made, SelfTraining):
        pytest.skip("predicts only once trained, which its own test does")
    return made


def thorax(dtype=np.int16):
    """A soft nodule in lung with noise, as anisotropic axial CT."""
    voxels = np.random.default_rng(0).normal(-800, 20, SHAPE)
    voxels[1:4, 14:24, 10:22] = 40
    return Volume.from_spacing(np.rint(voxels).astype(dtype), (3.0, 0.8, 0.8), (-20.0, 7.0, 100.0))


def oblique():
    turn, tilt = np.radians(12), np.radians(8)
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = thorax().affine.copy()
    affine[:3, :3] = about_z @ about_x @ affine[:3, :3]
    return Volume(thorax().voxels, affine)


def mirrored(volume, axes):
    """The same voxels in the same place, stored the other way along `axes`."""
    affine = volume.affine.copy()
    last = np.zeros(3)
    for axis in axes:
        last[axis] = volume.shape[axis] - 1
        affine[:3, axis] *= -1
    affine[:3, 3] = volume.index_to_mm(last)
    return Volume(np.ascontiguousarray(np.flip(volume.voxels, axes)), affine)


def prompts_for(info, image, box=TUMOUR):
    """The simplest prompt a model takes; none for an automatic one."""
    centre = tuple((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
    inside = np.zeros(image.shape, bool)
    inside[box.region] = True
    made = {
        "box": box,
        "click": Click(centre),
        "scribble": Scribble((centre,)),
        "mask": MaskPrompt(image.with_voxels(inside)),
    }
    return [made[info.prompts[0]]] if info.prompts else []


def flipped(prompt, axes):
    """A box or click at the same place of the image stored the other way."""
    if isinstance(prompt, Click):
        return replace(prompt, index=tuple(SHAPE[a] - 1 - i if a in axes else i for a, i in enumerate(prompt.index)))
    start = [SHAPE[a] - prompt.stop[a] if a in axes else prompt.start[a] for a in range(3)]
    stop = [SHAPE[a] - prompt.start[a] if a in axes else prompt.stop[a] for a in range(3)]
    return replace(prompt, start=tuple(start), stop=tuple(stop))


def test_info_is_complete(info):
    module = registry.load("models", info.name)
    assert info.name == module.__name__.rpartition(".")[2]
    assert info.title
    assert info.summary.endswith(".")
    assert info.licence
    assert info.dimension in ("2d", "3d")
    assert set(info.prompts) <= set(get_args(PromptType))
    assert info.fidelity in get_args(Fidelity)
    assert (info.reference_use == "none") == (not info.prompts)
    variants = [i.variant for i in module.INFOS]
    assert len(set(variants)) == len(variants)
    assert len(variants) == 1 or all(variants)


def test_weights_are_in_the_catalogue_and_fit_in_number(info):
    if info.weights:
        assert catalogue.entry(info.weights).parameters == info.parameters


def test_network_has_the_stated_parameters(info, model):
    if not isinstance(model, NeuralModel):
        assert info.trainable or info.parameters == info.trainable_parameters == 0
        return
    options = {"random_weights": True} if info.weights else dict(info.counted_with)
    whole = without_memory(info, options)
    parameters = list(whole.network.parameters())
    assert sum(p.numel() for p in parameters) == info.parameters
    assert sum(p.numel() for p in parameters if p.requires_grad) == info.trainable_parameters


@pytest.mark.parametrize("image", [thorax(), oblique(), mirrored(thorax(), (0, 2))], ids=["thick", "oblique", "turned"])
def test_predicts_probabilities_on_the_grid_of_the_image(info, model, image):
    before = image.voxels.copy()
    probability = model.predict(image, prompts_for(info, image))
    assert probability.same_grid(image)
    assert probability.voxels.dtype == np.float32
    assert probability.voxels.min() >= 0
    assert probability.voxels.max() <= 1
    assert (image.voxels == before).all()


def test_same_result_again_and_for_whole_and_floating_hu(info, model):
    whole, floating = thorax(), thorax(np.float32)
    first = model.predict(whole, prompts_for(info, whole)).voxels
    np.testing.assert_array_equal(first, model.predict(floating, prompts_for(info, floating)).voxels)


def test_result_does_not_depend_on_the_direction_in_which_voxels_are_stored(info, model):
    image, axes = thorax(), (0, 1)
    turned = mirrored(image, axes)
    expected = model.predict(image, prompts_for(info, image)).voxels
    found = model.predict(turned, [flipped(prompt, axes) for prompt in prompts_for(info, image)]).voxels
    np.testing.assert_allclose(np.flip(found, axes), expected, atol=1e-4)


def test_slices_without_a_box_stay_empty(info, model):
    if info.prompts != ("box",):
        pytest.skip("only where boxes alone say on which slices the tumour lies")
    found = model.predict(thorax(), [TUMOUR]).voxels
    assert not np.delete(found, TUMOUR.slices, axis=0).any()


def test_missing_prompt_is_refused(info, model):
    if not info.prompts or info.prompts_optional:
        pytest.skip("needs no prompts")
    with pytest.raises(InputError, match=info.prompts[0]):
        model.predict(thorax())


def test_without_a_prompt_it_answers_where_it_says_that_it_does(info, model):
    if not info.prompts_optional:
        pytest.skip("needs prompts, or takes none")
    image = thorax()
    probability = model.predict(image)
    assert probability.same_grid(image)
    assert probability.voxels.any()


@pytest.mark.parametrize("prompt", [TUMOUR, Click((2, 18, 15)), Scribble(((2, 18, 15),))], ids=["box", "click", "line"])
def test_foreign_prompt_is_refused(info, model, prompt):
    kind = {Box: "box", Click: "click", Scribble: "scribble"}[type(prompt)]
    if kind in info.prompts:
        pytest.skip(f"takes a {kind}")
    with pytest.raises(InputError, match=kind):
        model.predict(thorax(), [prompt])


def test_prompt_outside_the_volume_is_refused(info, model):
    if not info.prompts:
        pytest.skip("takes no prompts")
    larger = Volume.from_spacing(np.zeros((9, 80, 80), np.int16), (3.0, 0.8, 0.8))
    outside = prompts_for(info, larger, Box((6, 50, 50), (7, 60, 60)))
    with pytest.raises(InputError, match=r"outside|leaves|same grid"):
        model.predict(thorax(), outside)


def test_a_model_that_knows_nothing_untrained_says_how_to_train_it(info):
    if not isinstance(made := model_of(info.full_name), SelfTraining):
        pytest.skip("predicts untrained")
    with pytest.raises(InputError, match=f"oncoseg train {info.full_name}"):
        made.predict(thorax())


def test_image_with_nan_is_refused(info, model):
    image = thorax(np.float32)
    image.voxels[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        model.predict(image, prompts_for(info, image))


def trainable(info, **changed):
    if not info.trainable:
        pytest.skip("cannot be trained")
    with torch.random.fork_rng():
        known = model_of(info.full_name)
    if not isinstance(known, Trainable):
        pytest.skip("trains itself")
    return small(info, **changed)


def prompt_free(info, **changed):
    """A trainable network that takes a picture and gives one."""
    if info.prompts:
        pytest.skip("its network takes prompts beside the picture")
    return trainable(info, **changed)


@pytest.mark.parametrize("channels", [1, 4])
def test_network_takes_one_channel_or_four_and_refuses_others_by_name(info, channels):
    model = prompt_free(info, channels=channels)
    x = torch.zeros(1, channels, *patch_of(model))
    with torch.inference_mode():
        assert model.network.eval()(x).shape[2:] == x.shape[2:]
        with pytest.raises(InputError, match=f"{channels} input channel"):
            model.network(torch.zeros(1, channels + 1, *x.shape[2:]))


def test_network_names_the_nearest_shape_when_one_does_not_fit(info):
    model = prompt_free(info)
    size = patch_of(model)
    if getattr(model.network, "multiple", 1) == 1 and getattr(model.network, "size", None) is None:
        pytest.skip("takes any size")
    wrong = (*size[:-1], size[-1] + 1)
    with pytest.raises(InputError, match=r"nearest.*" + ", ".join(map(str, size))):
        model.network(torch.zeros(1, model.settings.channels, *wrong))


def test_prediction_does_not_depend_on_the_batch(info, model):
    if not isinstance(model, Trainable) or "batch" not in model.options():
        pytest.skip("has no batches")
    image = thorax()
    torch.manual_seed(3)
    one = trainable(info, batch=1)
    other = trainable(info, batch=3)
    other.network.load_state_dict(one.network.state_dict())
    prompts = prompts_for(info, image)
    np.testing.assert_allclose(one.predict(image, prompts).voxels, other.predict(image, prompts).voxels, atol=1e-3)


def test_saved_and_built_again_it_predicts_the_same(info, model, tmp_path):
    if not isinstance(model, Trainable):
        pytest.skip("not trained by the loop")
    target = tmp_path / "checkpoint.safetensors"
    write_checkpoint(target, model.network.state_dict(), About(info.name, info.variant, model.options()))
    again = registry.load("models", info.name).build(weights=target)
    assert again.info == info
    assert again.options() == model.options()
    image = thorax()
    prompts = prompts_for(info, image)
    np.testing.assert_array_equal(again.predict(image, prompts).voxels, model.predict(image, prompts).voxels)


def session_of(model, image):
    if not isinstance(model, Interactive):
        pytest.skip("has no sessions")
    return model.session(image)


def test_a_session_with_one_prompt_gives_what_predict_gives(info, model):
    image = thorax()
    session = session_of(model, image)
    [prompt] = prompts_for(info, image)
    expected = model.predict(image, [prompt]).voxels
    np.testing.assert_array_equal(session.add(prompt).voxels, expected)


def test_a_session_takes_back_and_forgets(info, model):
    image = thorax()
    session = session_of(model, image)
    [prompt] = prompts_for(info, image)
    first = session.add(prompt)
    second = session.add(prompts_for(info, image, replace(TUMOUR, start=(2, 16, 12), stop=(3, 26, 24)))[0])
    assert second.same_grid(image)
    assert first.voxels is not second.voxels
    np.testing.assert_array_equal(session.undo().voxels, first.voxels)
    assert not session.undo().voxels.any()
    with pytest.raises(InputError, match="no prompt"):
        session.undo()
    session.add(prompt)
    session.reset()
    np.testing.assert_array_equal(session.add(prompt).voxels, first.voxels)


def test_a_session_refuses_what_predict_refuses_and_goes_on(info, model):
    image = thorax()
    session = session_of(model, image)
    [prompt] = prompts_for(info, image)
    first = session.add(prompt).voxels
    larger = Volume.from_spacing(np.zeros((9, 80, 80), np.int16), (3.0, 0.8, 0.8))
    with pytest.raises(InputError, match=r"outside|leaves|same grid"):
        session.add(prompts_for(info, larger, Box((6, 50, 50), (7, 60, 60)))[0])
    session.reset()
    np.testing.assert_array_equal(session.add(prompt).voxels, first)


def test_prompts_of_validation_are_of_its_own_types_and_come_from_the_mask_alone(info, model):
    if not isinstance(model, ValidatedWithPrompts) or not info.prompts:
        pytest.skip("is not validated with prompts")
    case = overfit_case()
    made = model.validation_prompts(case)
    assert made
    model.predict(case.image, made[:1])
    assert {p.source for p in made} <= {"oracle", "jittered", "simulated user"}
    empty = {name: mask.with_voxels(np.zeros_like(mask.voxels)) for name, mask in case.masks.items()}
    assert model.validation_prompts(replace(case, masks=empty)) == []


def test_recipes_are_complete(info):
    held = recipes_of(info.full_name)
    assert ("smoke" in held) == info.trainable
    for name, recipe in held.items():
        assert recipe.source, name
        config = fill(TrainConfig, dict(recipe.training), f"recipe {name}")
        options = {"random_weights": True, **recipe.options} if info.weights else recipe.options
        built = without_memory(info, options)
        known = {f.name for f in fields(config)} | set(built.options())
        assert set(recipe.assumed) <= known, name


@pytest.mark.slow
def test_overfits_one_case_within_the_steps_of_its_smoke_recipe(info, tmp_path):
    torch.manual_seed(0)
    model, case = trainable(info), overfit_case()
    alike = [i.full_name for i in INFOS[: INFOS.index(info)] if i.name == info.name and i.dimension == info.dimension]
    if any(model_of(name).options() == model.options() for name in alike):
        pytest.skip("as small as this it is the same as an earlier variant")
    config = fill(TrainConfig, dict(recipes_of(info.full_name)["smoke"].training), "smoke")
    assert config.total_steps(1) <= 400
    result = train(model, training=[case], validation=[case], config=config, folder=tmp_path / "t")
    assert result.best >= 0.9
    assert tumour_dice(model, case) == pytest.approx(result.best)


def patch_of(model):
    """Size of one training image of a model, without channels."""
    patch = model.settings.patch
    return tuple(patch) if model.info.dimension == "3d" else (patch, patch)


def test_unknown_option_is_refused(info):
    with pytest.raises(InputError, match="no_such_option"):
        registry.load("models", info.name).build(info.variant or None, no_such_option=1)


def test_unknown_variant_is_refused(info):
    with pytest.raises(UnknownNameError, match=f"{info.variant}zz"):
        registry.load("models", info.name).build(f"{info.variant}zz")


def test_missing_weights_file_is_refused(info, tmp_path):
    missing = tmp_path / "no_such.safetensors"
    with pytest.raises(InputError, match="no_such"):
        registry.load("models", info.name).build(info.variant or None, weights=missing)
