"""What a promptable network is taught with: slices of lesions, boxes as they are drawn, clicks on the lesion."""

import numpy as np
import pytest
import torch

from oncoseg.case import Case
from oncoseg.models import lite_medsam
from oncoseg.prompt import Box, Click
from oncoseg.volume import Volume


def model_of(**options):
    return lite_medsam.build(random_weights=True, image_size=64, **options)


@pytest.fixture
def case():
    """A large lesion on slices 2 to 7 that narrows, and a speck on slice 1."""
    mask = np.zeros((10, 80, 72), bool)
    for index in range(2, 8):
        mask[index, 30 : 50 - index, 24:44] = True
    mask[0, 5, 6] = True
    voxels = np.where(mask, 40, -800).astype(np.int16)
    image = Volume.from_spacing(voxels, (3.0, 1.0, 1.0))
    return Case("a", "a", image, {"tumour": image.with_voxels(mask)})


def samples_of(model, case, seed=0):
    return list(model.samples(model.prepare(case), np.random.default_rng(seed)))


def test_box_and_click_lie_on_the_lesion_that_is_asked_for(case):
    for sample in samples_of(model_of(jitter_px=0.0), case):
        assert sample["image"].shape == (3, 64, 64)
        rows, columns = np.nonzero(sample["target"])
        left, top, right, bottom = sample["box"]
        assert abs(left - columns.min()) <= 1
        assert abs(right - columns.max()) <= 1
        assert abs(top - rows.min()) <= 1
        assert abs(bottom - rows.max()) <= 1
        x, y = np.rint(sample["point"]).astype(int)
        assert sample["target"][y, x]


def test_a_model_that_is_given_a_click_alone_is_taught_with_the_crop_round_it(case):
    from oncoseg.models import mini_sam

    model = mini_sam.build(random_weights=True, image_size=64, taught_with="click", crop_px=16)
    inner = [s for s in samples_of(model, case) if s["target"].sum() > 50]
    assert len(inner) > 2
    for sample in inner:
        np.testing.assert_allclose(sample["point"], 32, atol=4)  # a pixel of the slice is 4 of the frame


def test_the_same_seed_gives_the_same_samples(case):
    model = model_of()
    for one, other in zip(samples_of(model, case), samples_of(model, case), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_every_slice_is_as_likely_as_any_other_so_a_speck_is_rare(case):
    model = model_of(jitter_px=0.0)
    prepared = model.prepare(case)
    rng = np.random.default_rng(0)
    small = [next(model.samples(prepared, rng))["target"].sum() < 50 for _ in range(140)]
    assert 0.07 < np.mean(small) < 0.24  # one slice of seven


@pytest.mark.parametrize(("jitter", "grows"), [("outward", True), ("sides", None), ("translate", False)])
def test_boxes_are_displaced_as_the_paper_says(case, jitter, grows):
    model = model_of(jitter=jitter, jitter_px=6.0)
    exact = np.array([20.0, 22.0, 40.0, 44.0])
    rng = np.random.default_rng(1)
    moved = np.array([model.jittered(exact, rng) for _ in range(200)]) - exact
    assert np.abs(moved).max() <= 6
    assert np.abs(moved).max() > 4
    if grows:
        assert (moved[:, :2] <= 0).all()
        assert (moved[:, 2:] >= 0).all()
    if grows is False:
        np.testing.assert_allclose(moved[:, :2], moved[:, 2:])


def test_a_3d_box_is_the_same_on_every_slice_of_its_lesion(case):
    model = model_of(taught_with="lesion box", jitter_px=0.0)
    large = [s["box"] for s in samples_of(model, case) if s["target"].sum() > 50]
    assert len(large) > 2
    assert all(np.array_equal(box, large[0]) for box in large)


@pytest.mark.parametrize(("taught_with", "kind", "count"), [("box", Box, 7), ("lesion box", Box, 2)])
def test_it_is_validated_with_what_it_is_taught_with(case, taught_with, kind, count):
    prompts = model_of(taught_with=taught_with).validation_prompts(case)
    assert [type(p) for p in prompts] == [kind] * count


def test_clicks_of_the_validation_lie_on_the_tumour(case):
    from oncoseg.models import mini_sam

    model = mini_sam.build(random_weights=True, image_size=64, taught_with="click")
    clicks = model.validation_prompts(case)
    assert all(isinstance(c, Click) and case.mask().voxels[c.index] for c in clicks)


def test_a_frozen_image_encoder_sees_each_image_once_and_stays(case, monkeypatch):
    model = model_of(trained="decoder", jitter_px=2.0)
    before = {name: tensor.clone() for name, tensor in model.network.image_encoder.state_dict().items()}
    shown, embed = [], model.network.embed
    monkeypatch.setattr(model.network, "embed", lambda images: shown.append(len(images)) or embed(images))
    samples = samples_of(model, case)[:3]
    batch = {key: torch.stack([torch.as_tensor(s[key]) for s in samples]) for key in samples[0]}
    model.network.train()
    for _ in range(3):
        [(name, loss)] = list(model.losses(batch))
        loss.backward()
    assert name == "network"
    assert shown == [1] * len({s["image"].tobytes() for s in samples})
    after = model.network.image_encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any(p.grad is not None for p in model.network.mask_decoder.parameters())


def test_an_embedding_is_the_same_alone_and_in_a_batch(case):
    model = model_of(trained="decoder")
    images = torch.stack([torch.as_tensor(s["image"]) for s in samples_of(model, case)[:2]])
    both = model.embed(images)
    again = model_of(trained="decoder").embed(images[1:])
    assert torch.equal(both[1:], again)


def test_a_case_without_tumour_gives_no_sample(case):
    empty = Case("e", "e", case.image, {"tumour": case.image.with_voxels(np.zeros(case.image.shape, bool))})
    assert samples_of(model_of(), empty) == []
    assert model_of().validation_prompts(empty) == []
