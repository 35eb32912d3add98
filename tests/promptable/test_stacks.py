import numpy as np
import pytest
import torch

from oncoseg.case import TUMOUR, Case
from oncoseg.errors import ConfigError
from oncoseg.models import med_sa
from oncoseg.prompt import Click
from oncoseg.promptable.stacks import stack_of
from oncoseg.volume import Volume

TINY = {"embed_dim": 16, "depth": 1, "heads": 2, "image_size": 64, "stack": 3}


def image(slices=7):
    voxels = np.random.default_rng(0).integers(-1000, 400, (slices, 50, 40)).astype(np.int16)
    return Volume.from_spacing(voxels, (3.0, 1.0, 1.0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = med_sa.build("3d", **TINY)
    for parameter in made.network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def test_every_slice_has_one_stack_whatever_is_asked():
    for slices, size in ((7, 3), (9, 3), (2, 4), (5, 1)):
        stacks = [stack_of(n, slices, size) for n in range(slices)]
        assert all(n in stack and len(stack) == size for n, stack in enumerate(stacks))
        assert all(0 <= n < slices for stack in stacks for n in stack)
    assert stack_of(6, 7, 3) == [4, 5, 6]
    assert stack_of(5, 7, 3) == [3, 4, 5]


def test_a_slice_is_seen_with_its_stack_and_with_nothing_else(model):
    click = [Click((4, 25, 20))]
    plain = model.predict(image(), click).voxels

    def changed(number):
        other = image()
        other.voxels[number] += 300
        return np.abs(model.predict(other, click).voxels - plain).max() > 1e-6

    assert [changed(n) for n in range(7)] == [False, False, False, True, True, True, False]


def test_stacks_are_embedded_once(model, monkeypatch):
    embedded, embed = [], model.network.embed
    monkeypatch.setattr(model.network, "embed", lambda images: embedded.append(len(images)) or embed(images))
    session = model.session(image())
    for number in (3, 4, 5):
        session.add(Click((number, 25, 20)))
    assert embedded == [3]
    session.add(Click((0, 25, 20)))
    assert embedded == [3, 3]


def test_training_shows_a_stack_with_clicks_where_the_lesion_is(model):
    voxels = np.zeros((7, 50, 40), bool)
    voxels[4:6, 10:20, 10:20] = True
    case = model.prepare(Case("a", "a", image(), {TUMOUR: image().with_voxels(voxels)}))
    sample = next(model.samples(case, np.random.default_rng(0)))
    assert sample["image"].shape == (3, 3, 64, 64)
    assert sample["label"].tolist() == [-1, 1, 1]
    assert sample["target"].any(axis=(1, 2)).tolist() == [False, True, True]
    for target, (column, row), label in zip(sample["target"], sample["point"], sample["label"], strict=True):
        assert label == -1 or target[round(float(row)), round(float(column))]
    batch = {name: torch.from_numpy(np.stack([values] * 2)) for name, values in sample.items()}
    [(name, loss)] = model.losses(batch)
    assert name == "network"
    loss.backward()
    depth = [p for n, p in model.network.named_parameters() if "Depth_Adapter" in n]
    assert all(p.grad is not None and p.grad.any() for p in depth)


def test_embeddings_of_single_images_are_not_for_stacks():
    with pytest.raises(ConfigError, match="trained"):
        med_sa.build("3d", **TINY, trained="decoder")
