import numpy as np
import pytest

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.io.dicom import read_image
from oncoseg.io.rtstruct import read_rois
from oncoseg.measurements import measure
from oncoseg.preprocess.lungs import lungs as find_lungs
from oncoseg.volume import Volume

SPACING = (3.0, 0.8, 0.5)


def on_grid(voxels, spacing=SPACING):
    return Volume.from_spacing(voxels, spacing, (-10.0, 20.0, 100.0))


def ellipse(shape, centre, radii_mm, spacing, turn=0.0):
    row, column = np.indices(shape)
    y, x = (row - centre[0]) * spacing[1], (column - centre[1]) * spacing[2]
    u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    return (u / radii_mm[0]) ** 2 + (v / radii_mm[1]) ** 2 <= 1


def test_a_single_voxel_is_as_wide_as_itself():
    voxels = np.zeros((3, 5, 6), bool)
    voxels[1, 2, 4] = True
    (lesion,) = measure(on_grid(voxels))
    assert lesion.volume_mm3 == pytest.approx(3.0 * 0.8 * 0.5)
    assert (lesion.long_axis.length_mm, lesion.short_axis.length_mm) == (pytest.approx(0.8), pytest.approx(0.5))
    assert lesion.long_axis.start[1] == lesion.long_axis.end[1] == 4
    assert sorted([lesion.long_axis.start[0], lesion.long_axis.end[0]]) == [1.5, 2.5]
    assert (lesion.slice_index, lesion.slices, lesion.mean) == (1, 1, None)
    assert lesion.centre_mm == pytest.approx((-10 + 4 * 0.5, 20 + 2 * 0.8, 100 + 3.0))


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.2, np.pi / 2, 2.5])
def test_the_axes_of_an_ellipse_are_found_in_every_direction(turn):
    voxels = np.zeros((5, 120, 180), bool)
    voxels[2] = ellipse((120, 180), (60, 90), (30.0, 18.0), SPACING, turn)
    voxels[3] = ellipse((120, 180), (60, 90), (20.0, 18.0), SPACING, turn)
    (lesion,) = measure(on_grid(voxels))
    assert lesion.slice_index == 2
    assert lesion.long_axis.length_mm == pytest.approx(60, abs=0.8)
    assert lesion.short_axis.length_mm == pytest.approx(36, abs=0.8)
    direction = [np.subtract(a.end, a.start) * SPACING[1:] for a in (lesion.long_axis, lesion.short_axis)]
    assert direction[0] @ direction[1] == pytest.approx(0, abs=1e-6)
    for axis, across in zip((lesion.long_axis, lesion.short_axis), direction, strict=True):
        assert np.linalg.norm(across) == pytest.approx(axis.length_mm)


def test_a_bar_is_measured_over_its_diagonal():
    voxels = np.zeros((1, 10, 20), bool)
    voxels[0, 3:5, 4:16] = True
    (lesion,) = measure(on_grid(voxels, (1.0, 1.0, 1.0)))
    # Half-level outline: the corners of a 12 x 2 bar are cut, its longest line runs from (0.5, 0) to (-0.5, 12) off.
    assert lesion.long_axis.length_mm == pytest.approx(np.hypot(12, 1))
    assert 1.9 < lesion.short_axis.length_mm < 2.1


def test_lesions_are_numbered_from_the_largest():
    voxels = np.zeros((6, 30, 30), bool)
    voxels[1:3, 2:5, 2:5] = voxels[3:6, 15:25, 15:25] = True
    large, small = measure(on_grid(voxels))
    assert (large.number, small.number) == (1, 2)
    assert large.volume_mm3 == pytest.approx(300 * 1.2)
    assert small.millilitres == pytest.approx(18 * 1.2 / 1000)


def test_parts_of_a_lesion_that_are_apart_on_a_slice_are_not_bridged():
    voxels = np.zeros((3, 10, 40), bool)
    voxels[0, 5, 2:38] = False
    voxels[0, 5, 2:5] = voxels[0, 5, 35:38] = True
    voxels[1, 5, 2:38] = True
    voxels[1, 5, 20] = True
    (lesion,) = measure(on_grid(voxels, (1.0, 1.0, 1.0)))
    assert lesion.slice_index == 1
    without_bridge = measure(on_grid(voxels[:1], (1.0, 1.0, 1.0)))
    assert [lesion.long_axis.length_mm for lesion in without_bridge] == [pytest.approx(3.0)] * 2


def test_the_mean_is_of_the_image_inside_the_lesion():
    voxels = np.zeros((2, 6, 6), bool)
    voxels[0, 1:3, 1:3] = True
    image = on_grid(np.where(voxels, 40, -1000).astype(np.int16))
    image.voxels[0, 1, 1] = 80
    (lesion,) = measure(on_grid(voxels), image)
    assert lesion.mean == pytest.approx(50)
    assert lesion.deviation == pytest.approx(np.std([80, 40, 40, 40]))


def test_an_empty_mask_has_no_measurement():
    assert measure(on_grid(np.zeros((2, 3, 4), bool))) == []


def test_an_image_on_another_grid_is_refused():
    with pytest.raises(GridMismatchError):
        measure(on_grid(np.ones((2, 3, 4), bool)), on_grid(np.ones((2, 3, 5))))


def test_parts_in_one_row_are_told_apart():
    voxels = np.zeros((2, 1, 9), bool)
    voxels[0, 0, [1, 4, 5, 7]] = voxels[1, 0, 1:8] = True
    (lesion,) = measure(on_grid(voxels))
    assert lesion.long_axis.length_mm == pytest.approx(np.hypot(7 * 0.5, 0.0))


def lungs(shape=(40, 60, 90)):
    """The patient's right lung on low columns (x grows to the left), the left one shorter."""
    labels = np.zeros(shape, np.uint8)
    labels[2:38, 10:50, 5:36], labels[8:38, 10:50, 55:85] = 1, 2
    return on_grid(labels, (5.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ((4, 30, 20), "right lung, lower third"),
        ((20, 30, 20), "right lung, middle third"),
        ((36, 30, 70), "left lung, upper third"),
        ((17, 30, 70), "left lung, lower third"),  # 9 of the 29 steps of the left lung
        ((20, 30, 39), "right lung, middle third"),  # beside it, as masks leave dense tumours out
    ],
)
def test_a_lesion_is_in_the_lung_and_third_that_surround_it(index, expected):
    mask = np.zeros((40, 60, 90), bool)
    mask[index] = True
    (lesion,) = measure(on_grid(mask, (5.0, 2.0, 2.0)), lungs=lungs())
    assert str(lesion.location) == expected


@pytest.mark.parametrize("index", [(20, 30, 45), (0, 59, 89), (39, 0, 0)], ids=["between", "beside", "above"])
def test_a_lesion_between_the_lungs_or_away_from_them_has_no_location(index):
    mask = np.zeros((40, 60, 90), bool)
    mask[index] = True
    far = lungs()
    far = far.with_voxels(np.where(np.indices(far.shape)[1] < 35, far.voxels, 0).astype(np.uint8))
    far.voxels[30:] = 0
    (lesion,) = measure(on_grid(mask, (5.0, 2.0, 2.0)), lungs=far)
    assert lesion.location is None


def test_lungs_of_other_labels_are_refused():
    wrong = lungs()
    wrong.voxels[0, 0, 0] = 5
    with pytest.raises(InputError, match="labels 0, 1, 2, 5"):
        measure(on_grid(np.ones((40, 60, 90), bool), (5.0, 2.0, 2.0)), lungs=wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patient", "expected"), [("LUNG1-001", "left lung, middle third"), ("LUNG1-002", "right lung, lower third")]
)
def test_published_tumours_lie_where_drawn_lungs_and_found_ones_say(shared, patient, expected):
    folder = shared / "data" / "nsclc_radiomics" / patient
    image = read_image(folder / "CT")
    rois = read_rois(next((folder / "RTSTRUCT").glob("*.dcm")), image)
    drawn = np.zeros(image.shape, np.uint8)
    for name, mask in rois.items():
        for label, ends in ((1, ("Right", " R")), (2, ("Left", " L"))):
            if name.startswith("Lung") and name.endswith(ends):
                drawn[mask.voxels] = label
    assert set(np.unique(drawn)) == {0, 1, 2}
    for labels in (image.with_voxels(drawn), find_lungs(image).labels):
        (lesion,) = measure(rois["GTV-1"], image, labels)
        assert str(lesion.location) == expected
