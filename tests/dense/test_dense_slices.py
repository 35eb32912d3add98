"""Slices of any size, several classes, the way there and back."""

import numpy as np
import pytest
import torch
from torch import nn

from oncoseg.case import Case
from oncoseg.dense.building import built
from oncoseg.dense.options import SliceOptions
from oncoseg.dense.slices import SliceModel
from oncoseg.errors import ConfigError, UnknownNameError
from oncoseg.models import unet
from oncoseg.volume import Volume


class Echo(nn.Module):
    """Class 1 where the grey value is above a half; remembers what it saw."""

    multiple = 8

    def __init__(self, options):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))
        self.outputs = options.outputs
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        evidence = (x[:, :1] - 0.5) * self.scale
        if self.outputs == 1:
            return evidence
        return torch.cat([-evidence, evidence, *[-evidence - 9] * (self.outputs - 2)], dim=1)


def model_of(**options):
    info = unet.INFOS[0]
    return built(SliceModel, (info,), SliceOptions, Echo, variants={}, variant=None, weights=None, options=options)


def block_case(spacing=(3.0, 1.0, 1.0), shape=(5, 37, 45)):
    voxels = np.full(shape, -800, np.int16)
    voxels[1:4, 10:26, 12:30] = 400
    image = Volume.from_spacing(voxels, spacing)
    half = np.zeros(shape, bool)
    half[:, :, :20] = True
    masks = {"tumour": voxels > 0, "lung_right": half, "lung_left": ~half}
    return Case("block", "p", image, {name: image.with_voxels(m) for name, m in masks.items()})


@pytest.mark.parametrize("fit", ["pad", "crop", "resize"])
@pytest.mark.parametrize("through", [None, 2.0])
def test_what_the_network_finds_comes_back_where_it_was(fit, through):
    case = block_case(spacing=(3.0, 0.9, 1.1))
    model = model_of(fit=fit, patch=64, spacing=0.8, through=through)
    found = model.predict(case.image).voxels > 0.5
    truth = case.mask().voxels
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.93


@pytest.mark.parametrize(("fit", "size"), [("pad", (40, 48)), ("crop", (32, 32)), ("resize", (32, 32))])
def test_the_network_sees_slices_that_fit(fit, size):
    model = model_of(fit=fit, patch=32, spacing=None, batch=2, channels=3)
    model.predict(block_case().image)
    assert [tuple(x.shape) for x in model.network.seen] == [(2, 3, *size), (2, 3, *size), (1, 3, *size)]


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_what_lies_round_a_slice_does_not_depend_on_its_neighbours(fit):
    voxels = np.full((3, 20, 20), -900, np.int16)
    voxels[0] = 500
    model = model_of(fit=fit, patch=24, spacing=None, batch=1)
    model.predict(Volume.from_spacing(voxels, (3, 1, 1)))
    assert [float(x[0, 0, -1, -1]) for x in model.network.seen] == pytest.approx([0.05] * 3)


def test_outside_of_the_crop_nothing_is_found():
    image = Volume.from_spacing(np.full((2, 40, 40), 900, np.int16), (3, 1, 1))
    found = model_of(fit="crop", patch=16, spacing=None).predict(image).voxels
    assert (found[:, 12:28, 12:28] > 0.5).all()
    found[:, 12:28, 12:28] = 0
    assert not found.any()


def test_mirroring_looks_at_each_slice_from_four_sides():
    model = model_of(fit="pad", patch=16, spacing=None, mirror=True, batch=5)
    case = block_case()
    probability = model.predict(case.image).voxels
    assert len(model.network.seen) == 4
    np.testing.assert_allclose(probability, model_of(patch=16, spacing=None).predict(case.image).voxels, atol=1e-6)


def test_lungs_and_tumour_are_told_apart():
    case = block_case()
    model = model_of(labels="lungs+tumour", patch=32, spacing=None)
    labels = model.predict_labels(case.image)
    assert labels.voxels.dtype == np.uint8
    np.testing.assert_array_equal(labels.voxels, case.mask().voxels.astype(np.uint8))
    assert model.predict(case.image).voxels.max() < 0.01  # class 3 is nowhere


def test_training_slices_hold_the_classes_with_the_tumour_over_the_lungs():
    model = model_of(labels="lungs+tumour", fit="crop", patch=48, spacing=None, tumour_share=1.0, augment="none")
    case = block_case()
    sample = next(model.samples(model.prepare(case), np.random.default_rng(0)))
    assert sample["image"].shape == (1, 48, 48)
    # The 37 x 45 slice lies in the middle; round it is air of no class.
    expected = np.zeros((48, 48), np.uint8)
    expected[6:43, 2:47] = np.where(case.mask("lung_right").voxels[1], 1, 2)
    expected[6:43, 2:47][case.mask().voxels[1]] = 3
    np.testing.assert_array_equal(sample["classes"], expected)


def test_a_case_without_lungs_cannot_train_a_model_of_lungs():
    case = block_case()
    bare = Case("bare", "p", case.image, {"tumour": case.mask()})
    with pytest.raises(UnknownNameError, match="lung_right"):
        model_of(labels="lungs+tumour", patch=16).prepare(bare)


def test_only_labelled_slices_are_trained_on_when_asked():
    case = block_case()
    model = model_of(patch=16, spacing=None, slices="labelled", tumour_share=0.0)
    prepared = model.prepare(case)
    rng = np.random.default_rng(0)
    assert all(next(model.samples(prepared, rng))["classes"].any() for _ in range(20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "sigmoid", "labels": "lungs+tumour"}, "sigmoid head knows the tumour alone"),
        ({"losses": {"dyce": 1.0}}, "no loss 'dyce'.*dice"),
        ({"augment": "flip"}, "no preset 'flip'.*flips"),
        ({"losses": {"dice": 0.0}}, "one of them positive"),
        ({"patch": 20}, "multiple of 8; got 20. The nearest is 24"),
    ],
)
def test_wrong_options_say_what_would_be_right(options, message):
    with pytest.raises(ConfigError, match=message):
        model_of(**options)


def test_a_zscore_forgets_scale_and_offset_of_the_grey_values():
    case = block_case()
    plain = model_of(normalise="zscore", patch=16, spacing=None).prepare(case).image.voxels
    assert plain.mean() == pytest.approx(0, abs=1e-4)
    assert plain.std() == pytest.approx(1, abs=1e-4)
    wider = model_of(normalise="zscore", window=(-2000.0, 2000.0), patch=16, spacing=None).prepare(case).image.voxels
    np.testing.assert_allclose(plain, wider, atol=1e-4)
