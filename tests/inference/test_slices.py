import itertools

import numpy as np
import pytest

from oncoseg.inference.slices import axial_view
from oncoseg.prompt import Box
from oncoseg.volume import Volume


def axial():
    return Volume.from_spacing(np.arange(2 * 3 * 4).reshape(2, 3, 4), (3.0, 0.7, 0.8), (5.0, 6.0, 7.0))


def stored(volume, axes, flips):
    """The same voxels in the same place with other axes first and some running backwards."""
    affine = np.eye(4)
    signs = np.where(flips, -1, 1)
    affine[:3, :3] = volume.affine[:3, list(axes)] * signs
    first = np.zeros(3)
    first[list(axes)] = np.where(flips, np.array(volume.shape)[list(axes)] - 1, 0)
    affine[:3, 3] = volume.index_to_mm(first)
    return Volume(np.flip(volume.voxels.transpose(axes), np.flatnonzero(flips)), affine)


ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), ORDERS)
def test_every_stored_order_looks_the_same(axes, flips):
    image = stored(axial(), axes, flips)
    view = axial_view(image)
    np.testing.assert_array_equal(view.volume.voxels, axial().voxels)
    assert view.volume.same_grid(axial())
    np.testing.assert_array_equal(view.restore(view.volume.voxels), image.voxels)


@pytest.mark.parametrize(("axes", "flips"), ORDERS)
def test_boxes_follow_their_voxels(axes, flips):
    image = stored(axial(), axes, flips)
    box = Box((0, 0, 1), (image.shape[0], max(1, image.shape[1] - 1), 2), source="oracle")
    view = axial_view(image)
    moved = view.box(box)
    assert set(view.volume.voxels[moved.region].ravel()) == set(image.voxels[box.region].ravel())
    assert moved.source == "oracle"


def test_an_oblique_image_keeps_its_nearest_order():
    turn = np.radians(30)
    affine = axial().affine.copy()
    affine[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]] @ affine[:3, :3]
    image = Volume(axial().voxels, affine)
    view = axial_view(image)
    np.testing.assert_array_equal(view.volume.voxels, image.voxels)
    assert view.volume.same_grid(image)


def test_nothing_is_copied_on_the_way_in():
    image = stored(axial(), (2, 0, 1), (True, False, True))
    assert np.shares_memory(axial_view(image).volume.voxels, image.voxels)
