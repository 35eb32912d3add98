"""Adapters of SAM-Med2D and Med-SA against their parameter counts and the formulas of their papers."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from oncoseg.errors import ConfigError
from oncoseg.nn.sam import SlicePrompts
from oncoseg.nn.sam_adapters import BottleneckAdapter, ConvolutionAdapter, med_sa, sam_med2d
from oncoseg.nn.sam_vit import SIZES, VitSize

SMALL = VitSize(32, 2, 2, (1,), window=3)


def count(network, trainable=False):
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


def adapters_of(network):
    return sum(p.numel() for name, p in network.named_parameters() if "Adapter." in name)


def test_sam_med2d_has_the_published_parameters():
    """Counted in the authors' code: 386 tensors; all but the encoder's own 86,672,640 learn."""
    with torch.device("meta"):
        network = sam_med2d()
    assert count(network) == 271_241_776
    assert count(network.image_encoder) == 267_177_216
    assert adapters_of(network) == 180_504_576
    assert count(network, trainable=True) == 271_241_776 - 86_672_640
    assert len(network.state_dict()) == 386


@pytest.mark.parametrize(
    ("vit", "ratio", "per_layer", "adapters"),
    [("h", 16, 2, 13_194_240), ("b", 4, 2, 7_100_928), ("b", 4, 3, 10_651_392), ("h", 4, 2, 52_531_200)],
)
def test_med_sa_has_the_parameters_of_its_settings(vit, ratio, per_layer, adapters):
    """13 M as in the paper; 7.10, 10.65 and 52.5 M for the ratio of the released code."""
    size = SIZES[vit]
    with torch.device("meta"):
        network = med_sa(size, hidden=size.embed_dim // ratio, per_layer=per_layer)
    assert adapters_of(network) == adapters
    assert count(network, trainable=True) == adapters + 4_058_340


def randomised(network):
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.1)
    return network.eval()


def test_the_convolutional_adapter_is_that_of_the_paper():
    adapter = randomised(ConvolutionAdapter(8))
    tokens = torch.randn(2, 4, 6, 8)
    gate = torch.sigmoid(
        torch.relu(tokens.flatten(1, 2).mean(1) @ adapter.channel[0].weight.T) @ adapter.channel[2].weight.T
    )
    weighted = (tokens * gate[:, None, None]).permute(0, 3, 1, 2)
    half = F.conv2d(weighted, adapter.spatial[0].weight, stride=2, padding=1).relu()
    whole = F.conv_transpose2d(half, adapter.spatial[2].weight, stride=2, padding=1).relu().permute(0, 2, 3, 1)
    expected = F.layer_norm(tokens + whole, (8,), adapter.norm.weight, adapter.norm.bias)
    torch.testing.assert_close(adapter(tokens), expected)


def test_sam_med2d_without_adapters_is_sam():
    network = randomised(sam_med2d(SMALL, image_size=64))
    off = sam_med2d(SMALL, image_size=64, adapters=False).eval()
    off.load_state_dict(network.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert (network.embed(image) - off.embed(image)).abs().max() > 1e-2
        for layer in network.image_encoder.layers:
            torch.nn.init.zeros_(layer.Adapter.norm.weight)
            torch.nn.init.zeros_(layer.Adapter.norm.bias)
        torch.testing.assert_close(network.embed(image), off.embed(image))


def test_sam_med2d_takes_earlier_masks_as_probabilities():
    network = randomised(sam_med2d(SMALL, image_size=64))
    logits = torch.randn(1, 1, 16, 16)
    with torch.inference_mode():
        _, dense = network.encode_prompts(SlicePrompts(masks=logits), 1)
        expected = network.prompt_encoder.mask_embed(logits.sigmoid())
    torch.testing.assert_close(dense, expected)


def test_a_bottleneck_adapter_that_knows_nothing_changes_nothing():
    tokens = torch.randn(3, 5, 8)
    for skip in (True, False):
        adapter = BottleneckAdapter(8, 2, skip=skip)
        torch.nn.init.zeros_(adapter.D_fc2.weight)
        torch.nn.init.zeros_(adapter.D_fc2.bias)
        torch.testing.assert_close(adapter(tokens), tokens if skip else torch.zeros_like(tokens))


def test_slices_of_a_stack_see_each_other_at_the_same_place_alone():
    """In one layer with the depth branch and windows of one token: a changed patch changes that place only."""
    torch.manual_seed(0)
    size = VitSize(16, 1, 2, (), window=1)
    stacked = randomised(med_sa(size, hidden=4, per_layer=3, stack=3, image_size=64))
    images = torch.randn(6, 3, 64, 64)
    changed = images.clone()
    changed[1, :, 16:32, 32:48] += 1
    layer = stacked.image_encoder.layers[0]
    with torch.inference_mode():
        tokens, other = (stacked.image_encoder.patch_embed(x) for x in (images, changed))
        moved = (layer(other) - layer(tokens)).abs().amax(dim=-1) > 1e-6
    expected = torch.zeros(6, 4, 4, dtype=torch.bool)
    expected[:3, 1, 2] = True  # the slices of its stack, not of the other
    assert (moved == expected).all()


def test_slices_on_their_own_do_not_see_each_other():
    network = randomised(med_sa(SMALL, hidden=4, per_layer=3, image_size=64))
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        together, alone = network.embed(images), torch.cat([network.embed(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_impossible_networks_are_refused():
    with pytest.raises(ConfigError, match="multiple of 32"):
        sam_med2d(SMALL, image_size=48)
    with pytest.raises(ConfigError, match="third adapter"):
        med_sa(SMALL, hidden=4, per_layer=2, stack=4, image_size=64)


def test_importing_the_file_does_not_import_transformers():
    command = "import sys, oncoseg.nn.sam_adapters; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
