import numpy as np
import pytest
import torch

from oncoseg.errors import InputError
from oncoseg.inference.lungmask import (
    LungNetwork,
    body_box,
    load_lung_network,
    network_lungs,
    network_lungs_and_labels,
    paste,
    postprocess,
    preprocess,
)
from oncoseg.nn.lungmask import LungUNet
from oncoseg.volume import Volume


class Dark(torch.nn.Module):
    """Calls every pixel of one slice `label`, whatever it shows; stands for 31 million parameters."""

    def __init__(self, classes, label):
        super().__init__()
        self.scores = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(label), classes).float())

    def forward(self, x):
        return self.scores[None, :, None, None].expand(len(x), -1, *x.shape[2:])


def calls(label, *, classes=3):
    return LungNetwork(Dark(classes, label), classes, f"says {label}", "0" * 64)


@pytest.fixture
def weights_file(tmp_path):
    """A file as lungmask's: a bare state dict."""

    def make(classes):
        torch.manual_seed(0)
        path = tmp_path / f"net{classes}.pth"
        torch.save(LungUNet(classes).state_dict(), path)
        return path

    return make


@pytest.fixture
def thorax():
    """A body of 40 HU in air, 64 x 64 pixels, rows 12 to 52 and columns 8 to 56."""
    voxels = np.full((3, 64, 64), -1000, np.int16)
    voxels[:, 12:52, 8:56] = 40
    return Volume.from_spacing(voxels, (5.0, 6.0, 6.0))


@pytest.mark.parametrize("classes", [3, 6])
def test_the_number_of_classes_comes_from_the_file(weights_file, classes):
    loaded = load_lung_network(weights_file(classes))
    assert (loaded.classes, loaded.name) == (classes, f"net{classes} {loaded.sha256[:8]}")
    assert not loaded.network.training


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="no network of lungmask"):
        load_lung_network(path)
    torch.save({"last.bias": torch.zeros(4)}, path)
    with pytest.raises(InputError, match="4 classes"):
        load_lung_network(path)
    torch.save({"last.bias": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="missing"):
        load_lung_network(path)


def test_a_slice_is_cropped_to_the_body(thorax):
    box = body_box(thorax.voxels[0])
    assert np.abs(np.array(box) - (12, 8, 52, 56)).max() <= 1


def test_a_slice_without_body_is_taken_whole():
    assert tuple(body_box(np.full((50, 70), -1000))) == (0, 0, 50, 70)


def test_slices_become_256_pixels_from_0_to_1(thorax):
    thorax.voxels[0, 18:22, 18:22] = 3000
    planes, boxes = preprocess(thorax.voxels)
    assert (planes.shape, planes.dtype, len(boxes)) == ((3, 256, 256), np.float32, 3)
    assert planes.max() == 1.0
    # (40 + 1024) / 1624, the value of soft tissue.
    assert np.median(planes) == pytest.approx(1064 / 1624)


def test_pasted_labels_fill_the_box_and_nothing_else(thorax):
    _, boxes = preprocess(thorax.voxels)
    pasted = paste(np.ones((3, 256, 256), np.uint8), boxes, (64, 64))
    box = boxes[0]
    assert pasted.sum() == 3 * (box.bottom - box.top) * (box.right - box.left)
    assert pasted[0, box.top : box.bottom, box.left : box.right].all()


def test_a_loose_piece_goes_to_the_neighbour_it_touches_most():
    labels = np.zeros((5, 10, 30), np.uint8)
    labels[:, :, :10], labels[:, :, 20:] = 1, 2
    labels[1:4, 3:7, 17:20] = 1  # beside the left lung, not beside its own
    result = postprocess(labels)
    assert (result[1:4, 3:7, 17:20] == 2).all()
    assert (result[:, :, :10] == 1).all()


def test_a_piece_without_neighbours_is_dropped():
    labels = np.zeros((5, 10, 30), np.uint8)
    labels[:, :, :10] = 1
    labels[2, 4:6, 20:23] = 1
    assert (postprocess(labels) > 0).sum() == 5 * 10 * 10


def test_pieces_of_two_voxels_are_dropped_not_merged():
    labels = np.zeros((5, 10, 30), np.uint8)
    labels[:, :, :10], labels[:, :, 20:] = 1, 2
    labels[2, 4:6, 19] = 1
    assert not postprocess(labels)[2, 4:6, 19].any()


def test_holes_are_filled():
    labels = np.ones((7, 9, 9), np.uint8)
    labels[3, 4, 4] = 0
    assert postprocess(labels)[3, 4, 4] == 1


def test_spare_labels_only_fill():
    labels = np.zeros((5, 10, 30), np.uint8)
    labels[:, :, :10], labels[:, :, 20:] = 1, 2
    labels[:, :, 10:14] = 3
    result = postprocess(labels, spare=(3,))
    assert set(np.unique(result)) == {0, 1, 2}
    assert (result[:, :, 10:14] == 1).all()


@pytest.mark.parametrize(("lobe", "side"), [(1, "left"), (2, "left"), (3, "right"), (4, "right"), (5, "right")])
def test_lobes_are_sorted_into_lungs(thorax, lobe, side):
    found = network_lungs(thorax, calls(lobe, classes=6))
    assert getattr(found, f"{side}_ml") > 0
    assert found.right_ml * found.left_ml == 0


def test_masks_lie_on_the_grid_of_the_image_and_say_where_they_come_from(thorax):
    thorax.voxels[:, :, 40:] = -1000  # the body fills columns 8 to 40 of 64
    turned = Volume(thorax.voxels[::-1, :, ::-1], thorax.affine @ np.diag([-1.0, 1, -1, 1]))
    found, labels = network_lungs_and_labels(turned, calls(1))
    assert turned.same_grid(found.right)
    assert found.right.voxels[:, 20:45, 30:50].all()
    assert not found.right.voxels[:, :, :20].any()
    assert (labels.voxels == 1).sum() == found.right.voxels.sum()
    assert found.origin == "says 1"


def test_the_fused_mode_fills_lobes_only_inside_the_lungs(thorax):
    lobes = calls(5, classes=6)
    alone = network_lungs(thorax, lobes)
    assert alone.right_ml > 0
    assert network_lungs(thorax, lobes, calls(0)).right_ml == 0
    filled = network_lungs(thorax, lobes, calls(2))
    assert filled.right_ml == alone.right_ml
    assert filled.origin == "says 5 filled by says 2"


@pytest.mark.slow
def test_a_users_file_goes_all_the_way(weights_file, thorax):
    one = Volume(thorax.voxels[:1], thorax.affine)
    assert one.same_grid(network_lungs(one, load_lung_network(weights_file(3))).right)
