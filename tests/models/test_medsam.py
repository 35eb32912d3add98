"""MedSAM against the authors' code, transformers' SAM, and scikit-image's resizing, which the authors use."""

import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import medsam
from oncoseg.nn.sam import SlicePrompts
from oncoseg.prompt import Box, Click
from oncoseg.volume import Volume
from oncoseg.weights import official

#: A small encoder: two layers, the second global.
SMALL = {"embed_dim": 48, "depth": 2, "heads": 4, "image_size": 256}
SHAPES = official.sam(official.VitSize(48, 2, 4, (1,)), image_size=256)
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def count(network, *, trainable):
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


@pytest.mark.parametrize("variant", ["box", "click"])
def test_all_but_the_prompt_encoder_learns(variant):
    """As the authors' train_one_gpu.py prints."""
    with torch.device("meta"):
        network = medsam.build(variant).network
    assert count(network, trainable=False) == 93_735_472
    assert count(network, trainable=True) == 93_729_252


@pytest.fixture
def training_file(known, tmp_path):
    """A file as the authors' train_multi_gpus.py leaves it, with known weights."""
    state = {f"module.{name}": tensor for name, tensor in known(SHAPES).items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "medsam.pth")
    return tmp_path / "medsam.pth"


def test_answers_as_the_authors_code(training_file, slices):
    """Numbers of bowang-lab/MedSAM's own modules with the same weights."""
    network = medsam.build(weights=training_file, **SMALL).network
    clicks = SlicePrompts(
        points=torch.tensor([[[100.0, 120], [30.0, 220]]]),
        labels=torch.tensor([[1, 0]]),
        masks=slices(64)[:1] * 8 - 4,
    )
    with torch.inference_mode():
        embedding = network.embed(slices(256, 3)[:1])
        boxed = network.decode(embedding, SlicePrompts(torch.tensor([[40.0, 60, 170, 200]])), multimask=True)
        clicked = network.decode(embedding, clicks, multimask=True)
    torch.testing.assert_close(embedding[0, ::64, 3, 5], torch.tensor([-1.22274, 0.49818, 1.3159, 0.23752]), **CLOSE)
    torch.testing.assert_close(boxed.logits[0, :, 20, 40], torch.tensor([4.783, -0.7348, 1.0166]), **CLOSE)
    torch.testing.assert_close(boxed.quality[0], torch.tensor([0.86433, -2.19449, 0.81653]), **CLOSE)
    torch.testing.assert_close(clicked.logits[0, :, 50, 10], torch.tensor([0.4928, -1.8416, -0.1816]), **CLOSE)
    torch.testing.assert_close(clicked.quality[0], torch.tensor([0.53746, -1.646, 1.08467]), **CLOSE)


def test_answers_as_transformers_sam_with_a_file_of_its_own(tmp_path, slices):
    from safetensors.torch import save_file
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    vision = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_dim": 192, "image_size": 256}
    config = SamConfig(
        vision_config={**vision, "global_attn_indexes": [1], "initializer_range": 0.02},
        prompt_encoder_config={"image_size": 256},
        mask_decoder_config={"layer_norm_eps": 1e-5},
    )
    theirs = SamModel(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    theirs.shared_image_embedding.positional_embedding = theirs.prompt_encoder.shared_embedding.positional_embedding
    save_file({k: v.clone() for k, v in theirs.state_dict().items()}, tmp_path / "sam.safetensors")
    ours = medsam.build(weights=tmp_path / "sam.safetensors", **SMALL).network
    images, boxes = slices(256, 3), torch.tensor([[40.0, 60, 170, 200], [3.0, 3, 90, 255]])
    with torch.inference_mode():
        found = ours(images, boxes)
        expected = theirs(pixel_values=images, input_boxes=boxes[:, None], multimask_output=False).pred_masks[:, 0, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_a_sam_for_larger_images_is_fitted_to_smaller_ones(known, tmp_path):
    torch.save(known(official.sam(official.VitSize(48, 2, 4, (1,)), image_size=512)), tmp_path / "sam.pth")
    network = medsam.build(weights=tmp_path / "sam.pth", **SMALL).network
    assert network.image_encoder.pos_embed.shape == (1, 16, 16, 48)
    with pytest.raises(InputError, match=r"48.* instead of .*32"):
        medsam.build(weights=tmp_path / "sam.pth", **{**SMALL, "embed_dim": 32})


def test_shows_what_the_authors_script_makes_of_a_slice():
    """pre_CT_MR.py: window, 8 bits, scikit-image's cubic resize, minimum and maximum to 0 and 1.

    Its cubic splines are a little sharper than torch's cubic kernel, and its outermost pixels fade to black.
    """
    transform = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(0)
    hu = rng.normal(-700, 60, (128, 128)).astype(np.float32)
    hu[30:80, 40:90] = 45 + rng.normal(0, 15, (50, 50))
    hu[5:8], hu[-8:-5] = -1000, 700
    model = medsam.build(**{**SMALL, "image_size": 256})
    shown = model.frame.show(torch.from_numpy(model.grey(None)(hu))).numpy()
    low, high = -160 - 750, -160 + 750
    windowed = np.clip(hu, low, high)
    eight_bit = np.uint8((windowed - windowed.min()) / (windowed.max() - windowed.min()) * 255)
    large = transform.resize(eight_bit, (256, 256), order=3, preserve_range=True, mode="constant", anti_aliasing=True)
    expected = (large - large.min()) / (large.max() - large.min())
    assert (shown[0] == shown[1]).all()
    assert (shown.min(), shown.max()) == (0, 1)
    difference = np.abs(shown[0] - expected)[6:-6, 6:-6]
    assert difference.max() < 0.06
    assert difference.mean() < 0.01


def test_masks_come_back_as_probabilities_that_are_enlarged():
    model = medsam.build(**SMALL)
    logits = torch.randn(64, 64)
    expected = torch.nn.functional.interpolate(torch.sigmoid(logits)[None, None], (50, 70), mode="bilinear")[0, 0]
    torch.testing.assert_close(model.frame.back(logits, (50, 70)), expected)


def test_boxes_grow_by_0_to_20_whole_pixels_on_every_side():
    model = medsam.build(**{**SMALL, "image_size": 1024})
    rng, box = np.random.default_rng(0), np.array([300.0, 400, 500, 450])
    grown = np.array([model.jittered(box, rng) - box for _ in range(2000)]) * (-1, -1, 1, 1)
    assert (grown == np.rint(grown)).all()
    assert (grown.min(axis=0) == 0).all()
    assert (grown.max(axis=0) == 20).all()
    np.testing.assert_allclose(grown.mean(axis=0), 10, atol=0.5)
    at_the_border = model.jittered(np.array([1.0, 2, 1020, 1023]), rng)
    assert at_the_border.min() >= 0
    assert at_the_border.max() <= 1024


def test_each_variant_takes_its_own_prompts_alone():
    image = Volume.from_spacing(np.zeros((2, 40, 40), np.int16), (3.0, 1.0, 1.0))
    with pytest.raises(InputError, match="takes no click"):
        medsam.build(**SMALL).predict(image, [Click((1, 20, 20))])
    with pytest.raises(InputError, match="takes no box"):
        medsam.build("click", **SMALL).predict(image, [Box((1, 10, 10), (2, 20, 20))])
    with pytest.raises(ConfigError, match="taught_with"):
        medsam.build("box", taught_with="click", **SMALL)
