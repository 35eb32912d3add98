"""The U-Net: its size, its preprocessing, and that it can learn."""

import numpy as np
import pytest
import torch

from oncoseg.case import Case
from oncoseg.dense.preparing import normalised
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.models import unet
from oncoseg.prompt import Click
from oncoseg.volume import Volume
from oncoseg.weights.trained import About, write_checkpoint

SMALL = {"base": 4, "norm": "instance", "patch": 32, "dropout": 0.0, "spacing": None}


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def ball_case(shape=(6, 40, 36), spacing=(3.0, 1.0, 1.0)):
    voxels = np.full(shape, -800, np.int16)
    z, y, x = np.indices(shape)
    mask = (z - 2) ** 2 * 4 + (y - 15) ** 2 + (x - 20) ** 2 < 50
    voxels[mask] = 40
    image = Volume.from_spacing(voxels, spacing)
    return Case("ball", "p1", image, {"tumour": image.with_voxels(mask)})


def samples_of(model, case, *, seed=0):
    return list(model.samples(model.prepare(case), np.random.default_rng(seed)))


@pytest.mark.parametrize("info", unet.INFOS, ids=lambda info: info.variant)
def test_has_as_many_parameters_as_the_paper(info):
    network = unet.build(info.variant).network
    assert sum(p.numel() for p in network.parameters()) == info.parameters


def test_the_unet_of_the_unet_plus_plus_paper_is_the_same_network_with_half_the_filters():
    network = unet.build(base=32).network
    # One output channel there, two here.
    assert sum(p.numel() for p in network.parameters()) == 7_759_521 + 33


@pytest.mark.parametrize("variant", ["ronneberger", "primakov"])
@pytest.mark.parametrize("spacing", [None, 1.7])
def test_predicts_on_the_grid_of_the_image(variant, spacing):
    image = ball_case(spacing=(3.0, 0.9, 1.2)).image
    model = unet.build(variant, **SMALL | {"spacing": spacing})
    probability = model.predict(image)
    assert probability.same_grid(image)
    assert probability.voxels.dtype == np.float32
    assert 0 <= probability.voxels.min() <= probability.voxels.max() <= 1


def test_prediction_does_not_depend_on_how_the_slices_are_stored():
    image = ball_case().image
    model = unet.build(**SMALL)
    straight = model.predict(image).voxels
    affine = image.affine.copy()
    affine[:3, 3] = image.index_to_mm([image.shape[0] - 1, 0, 0])
    affine[:3, 0] *= -1
    reversed_image = Volume(image.voxels[::-1].copy(), affine)
    np.testing.assert_allclose(model.predict(reversed_image).voxels[::-1], straight, atol=1e-6)


def test_batches_of_slices_do_not_change_the_prediction():
    image = ball_case().image
    torch.manual_seed(1)
    one = unet.build(**SMALL | {"batch": 1}).predict(image).voxels
    torch.manual_seed(1)
    all_at_once = unet.build(**SMALL | {"batch": 6}).predict(image).voxels
    np.testing.assert_allclose(one, all_at_once, atol=1e-5)


def test_predicting_leaves_training_mode_as_it_was():
    model = unet.build(**SMALL)
    model.network.train()
    model.predict(ball_case().image)
    assert model.network.training


def test_samples_are_patches_with_their_mask():
    model = unet.build(**SMALL | {"tumour_share": 1.0})
    samples = samples_of(model, ball_case())
    assert len(samples) == 6
    for sample in samples:
        assert sample["image"].shape == (1, 32, 32)
        assert sample["classes"].shape == (32, 32)
        assert sample["image"].dtype == np.float32
        assert sample["classes"].sum() > 0
        inside = sample["image"][0][sample["classes"] > 0]
        np.testing.assert_allclose(inside, (40 + 1000) / 2000)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_share_of_tumour_slices_is_an_option(share, expected):
    shape = (40, 16, 16)
    mask = np.zeros(shape, bool)
    mask[20] = True
    image = Volume.from_spacing(np.zeros(shape, np.int16), (1, 1, 1))
    case = Case("one slice", "p", image, {"tumour": image.with_voxels(mask)})
    model = unet.build(**SMALL | {"tumour_share": share})
    found = [s["classes"].any() for s in samples_of(model, case, seed=3)]
    assert np.mean(found) == pytest.approx(expected, abs=0.1)


def test_a_case_without_tumour_still_gives_samples():
    case = ball_case()
    empty = Case("e", "p", case.image, {"tumour": case.image.with_voxels(np.zeros(case.image.shape, bool))})
    assert not any(s["classes"].any() for s in samples_of(unet.build(**SMALL), empty))


def test_primakov_sees_grey_levels_of_25_hu():
    model = unet.build("primakov", **SMALL)
    grey = normalised(np.array([-1200, -1000, -976, -975, 0, 149, 150, 900], np.int16), model.settings)
    assert grey.tolist() == [0, 0, 0, 1, 40, 45, 46, 46]


def test_gradients_reach_every_parameter_and_are_finite():
    for variant in ("ronneberger", "primakov"):
        model = unet.build(variant, **SMALL)
        batch = torch.utils.data.default_collate(samples_of(model, ball_case()))
        ((name, loss),) = model.losses(batch)
        loss.backward()
        assert name in model.parameter_groups()
        for parameter in model.network.parameters():
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all()


def test_a_checkpoint_brings_its_variant_and_options(tmp_path):
    model = unet.build("primakov", **SMALL)
    target = tmp_path / "checkpoint.safetensors"
    write_checkpoint(target, model.network.state_dict(), About("unet", "primakov", model.options()))
    again = unet.build(weights=target)
    assert again.info.variant == "primakov"
    assert again.options() == model.options()
    image = ball_case().image
    np.testing.assert_array_equal(again.predict(image).voxels, model.predict(image).voxels)


def test_options_that_differ_from_the_checkpoint_are_an_error(tmp_path):
    model = unet.build(**SMALL)
    target = tmp_path / "checkpoint.safetensors"
    write_checkpoint(target, model.network.state_dict(), About("unet", "ronneberger", model.options()))
    assert unet.build(weights=target, base=4).options() == model.options()
    with pytest.raises(ConfigError, match="'base' is 8, but the weights were made with 4"):
        unet.build(weights=target, base=8)
    with pytest.raises(ConfigError, match=r"unet\.ronneberger, not of unet\.primakov"):
        unet.build("primakov", weights=target)


def test_bare_weights_are_loaded_strictly(tmp_path):
    from safetensors.torch import save_file

    target = tmp_path / "bare.safetensors"
    save_file({k: v.contiguous() for k, v in unet.build(**SMALL).network.state_dict().items()}, target)
    assert unet.build(weights=target, **SMALL).options()["base"] == 4
    with pytest.raises(InputError, match="do not fit UNet"):
        unet.build(weights=target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bass": 4}, "unknown key 'bass'. Did you mean: base"),
        ({"patch": 100}, "multiple of 16"),
        ({"norm": "layer"}, "must be one of"),
        ({"window": [100, -100]}, "lower to a higher"),
        ({"spacing": 0.0}, "spacing must be positive"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        unet.build(**options)


def test_prompts_and_unknown_variants_are_refused():
    with pytest.raises(InputError, match="takes no click prompt"):
        unet.build(**SMALL).predict(ball_case().image, [Click((0, 0, 0))])
    with pytest.raises(UnknownNameError, match="Did you mean: primakov"):
        unet.build("primakow")
