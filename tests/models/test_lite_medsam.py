import numpy as np
import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.inference.rectangles import Crop, Rectangle
from oncoseg.models import lite_medsam
from oncoseg.models.lite_medsam import LiteMedSam, Options, View, from_logits, to_input
from oncoseg.prompt import Box, Click
from oncoseg.volume import Volume


class Echo(torch.nn.Module):
    """Stands in for the network: logits are +8 inside the box and -8 outside; remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.images, self.boxes = [], []

    def forward(self, images, boxes):
        self.images.append(images.clone())
        self.boxes.append(boxes.clone())
        row, column = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
        left, top, right, bottom = boxes[:, :, None, None].unbind(1)
        inside = (column >= left) & (column <= right) & (row >= top) & (row <= bottom)
        return torch.where(inside, 8.0, -8.0)


def echo(**options):
    return LiteMedSam(Echo(), Options(**options))


def image(shape=(6, 300, 320)):
    voxels = np.random.default_rng(0).integers(-1000, 400, shape).astype(np.int16)
    return Volume.from_spacing(voxels, (3.0, 0.5, 0.5))


BOX = Box((1, 100, 120), (4, 140, 150))


@pytest.mark.parametrize("options", [{}, {"crop": "slice"}, {"crop_mm": 60.0}, {"crop_px": 50}], ids=str)
def test_box_and_mask_meet_at_the_same_voxels(options):
    found = echo(**options).predict(image(), [BOX]).voxels > 0.5
    wrong = found.copy()
    wrong[1:4, 99:141, 119:151] = False
    assert not wrong.any()
    assert found[1:4, 102:138, 122:148].all()


def test_a_3d_box_is_the_union_of_its_slices():
    slices = [Box((k, 100, 120), (k + 1, 140, 150)) for k in (1, 2, 3)]
    np.testing.assert_array_equal(echo().predict(image(), [BOX]).voxels, echo().predict(image(), slices).voxels)


def test_a_tapered_box_is_smaller_at_its_ends():
    found = (echo(taper="ellipsoid").predict(image(), [BOX]).voxels > 0.5).sum(axis=(1, 2))
    assert found[1] < found[2] > found[3]


def test_where_boxes_overlap_the_larger_probability_counts():
    far = Box((2, 10, 10), (3, 30, 30))
    model = echo(crop="slice")
    both = model.predict(image(), [BOX, far]).voxels
    np.testing.assert_array_equal(
        both, np.maximum(model.predict(image(), [BOX]).voxels, model.predict(image(), [far]).voxels)
    )


def test_a_batch_changes_nothing():
    np.testing.assert_array_equal(
        echo(batch=1).predict(image(), [BOX]).voxels, echo(batch=3).predict(image(), [BOX]).voxels
    )


def test_the_network_sees_a_magnified_crop_in_0_to_1():
    model = echo()
    model.predict(image(), [BOX])
    shown, box = model.network.images[0], model.network.boxes[0][0]
    assert shown.shape == (1, 3, 256, 256)
    assert (shown.min(), shown.max()) == (0, 1)
    width = (150 - 120) * 256 / 192 - 1
    assert float(box[2] - box[0]) == pytest.approx(width)


def test_a_large_box_widens_the_crop():
    model = echo()
    model.predict(image(), [Box((1, 20, 20), (2, 250, 250))])
    left, top, right, bottom = model.network.boxes[0][0].tolist()
    assert right - left == pytest.approx(230 * 256 / 288 - 1)
    assert min(left, top) > 0
    assert max(right, bottom) < 255


def test_corners_are_first_and_last_pixel_of_the_magnified_crop():
    view = View(Rectangle(3, 20, 30, 40, 60), Crop(10, 10, 138, 74))
    assert view.corners() == [40, 20, 99, 59]
    assert view.corners(2.5) == [37.5, 17.5, 101.5, 61.5]


def test_the_longest_side_becomes_256_and_the_rest_is_zero():
    shown = to_input(torch.arange(64.0 * 128).reshape(64, 128))
    assert shown.shape == (3, 256, 256)
    assert not shown[:, 128:].any()
    assert (shown.min(), shown.max()) == (0, 1)


def test_a_constant_slice_is_zero_not_nan():
    assert not to_input(torch.full((40, 40), 7.0)).any()


def test_logits_of_the_padding_are_cut_off():
    logits = torch.full((256, 256), -8.0)
    logits[:128] = 8.0
    assert from_logits(logits, (64, 128)).shape == (64, 128)
    assert (from_logits(logits, (64, 128)) > 0.5).all()


@pytest.mark.parametrize(
    ("window", "low", "high"), [("soft", -160, 240), ("lung", -910, 590), ("mediastinum", -75, 175)]
)
def test_hu_beyond_the_window_look_alike(window, low, high):
    model, outside, inside = echo(window=window), image(), image()
    outside.voxels[:] = low - 10
    outside.voxels[:, 110:120] = low - 200
    inside.voxels[:] = low
    inside.voxels[:, 110:120] = (low + high) // 2
    for shown in (outside, inside):
        model.predict(shown, [BOX])
    assert not model.network.images[0].any()
    assert model.network.images[-1].any()


def test_percentile_window_ignores_zeros_and_outliers():
    model = echo(window="percentile")
    voxels = np.zeros((2, 64, 64), np.float32)
    voxels[:, 16:48, 16:48] = np.linspace(100, 200, 1024).reshape(32, 32)
    voxels[0, 20, 20] = 1e6
    low, high = model._window(Volume.from_spacing(voxels, (1.0, 1.0, 1.0)))
    assert 100 <= low < 102
    assert 198 < high <= 200


def test_clicks_are_refused():
    with pytest.raises(InputError, match="takes no click prompt; it takes box"):
        echo().predict(image(), [Click((1, 120, 130))])


@pytest.mark.parametrize("options", [{"crop_px": 0}, {"crop_mm": -1.0}, {"batch": 0}, {"window": "bone"}, {"cropp": 1}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        lite_medsam.build(random_weights=True, **options)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth do not fit BoxPromptedSam"):
        lite_medsam.build(weights=tmp_path / "other.pth")


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
