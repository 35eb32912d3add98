import numpy as np
import pytest
from scipy.spatial.distance import cdist

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.evaluation import surfaces
from oncoseg.evaluation.pair import Counts, MaskPair
from oncoseg.evaluation.scoring import DEFAULT_METRICS, metric
from oncoseg.evaluation.surfaces import border_points, nearest_mm
from oncoseg.volume import Volume


def values(pair):
    return {name: metric(name)(pair).value for name in DEFAULT_METRICS}


def ball(centre, radius):
    grid = np.ogrid[0:99, 0:99, 0:99]
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def test_counts_of_both_masks():
    reference = np.array([[1, 1, 0, 0]], dtype=bool)
    prediction = np.array([[1, 0, 1, 0]], dtype=bool)
    assert MaskPair.from_arrays(reference, prediction, (1, 1)).counts == Counts(tp=1, fp=1, fn=1, tn=1)


@pytest.mark.parametrize("spacing", [(2, 1), (3, 2, 1)])
def test_two_voxels_two_mm_apart(spacing):
    """surface-distance's own example: ASD 1.5, HD 2, surface Dice at 1 mm a half."""
    reference, prediction = np.zeros((2, *(5,) * len(spacing)), dtype=bool)
    where = (2,) * (len(spacing) - 1)
    reference[*where, 1] = prediction[*where, 3] = True
    pair = MaskPair.from_arrays(reference, prediction, spacing)
    assert metric("hd")(pair).value == 2
    assert metric("dice")(pair).value == 0
    assert metric("sdice_surfel@1")(pair).value == pytest.approx(0.5)
    elements = pair.elements
    assert np.average(elements.to_prediction, weights=elements.area_reference) == pytest.approx(1.5)
    assert np.average(elements.to_reference, weights=elements.area_prediction) == pytest.approx(1.5)


def test_balls_of_monai():
    """MONAI's test: radius 20 inside radius 40, HD 20.2237, HD95 20.0998, symmetric ASD 15.1177."""
    pair = MaskPair.from_arrays(ball((20, 33, 22), 40), ball((20, 33, 22), 20), (1, 1, 1))
    assert metric("hd")(pair).value == pytest.approx(20.2237, abs=1e-4)
    assert metric("hd95_max")(pair).value == pytest.approx(20.0998, abs=1e-4)
    assert metric("assd")(pair).value == pytest.approx(15.1177, abs=1e-4)
    assert metric("asd_pred_to_ref")(pair).value == pytest.approx(12.0400, abs=1e-4)


def test_two_hd95s_are_two_numbers():
    reference, prediction = np.zeros((2, 30, 30), dtype=bool)
    reference[:20, :20], prediction[:4, :4] = True, True
    pair = MaskPair.from_arrays(reference, prediction, (1, 1))
    assert metric("hd95_max")(pair).value == pytest.approx(21.2603, abs=1e-4)
    assert metric("hd95_pooled")(pair).value == pytest.approx(21.0346, abs=1e-4)


def test_background_round_the_masks_changes_no_number(blobs):
    padded = [v.crop((1, 1, 2), (12, 13, 14)) for v in blobs]
    tight, wide = values(MaskPair(*padded)), values(MaskPair(*blobs))
    del tight["specificity"], wide["specificity"]
    assert tight == pytest.approx(wide, rel=1e-14)


def test_memory_order_changes_no_number(blobs):
    fortran = [v.with_voxels(np.asfortranarray(v.voxels)) for v in blobs]
    assert values(MaskPair(*fortran)) == values(MaskPair(*blobs))


def test_a_mask_cut_by_the_image_edge_has_a_border_there():
    full = np.ones((3, 3), dtype=bool)
    assert len(border_points(np.pad(full, 1))) == 8


def test_turning_the_patient_changes_no_number(blobs):
    angle = 0.3
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned = [Volume(v.voxels, turn @ v.affine) for v in blobs]
    assert values(MaskPair(*turned)) == pytest.approx(values(MaskPair(*blobs)), rel=1e-9)


def test_distances_on_a_tilted_gantry_are_those_of_the_patient(blobs):
    affine = blobs[0].affine.copy()
    affine[1, 0] = 1.5  # each slice is shifted by 1.5 mm along the rows' direction
    reference, prediction = (Volume(v.voxels, affine) for v in blobs)
    pair = MaskPair(reference, prediction)
    borders = [reference.index_to_mm(border_points(np.pad(v.voxels, 1)) - 1) for v in blobs]
    apart = cdist(*borders)
    np.testing.assert_allclose(pair.distances.to_prediction, apart.min(axis=1), atol=1e-9)
    np.testing.assert_allclose(pair.distances.to_reference, apart.min(axis=0), atol=1e-9)
    assert metric("volume_ref")(pair).value == pytest.approx(blobs[0].voxels.sum() * 2.4)


@pytest.mark.parametrize("dense", [10**9, 1e-9], ids=["transform", "tree"])
def test_tree_and_transform_give_the_same_distances(blobs, dense, monkeypatch):
    monkeypatch.setattr(surfaces, "DENSE", dense)
    points, others = (np.argwhere(v.voxels) for v in blobs)
    axes = np.diag(blobs[0].spacing)
    np.testing.assert_allclose(
        nearest_mm(points, others, axes=axes), cdist(points @ axes, others @ axes).min(axis=1), atol=1e-12
    )


def test_a_distance_equal_to_the_tolerance_is_inside_despite_rounding():
    reference, prediction = np.zeros((2, 8, 3), dtype=bool)
    reference[1, 1], prediction[4, 1] = True, True  # 3 x 0.8 mm; 3 * 0.8 > 2.4 in floats
    pair = MaskPair.from_arrays(reference, prediction, (0.8, 1))
    assert metric("nsd_border@2.4")(pair).value == 1
    assert metric("nsd_border@2.39")(pair).value == 0


def test_a_slice_is_a_pair_in_two_dimensions(blobs):
    pair = MaskPair(*blobs).slice_at(5)
    assert pair.spacing == pytest.approx((1.0, 0.8))
    assert pair.counts.tp == (blobs[0].voxels[5] & blobs[1].voxels[5]).sum()


def test_a_window_beyond_the_image_is_background(blobs):
    pair = MaskPair(*blobs)
    wide = pair.crop((slice(-5, 20), slice(-1, 14), slice(0, 30)))
    assert wide.reference.shape == (25, 15, 30)
    assert metric("hd")(wide) == metric("hd")(pair)


def test_no_distance_is_longer_than_the_diagonal():
    ends = np.zeros((2, 4, 5, 6), dtype=bool)
    ends[0, 0, 0, 0] = ends[1, -1, -1, -1] = True
    pair = MaskPair.from_arrays(ends[0], ends[1], (3, 1, 2))
    assert metric("hd")(pair).value < pair.diagonal_mm


def test_other_grids_are_refused(blobs):
    moved = Volume.from_spacing(blobs[1].voxels, (3, 1, 1))
    with pytest.raises(GridMismatchError, match="not on the same grid"):
        MaskPair(blobs[0], moved)


def test_masks_must_be_boolean(blobs):
    with pytest.raises(InputError, match="prediction must be a boolean mask, got uint8"):
        MaskPair(blobs[0], blobs[1].with_voxels(blobs[1].voxels.astype(np.uint8)))


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (1, 1, -2), (1, 1, float("nan"))])
def test_impossible_spacing_is_refused(spacing):
    with pytest.raises(InputError, match="Spacing must be 3 positive numbers"):
        MaskPair.from_arrays(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), spacing)
