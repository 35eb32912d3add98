import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.models import lite_medsam
from oncoseg.prompt import Box, Click
from oncoseg.volume import Volume

BOX = Box((1, 100, 120), (4, 140, 150))


def image(shape=(6, 300, 320)):
    voxels = np.random.default_rng(0).integers(-1000, 400, shape).astype(np.int16)
    return Volume.from_spacing(voxels, (3.0, 0.5, 0.5))


def small(**options):
    return lite_medsam.build(random_weights=True, image_size=64, **options)


def seen_by(model, monkeypatch, box):
    """Image and box that reach the network."""
    seen = {}
    embed, decode = model.network.embed, model.network.decode
    monkeypatch.setattr(model.network, "embed", lambda images: embed(seen.setdefault("images", images)))

    def spy(embedding, prompts, **options):
        seen["boxes"] = prompts.boxes
        return decode(embedding, prompts, **options)

    monkeypatch.setattr(model.network, "decode", spy)
    model.predict(image(), [box])
    return seen["images"], seen["boxes"][0].tolist()


def test_the_network_sees_a_magnified_crop_in_0_to_1(monkeypatch):
    shown, (left, _, right, _) = seen_by(
        lite_medsam.build(random_weights=True), monkeypatch, Box((1, 100, 120), (2, 140, 150))
    )
    assert shown.shape == (1, 3, 256, 256)
    assert (shown.min(), shown.max()) == (0, 1)
    assert right - left == pytest.approx((150 - 120) * 256 / 192 - 1)


def test_a_large_box_widens_the_crop(monkeypatch):
    _, (left, top, right, bottom) = seen_by(small(), monkeypatch, Box((1, 20, 20), (2, 250, 250)))
    assert right - left == pytest.approx(230 * 64 / 288 - 1)
    assert min(left, top) > 0
    assert max(right, bottom) < 63


def test_clicks_are_refused():
    with pytest.raises(InputError, match="takes no click prompt; it takes box"):
        small().predict(image(), [Click((1, 120, 130))])


@pytest.mark.parametrize("options", [{"crop_px": 0}, {"window": "bone"}, {"cropp": 1}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        small(**options)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth do not fit Sam"):
        lite_medsam.build(weights=tmp_path / "other.pth")


def test_a_trained_decoder_leaves_the_image_encoder_alone():
    whole, part = small(), small(trained="decoder")
    count = {id(p) for p in part.network.image_encoder.parameters()}
    moved = list(part.parameter_groups()["network"])
    assert moved
    assert not count & {id(p) for p in moved}
    assert len(list(whole.parameter_groups()["network"])) == len(list(whole.network.parameters()))


@pytest.mark.network
@pytest.mark.slow
def test_real_weights_answer_as_the_official_network_does():
    """Golden numbers were computed with the official code on the same input (largest difference of logits 8e-5)."""
    torch.set_num_threads(1)
    network = lite_medsam.build().network
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 3, 256, 256, generator=generator)
    row, column = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    disc = ((row - 120) ** 2 + (column - 140) ** 2 < 40**2).float()
    shown = torch.stack([noise[0], disc * 0.7 + 0.1 * noise[1]])
    boxes = torch.tensor([[30.0, 40, 120, 150], [100, 80, 180, 160]])
    with torch.inference_mode():
        logits = network(shown, boxes)
    torch.testing.assert_close(logits.mean((1, 2)), torch.tensor([-17.6740, -37.0189]), atol=1e-3, rtol=0)
    torch.testing.assert_close(logits.std((1, 2)), torch.tensor([8.5127, 16.5293]), atol=1e-3, rtol=0)
    inside = (logits > 0).sum((1, 2))
    assert inside.tolist() == pytest.approx([3971, 5014], abs=2)
    assert 2 * int(((logits[1] > 0) & (disc > 0)).sum()) / int(inside[1] + disc.sum()) > 0.98
