"""Med-SA against the authors' code, and its parts that learn."""

import re

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import med_sa
from oncoseg.nn.losses import binary_cross_entropy
from oncoseg.prompt import Box
from oncoseg.volume import Volume
from oncoseg.weights import official

#: A small encoder: two layers, the second global.
SMALL = {"embed_dim": 48, "depth": 2, "heads": 4}
SIZE = official.VitSize(48, 2, 4, (1,))


@pytest.mark.parametrize(("variant", "adapters"), [("paper", 13_194_240), ("code", 10_651_392), ("3d", 10_651_392)])
def test_adapters_and_the_mask_decoder_learn(variant, adapters):
    with torch.device("meta"):
        network = med_sa.build(variant).network
    learning = {name: p.numel() for name, p in network.named_parameters() if p.requires_grad}
    assert sum(n for name, n in learning.items() if "Adapter." in name) == adapters
    assert sum(learning.values()) == adapters + 4_058_340
    assert not any(name.startswith("prompt_encoder") for name in learning)


def layout(image_size):
    """A file of the authors' training: relative positions under another name, the 64 x 64 table, three adapters."""
    shapes = official.sam(SIZE, image_size=image_size)
    shapes["image_encoder.pos_embed"] = (1, 64, 64, 48)
    for block in range(2):
        for adapter in ("Space_Adapter", "MLP_Adapter", "Depth_Adapter"):
            name = f"image_encoder.blocks.{block}.{adapter}"
            shapes |= {f"{name}.D_fc1.weight": (12, 48), f"{name}.D_fc1.bias": (12,)}
            shapes |= {f"{name}.D_fc2.weight": (48, 12), f"{name}.D_fc2.bias": (48,)}
    return {re.sub(r"\.attn\.rel_pos_([hw])", r".attn.rel_\1", name): shape for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("variant", "image_size", "slices", "expected"),
    [
        ("code", 256, 1, (-1.93612, 0.30835, 1.52941, 1.76894)),
        ("3d", 224, 6, (-1.52177, 0.73012, 2.36068, 1.25929)),
    ],
)
def test_embeds_as_the_authors_code(variant, image_size, slices, expected, known, tmp_path):
    """Numbers of SuperMedIntel/Medical-SAM-Adapter's image encoder with the same weights; in 3D one window a slice."""
    torch.save({"state_dict": known(layout(image_size))}, tmp_path / "best.pth")
    options = {"stack": 6} if variant == "3d" else {}
    model = med_sa.build(variant, weights=tmp_path / "best.pth", image_size=image_size, **SMALL, **options)
    assert model.told == []
    images = np.random.RandomState(7).uniform(size=(slices, 3, image_size, image_size)).astype(np.float32)
    with torch.inference_mode():
        embedding = model.network.embed(torch.from_numpy(images))
    torch.testing.assert_close(embedding[-1, ::64, 3, 5], torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_begins_from_a_sam_and_says_that_the_adapters_are_new(known, tmp_path):
    torch.save(known(official.sam(SIZE, image_size=256)), tmp_path / "sam.pth")
    begun = med_sa.build("code", weights=tmp_path / "sam.pth", **SMALL)
    assert any("no adapters" in sentence for sentence in begun.told)
    assert med_sa.build("code", **SMALL).told == []


def test_tumour_counts_twice_in_the_loss_of_single_slices():
    model = med_sa.build("code", **{**SMALL, "image_size": 64})
    target = torch.zeros(1, 64, 64, dtype=torch.uint8)
    target[0, 20:40, 20:40] = 1
    batch = {"image": torch.randn(1, 3, 64, 64), "target": target, "point": torch.tensor([[30.0, 30]])}
    [(name, loss)] = model.losses(batch)
    logits = model.network.decode(model.embed(batch["image"]), model.prompted(batch)).logits
    whole = torch.nn.functional.interpolate(logits, size=(64, 64), mode="bilinear")
    assert name == "network"
    torch.testing.assert_close(loss, binary_cross_entropy(whole, target[:, None], positive_weight=2.0))
    [(_, other)] = med_sa.build("code", **SMALL, image_size=64, loss="dice+bce").losses(batch)
    assert (other - loss).abs() > 1e-3


def test_boxes_and_impossible_options_are_refused():
    image = Volume.from_spacing(np.zeros((2, 40, 40), np.int16), (3.0, 1.0, 1.0))
    with pytest.raises(InputError, match="takes no box"):
        med_sa.build("code", **{**SMALL, "image_size": 64}).predict(image, [Box((1, 10, 10), (2, 20, 20))])
    with pytest.raises(ConfigError, match="taught_with"):
        med_sa.build("code", taught_with="box", **SMALL)
    with pytest.raises(ConfigError, match="third adapter"):
        med_sa.build("paper", stack=4, **SMALL)
