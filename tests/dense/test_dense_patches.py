"""Patches: the tumour oversampled, the volume put together again."""

import numpy as np
import pytest
import torch
from torch import nn

from oncoseg.case import Case
from oncoseg.dense.building import built
from oncoseg.dense.options import PatchOptions
from oncoseg.dense.patches import PatchModel
from oncoseg.errors import ConfigError
from oncoseg.models import unet
from oncoseg.volume import Volume


class Echo(nn.Module):
    """Class 1 where the grey value is above a half."""

    multiple = 4

    def __init__(self, options):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))
        self.outputs = options.outputs
        self.sizes = set()

    def forward(self, x):
        self.sizes.add(tuple(x.shape[1:]))
        evidence = (x[:, :1] - 0.5) * self.scale
        return evidence if self.outputs == 1 else torch.cat([-evidence, evidence], dim=1)


def model_of(**options):
    info = unet.INFOS[0]
    return built(PatchModel, (info,), PatchOptions, Echo, variants={}, variant=None, weights=None, options=options)


def block_case(spacing=(3.0, 1.0, 1.0), shape=(12, 37, 45)):
    voxels = np.full(shape, -800, np.int16)
    voxels[3:8, 10:26, 12:30] = 400
    image = Volume.from_spacing(voxels, spacing)
    return Case("block", "p", image, {"tumour": image.with_voxels(voxels > 0)})


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("mirror", [False, True])
def test_what_the_network_finds_comes_back_where_it_was(head, mirror):
    case = block_case(spacing=(2.5, 0.9, 1.1))
    model = model_of(patch=[16, 16, 16], spacing=[1.5, 1.2, 1.2], head=head, mirror=mirror, batch=3)
    found = model.predict(case.image).voxels > 0.5
    truth = case.mask().voxels
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.93
    assert model.network.sizes == {(1, 16, 16, 16)}


def test_a_volume_smaller_than_the_patch_is_padded_with_air():
    case = block_case()
    model = model_of(patch=[16, 64, 64], spacing=None, normalise="zscore")
    seen = []
    model.network.register_forward_pre_hook(lambda network, given: seen.append(given[0]))
    model.predict(case.image)
    (x,) = seen
    assert x.shape == (1, 1, 16, 64, 64)
    assert x[0, 0, -1, -1, -1] == x.min() < -0.1


def test_a_small_volume_lies_in_the_patch_where_it_lay_in_training():
    case = block_case(shape=(11, 37, 45))
    model = model_of(patch=[16, 64, 64], spacing=None, augment="none")
    seen = []
    model.network.register_forward_pre_hook(lambda network, given: seen.append(given[0][0]))
    model.predict(case.image)
    sample = next(model.samples(model.prepare(case), np.random.default_rng(0)))
    np.testing.assert_array_equal(seen[0].numpy(), sample["image"])


def test_windows_in_the_air_round_the_body_are_skipped_and_the_rest_is_the_same():
    shape = (24, 64, 96)
    voxels = np.full(shape, -1000, np.int16)
    voxels[:, 16:48, 8:40] = 30
    voxels[10:14, 28:36, 20:28] = 400
    image = Volume.from_spacing(voxels, (4, 4, 4))
    looked = {}
    for within in ("all", "body"):
        model = model_of(patch=[16, 16, 16], spacing=None, within=within, overlap=0.0)
        count = []
        model.network.register_forward_pre_hook(lambda network, given, count=count: count.append(len(given[0])))
        looked[within] = (model.predict(image).voxels > 0.5, sum(count))
        assert list(model.told) == []
    np.testing.assert_array_equal(looked["all"][0], looked["body"][0])
    assert looked["body"][1] < 0.6 * looked["all"][1]


def test_lungs_that_are_not_there_are_told_and_nothing_is_skipped():
    case = block_case()
    model = model_of(patch=[16, 16, 16], spacing=None, within="lungs")
    found = model.predict(case.image).voxels > 0.5
    assert found.sum() == case.mask().voxels.sum()
    assert "The whole image was looked at, not only the lungs" in model.told[0]


def test_patches_hold_the_tumour_as_often_as_asked():
    shape = (16, 64, 64)
    voxels = np.full(shape, -800, np.int16)
    voxels[2, 5, 7] = 100
    image = Volume.from_spacing(voxels, (2, 2, 2))
    case = Case("dot", "p", image, {"tumour": image.with_voxels(voxels > 0)})
    for share in (0.0, 1.0):
        model = model_of(patch=[8, 16, 16], spacing=None, tumour_share=share)
        rows = model.samples(model.prepare(case), np.random.default_rng(0))
        held = np.mean([next(rows)["classes"].any() for _ in range(40)])
        assert held == 1 if share else held < 0.3


def test_image_and_classes_of_a_patch_belong_together():
    model = model_of(patch=[8, 16, 16], spacing=[2.0, 1.5, 1.5], channels=2)
    rows = model.samples(model.prepare(block_case()), np.random.default_rng(0))
    for _ in range(5):
        sample = next(rows)
        assert sample["image"].shape == (2, 8, 16, 16)
        assert sample["image"].dtype == np.float32
        assert sample["classes"].dtype == np.uint8
        agree = (sample["image"][0] > 0.5) == (sample["classes"] == 1)
        assert agree.mean() > 0.9


def test_a_patch_that_the_network_does_not_divide_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"multiple of 4; got \[8, 18, 16\]. The nearest is \[8, 20, 16\]"):
        model_of(patch=[8, 18, 16])
