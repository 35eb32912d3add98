"""SAM-Med2D against the authors' code, and what its loader makes of other files."""

import numpy as np
import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.models import sam_med2d
from oncoseg.nn.sam import SlicePrompts
from oncoseg.prompt import Box, Click
from oncoseg.volume import Volume
from oncoseg.weights import official

#: A small encoder: two layers, the second global.
SMALL = {"embed_dim": 48, "depth": 2, "heads": 4}
SIZE = official.VitSize(48, 2, 4, (1,))
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def official_file(known, tmp_path):
    """The layout of sam-med2d_b.pth, without its optimiser."""
    torch.save({"model": known(official.sam(SIZE, image_size=256, adapters=True))}, tmp_path / "sam-med2d.pth")
    return tmp_path / "sam-med2d.pth"


def test_answers_as_the_authors_code(official_file, slices):
    """Numbers of OpenGVLab/SAM-Med2D's own modules with the same weights; earlier masks go in as probabilities."""
    network = sam_med2d.build(weights=official_file, **SMALL).network
    clicks = SlicePrompts(
        points=torch.tensor([[[100.0, 120], [30.0, 220]]]),
        labels=torch.tensor([[1, 0]]),
        masks=slices(64)[:1] * 8 - 4,
    )
    with torch.inference_mode():
        embedding = network.embed(slices(256, 3)[:1])
        boxed = network.decode(embedding, SlicePrompts(torch.tensor([[40.0, 60, 170, 200]])), multimask=True)
        clicked = network.decode(embedding, clicks, multimask=True)
    torch.testing.assert_close(embedding[0, ::64, 3, 5], torch.tensor([-1.27029, 0.21009, 1.11102, 0.2563]), **CLOSE)
    torch.testing.assert_close(boxed.logits[0, :, 20, 40], torch.tensor([4.9716, -1.8363, 1.3474]), **CLOSE)
    torch.testing.assert_close(boxed.quality[0], torch.tensor([0.9449, -1.77153, 1.04416]), **CLOSE)
    torch.testing.assert_close(clicked.logits[0, :, 50, 10], torch.tensor([1.1679, -4.9991, 2.6637]), **CLOSE)
    torch.testing.assert_close(clicked.quality[0], torch.tensor([-0.07233, -0.96546, 0.37143]), **CLOSE)


def test_a_whole_file_leaves_nothing_to_tell_and_a_sam_does(known, tmp_path, official_file):
    assert sam_med2d.build(weights=official_file, **SMALL).told == []
    torch.save(known(official.sam(SIZE, image_size=512)), tmp_path / "sam.pth")
    begun = sam_med2d.build(weights=tmp_path / "sam.pth", **SMALL)
    assert any("no adapters" in sentence for sentence in begun.told)
    assert any("Mask tokens" in sentence for sentence in begun.told)


def test_from_a_sam_comes_what_the_authors_loader_takes(known, tmp_path):
    """build_sam.py, load_from: all but mask tokens, their perceptrons and the head of the expected IoU."""
    state = known(official.sam(SIZE, image_size=512))
    torch.save(state, tmp_path / "sam.pth")
    begun = sam_med2d.build(weights=tmp_path / "sam.pth", **SMALL).network.state_dict()
    anew = sam_med2d.build(**SMALL).network.state_dict()
    for name in (
        "mask_tokens.weight",
        "iou_prediction_head.proj_in.weight",
        "output_hypernetworks_mlps.3.proj_in.bias",
    ):
        assert torch.equal(begun[f"mask_decoder.{name}"], anew[f"mask_decoder.{name}"]), name
    token = "mask_decoder.iou_token.weight"
    assert torch.equal(begun[token], state[token])
    large = state["image_encoder.pos_embed"]
    torch.testing.assert_close(begun["image_encoder.pos_embed"][0, 1, 2], large[0, 2:4, 4:6].mean(dim=(0, 1)))


def test_adapters_can_be_left_out_of_a_checkpoint(tmp_path):
    from oncoseg.weights.trained import About, write_checkpoint

    model = sam_med2d.build(**SMALL, image_size=64)
    write_checkpoint(tmp_path / "c.safetensors", model.network.state_dict(), About("sam_med2d", "", model.options()))
    image = Volume.from_spacing(np.random.default_rng(0).integers(-900, 100, (2, 60, 60)), (3.0, 1.0, 1.0))
    box = [Box((1, 20, 20), (2, 40, 40))]
    found = [
        sam_med2d.build(weights=tmp_path / "c.safetensors", adapters=used).predict(image, box).voxels
        for used in (True, False)
    ]
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_weights_of_another_size_are_refused(official_file):
    with pytest.raises(InputError, match=r"48.* instead of .*32"):
        sam_med2d.build(weights=official_file, **{**SMALL, "embed_dim": 32})


def test_shows_8_bit_pixels_with_the_mean_of_natural_pictures_and_black_round_small_slices():
    """DataLoader.py and train_transforms of the authors: normalise, then pad to 256 with zeros."""
    model = sam_med2d.build(**SMALL)
    grey = torch.rand(101, 120)
    shown = model.frame.show(grey)
    top, left = (256 - 101) // 2, (256 - 120) // 2
    inside = shown[:, top : top + 101, left : left + 120]
    for channel, mean, deviation in zip(inside, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), strict=True):
        torch.testing.assert_close(channel, (torch.floor(grey * 255) - mean) / deviation, atol=1e-3, rtol=1e-3)
    inside.zero_()
    assert not shown.any()


def test_larger_slices_keep_every_second_pixel_of_image_and_mask():
    """cv2's nearest pixel of a slice twice as large is the even one."""
    model = sam_med2d.build(**SMALL)
    grey = (torch.arange(512)[:, None] * torch.ones(1, 512)) / 511
    mask = torch.zeros(512, 512, dtype=torch.bool)
    mask[100, 200] = True
    assert model.frame.show_mask(mask).nonzero().tolist() == [[50, 100]]
    even = torch.floor(grey[::2, ::2] * 255)
    torch.testing.assert_close(model.frame.show(grey)[0], (even - 123.675) / 58.395, atol=1e-3, rtol=1e-3)


def test_the_range_of_a_slice_can_become_0_to_255():
    model = sam_med2d.build(**SMALL, slice_range=True, window=[-1024, 3071])
    hu = np.linspace(-1000, 200, 256 * 256, dtype=np.float32).reshape(256, 256)
    shown = model.frame.show(torch.from_numpy(model.grey(None)(hu)))[0] * 58.395 + 123.675
    assert (shown.min().round(), shown.max().round()) == (0, 255)


def test_clicks_of_a_session_pile_up_with_the_mask_before_them(monkeypatch):
    """test.py of the authors: each round has all clicks so far and the earlier mask."""
    model = sam_med2d.build(**SMALL, image_size=64)
    asked, decode = [], model.network.decode
    monkeypatch.setattr(model.network, "decode", lambda e, p, **o: asked.append((p, o)) or decode(e, p, **o))
    session = model.session(Volume.from_spacing(np.zeros((2, 60, 60), np.int16), (3.0, 1.0, 1.0)))
    for click in (Click((1, 20, 20)), Click((1, 30, 30)), Click((1, 5, 5), positive=False)):
        session.add(click)
    assert [p.points.shape[1] for p, _ in asked] == [1, 2, 3]
    assert [p.masks is not None for p, _ in asked] == [False, True, True]
    assert all(o["multimask"] for _, o in asked)
