import numpy as np
import pytest
from scipy import ndimage

from oncoseg.datasets.lung1 import build as lung1
from oncoseg.preprocess.lungs import Lungs, body, lungs, reject_reason
from oncoseg.volume import Volume

SHAPE, SPACING = (60, 110, 130), (4.0, 3.0, 3.0)


def ellipsoid(centre_mm, radii_mm):
    """Mask of an ellipsoid; centre and radii in mm (z, y, x) from the middle of the grid."""
    index = np.indices(SHAPE).transpose(1, 2, 3, 0)
    mm = (index - (np.array(SHAPE) - 1) / 2) * SPACING
    return (((mm - centre_mm) / radii_mm) ** 2).sum(axis=-1) <= 1


def chest(*, bridge=False, gas=False, trachea=True):
    """An upright cylinder with two lungs, a windpipe and a table; returns image, right and left lung."""
    index = np.indices(SHAPE).transpose(1, 2, 3, 0)
    mm = (index - (np.array(SHAPE) - 1) / 2) * SPACING
    trunk = (mm[..., 1] / 110) ** 2 + (mm[..., 2] / 165) ** 2 <= 1
    hu = np.where(trunk, 40.0, -1000.0)
    right, left = ellipsoid((0, 0, -75), (90, 75, 55)), ellipsoid((0, 0, 75), (90, 75, 55))
    lung = right | left
    hu[lung] = -850
    if bridge:
        hu[ellipsoid((0, -40, 0), (25, 6, 40)) & ~lung] = -850
    if gas:
        hu[ellipsoid((-100, -30, 95), (20, 25, 30)) & ~lung] = -1000
    if trachea:
        hu[trunk & (np.hypot(mm[..., 1], mm[..., 2]) <= 9) & (mm[..., 0] > 0)] = -1000
    hu[(mm[..., 1] > 125) & (mm[..., 1] < 131)] = 200
    hu += np.random.default_rng(0).normal(0, 15, SHAPE)
    return Volume.from_spacing(hu.astype(np.float32), SPACING), right, left


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_finds_both_lungs_and_knows_the_patients_right():
    image, right, left = chest()
    found = lungs(image)
    # The surface of these lungs is coarse, so a voxel's partial volume is a share of several per cent.
    assert dice(found.right.voxels, right) > 0.97
    assert dice(found.left.voxels, left) > 0.97
    assert found.right_ml == pytest.approx(4 / 3 * np.pi * 9.0 * 7.5 * 5.5, rel=0.04)
    assert (found.origin, found.components, reject_reason(found)) == ("classical", 2, None)
    assert image.index_to_mm(np.argwhere(found.right.voxels).mean(axis=0))[0] < image.index_to_mm([0, 0, 65])[0]


def test_the_stored_order_of_axes_does_not_matter():
    image, right, _ = chest()
    affine = image.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] = image.index_to_mm([SHAPE[0] - 1, 0, 0])
    affine[:3, 1] *= -1
    turned = Volume(np.ascontiguousarray(image.voxels[::-1].transpose(2, 0, 1)), affine)
    assert dice(lungs(turned).right.voxels, right[::-1].transpose(2, 0, 1)) > 0.97


def test_lungs_that_touch_are_parted_in_the_middle():
    image, right, left = chest(bridge=True)
    found = lungs(image)
    assert dice(found.right.voxels, right) > 0.95
    assert dice(found.left.voxels, left) > 0.95
    assert not (found.right.voxels & found.left.voxels).any()


def test_gas_below_the_diaphragm_is_no_lung():
    image, _, left = chest(gas=True)
    assert dice(lungs(image).left.voxels, left) > 0.96


def test_the_windpipe_is_no_lung():
    image, *_ = chest()
    found = lungs(image).labels.voxels > 0
    middle = SHAPE[1] // 2, SHAPE[2] // 2
    assert not found[35:, middle[0], middle[1]].any()


def test_a_tumour_inside_a_lung_is_filled_in_and_one_at_the_wall_does_not_lose_the_lung():
    image, _, left = chest()
    inside, at_wall = ellipsoid((0, 0, -75), (25, 25, 25)), ellipsoid((0, 40, 125), (45, 45, 45))
    image.voxels[inside | (at_wall & left)] = 40
    found = lungs(image)
    assert found.right.voxels[inside].all()
    assert dice(found.left.voxels, left & ~at_wall) > 0.95


def test_the_body_has_its_lungs_and_not_its_table():
    image, right, left = chest()
    mask = body(image).voxels
    assert mask[right | left].all()
    table = image.voxels > 150  # its 200 HU less a noise of 15
    assert not mask[table].any()


def test_air_alone_has_no_lungs_and_no_body():
    image = Volume.from_spacing(np.full((10, 20, 20), -1000, np.int16), (5.0, 5.0, 5.0))
    found = lungs(image)
    assert (found.right_ml, found.left_ml) == (0, 0)
    assert not body(image).voxels.any()
    assert reject_reason(found) == "lungs (classical): no right lung was found"


@pytest.mark.parametrize(
    ("right_ml", "left_ml", "components", "reason"),
    [
        (2000, 1800, 2, None),
        (2000, 0, 1, "no left lung was found"),
        (299, 1800, 2, "the right lung has 299 mL, less than 300"),
        (310, 1100, 2, "right to left is 0.28, outside 0.3 to 3"),
        (2000, 650, 2, "right to left is 3.08, outside 0.3 to 3"),
        (2000, 1800, 3, "3 pieces of 100 mL or more instead of two"),
    ],
)
def test_rejection_names_the_criterion(right_ml, left_ml, components, reason):
    masks = [np.arange(4000).reshape(10, 20, 20) < ml for ml in (right_ml, left_ml)]
    right, left = (Volume.from_spacing(m, (10.0, 10.0, 10.0)) for m in masks)
    found = reject_reason(Lungs(right, left, "classical", components))
    assert found == (None if reason is None else f"lungs (classical): {reason}")


def test_labels_are_one_for_the_right_and_two_for_the_left():
    right = Volume.from_spacing(np.zeros((1, 1, 3), bool), (1.0, 1.0, 1.0))
    left = right.with_voxels(np.array([[[False, False, True]]]))
    right.voxels[0, 0, 1] = True
    labels = Lungs(right, left, "drawn").labels.voxels
    assert (labels.tolist(), labels.dtype) == ([[[0, 1, 2]]], np.uint8)


@pytest.mark.slow
def test_agrees_with_the_lungs_drawn_for_radiotherapy(shared):
    data = lung1(root=shared / "data" / "nsclc_radiomics")
    scores = {}
    for name in ("LUNG1-001", "LUNG1-002"):
        case = data.load(name)
        found = lungs(case.image)
        assert reject_reason(found) is None
        for side in ("right", "left"):
            scores[name, side] = dice(getattr(found, side).voxels, case.mask(f"lung_{side}").voxels)
        both = ndimage.find_objects((found.labels.voxels > 0).astype(np.uint8))[0]
        # Windows over the box round both lungs never miss the tumour.
        assert case.mask().voxels[both].sum() == case.mask().voxels.sum()
    assert np.mean(list(scores.values())) >= 0.95
    assert min(scores.values()) >= 0.94, scores
