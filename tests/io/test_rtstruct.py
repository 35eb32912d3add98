import time

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncoseg.errors import InputError, UnknownNameError
from oncoseg.io.dicom import choose_image, find_series, read_series
from oncoseg.io.polygons import fill
from oncoseg.io.rtstruct import read_rois, references, roi_names
from oncoseg.volume import Volume


@pytest.fixture
def image(volume):
    """Larger slices than the small volume, on each kind of grid."""
    return Volume(np.zeros((5, 20, 24), np.int16), volume.affine)


@pytest.fixture
def drawn(mock, tmp_path):
    """Write contours as ROI 'GTV-1' and read its mask back."""

    def draw(contours, image, **options):
        path = mock.write_rtstruct(tmp_path / "rt.dcm", {"GTV-1": contours}, **options)
        return read_rois(path, image)["GTV-1"].voxels

    return draw


def block(shape, slice_index, rows, columns):
    mask = np.zeros(shape, bool)
    mask[slice_index, slice(*rows), slice(*columns)] = True
    return mask


def test_a_square_holds_the_voxels_whose_centres_it_encloses(image, mock, drawn):
    mask = drawn([mock.square((2, 8, 10), 3.4, image)], image)
    np.testing.assert_array_equal(mask, block(image.shape, 2, (5, 12), (7, 14)))


def test_masks_share_the_grid_of_the_image(image, mock, tmp_path):
    path = mock.write_rtstruct(tmp_path / "rt.dcm", {"a": [mock.square((1, 8, 8), 2, image)]})
    mask = read_rois(path, image)["a"]
    assert mask.same_grid(image)
    assert mask.voxels.dtype == bool


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_inside_another_is_a_hole_and_one_inside_that_an_island(kind, image, mock, drawn):
    rings = [mock.square((2, 9, 9), half, image) for half in (7.4, 4.4, 1.4)]
    expected = (
        block(image.shape, 2, (2, 17), (2, 17))
        ^ block(image.shape, 2, (5, 14), (5, 14))
        ^ block(image.shape, 2, (8, 11), (8, 11))
    )
    np.testing.assert_array_equal(drawn(rings, image, kind=kind), expected)


def test_a_keyhole_is_a_hole(image, mock, drawn):
    outer, hole = mock.square((2, 9, 9), 6.4, image), mock.square((2, 9, 9), 2.4, image)[::-1]
    keyhole = np.vstack([outer, outer[:1], hole, hole[:1]])
    expected = block(image.shape, 2, (3, 16), (3, 16)) ^ block(image.shape, 2, (7, 12), (7, 12))
    np.testing.assert_array_equal(drawn([keyhole], image), expected)


def test_repeated_contours_count_once(image, mock, drawn):
    contour = mock.square((2, 8, 10), 3.4, image)
    expected = block(image.shape, 2, (5, 12), (7, 14))
    np.testing.assert_array_equal(drawn([contour, contour], image), expected)
    np.testing.assert_array_equal(drawn([contour, np.roll(contour, 2, axis=0), contour[::-1]], image), expected)


def test_the_same_contour_on_two_slices_is_no_repetition(image, mock, drawn):
    mask = drawn([mock.square((k, 8, 10), 3.4, image) for k in (1, 2)], image)
    assert mask.sum(axis=(1, 2)).tolist() == [0, 49, 49, 0, 0]


def test_contours_with_and_without_image_reference_are_placed_by_position(image, mock, drawn):
    contour = mock.square((3, 8, 10), 3.4, image)
    np.testing.assert_array_equal(drawn([contour], image, refers_to="1.2.3.99"), drawn([contour], image))


@pytest.mark.parametrize("half", [0.0, 0.01, 0.3])
def test_sub_pixel_contours_keep_the_covering_voxel(half, image, mock, drawn):
    mask = drawn([mock.square((2, 8.4, 10.3), half, image)], image)
    assert np.argwhere(mask).tolist() == [[2, 8, 10]]


def test_a_single_point_contour_keeps_its_voxel_and_opens_no_hole(image, mock, drawn):
    point = image.index_to_mm([[2, 8.2, 10.1]])
    assert np.argwhere(drawn([point], image)).tolist() == [[2, 8, 10]]
    around = mock.square((2, 8, 10), 3.4, image)
    np.testing.assert_array_equal(drawn([around, point], image), drawn([around], image))


def test_contours_are_cut_at_the_border_of_the_slice(image, mock, drawn):
    mask = drawn([mock.square((2, 0, 0), 3.4, image)], image)
    np.testing.assert_array_equal(mask, block(image.shape, 2, (0, 4), (0, 4)))


def test_edges_through_voxel_centres_belong_to_one_neighbour_only(image, mock, drawn):
    left, right = mock.square((2, 8, 6), 3, image), mock.square((2, 8, 12), 3, image)
    assert not (drawn([left], image) & drawn([right], image)).any()
    assert drawn([left], image).sum() == drawn([right], image).sum() == 36


def test_empty_roi_is_an_empty_mask(image, drawn):
    assert not drawn([], image).any()


def test_points_are_left_out(image, mock, tmp_path):
    path = mock.write_rtstruct(tmp_path / "rt.dcm", {"Isocentre": [image.index_to_mm([[1, 2, 3]])]}, kind="POINT")
    assert roi_names(path) == ["Isocentre"]
    assert read_rois(path, image) == {}


def test_pattern_chooses_without_regard_to_case(axial, mock, tmp_path):
    contour = [mock.square((2, 8, 6), 2, axial)]
    path = mock.write_rtstruct(tmp_path / "rt.dcm", {"GTV-1": contour, "gtv-2": contour, "Lung": contour})
    assert list(read_rois(path, axial, pattern="^gtv-?1$")) == ["GTV-1"]
    assert list(read_rois(path, axial, pattern="^gtv")) == ["GTV-1", "gtv-2"]
    with pytest.raises(UnknownNameError, match="Lung"):
        read_rois(path, axial, pattern="^heart")
    with pytest.raises(InputError, match="regular expression"):
        read_rois(path, axial, pattern="gtv(")


def test_references_name_study_series_and_frame(mock, tmp_path):
    found = references(mock.write_rtstruct(tmp_path / "rt.dcm", {"a": []}))
    assert (found.study, found.series, found.frames_of_reference) == (mock.STUDY, {mock.SERIES}, {mock.FRAME})


def test_a_foreign_frame_of_reference_is_refused(axial, mock, tmp_path):
    path = mock.write_rtstruct(tmp_path / "rt.dcm", {"a": [mock.square((2, 8, 6), 2, axial)]}, frame="9.9")
    assert "a" in read_rois(path, axial, frame_of_reference="9.9")
    with pytest.raises(InputError, match=r"'a' was drawn in frame of reference 9\.9, the image has 1\.2\.3\.1"):
        read_rois(path, axial, frame_of_reference=mock.FRAME)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((2.5, 8, 6), r"ROI 'GTV-1': the contour at .* lies 1\.5 mm beside the nearest slice"),
        ((7, 8, 6), "outside the image"),
        ((-1, 8, 6), "outside the image"),
        ((2, 40, 6), "outside the image"),
        ((2, 8, -30), "outside the image"),
    ],
)
def test_contours_off_the_grid_are_refused(place, message, axial, mock, drawn):
    with pytest.raises(InputError, match=message):
        drawn([mock.square(place, 2, axial)], axial)


def test_contours_across_slices_are_refused(axial, drawn):
    with pytest.raises(InputError, match="not in the plane of the slices"):
        drawn([axial.index_to_mm([[1, 2, 2], [2, 8, 2], [3, 8, 8]])], axial)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_accepted(axial, mock, drawn):
    contour = mock.square((2, 8, 6), 3.4, axial) + np.array([0, 0, 0.09])
    assert drawn([contour], axial).sum() == 49


def test_open_contours_are_refused(axial, mock, drawn):
    with pytest.raises(InputError, match="type OPEN_PLANAR, which encloses nothing"):
        drawn([mock.square((2, 8, 6), 2, axial)], axial, kind="OPEN_PLANAR")


def test_coordinates_that_do_not_fit_their_count_are_refused(axial, mock, tmp_path):
    made = mock.rtstruct({"a": [mock.square((2, 8, 6), 2, axial)]})
    made.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 5
    made.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="12 coordinates for 5 points"):
        read_rois(tmp_path / "rt.dcm", axial)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_truncated_files_are_refused(share, axial, mock, tmp_path):
    contours = [mock.square((k, 8, 6), half, axial) for k in range(6) for half in (2.2, 3.3)]
    path = mock.write_rtstruct(tmp_path / "rt.dcm", {"a": contours, "b": contours})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"rt\.dcm"):
        read_rois(path, axial)


def test_other_objects_are_refused(axial, mock, tmp_path):
    path = mock.write_ct(tmp_path, axial)[0]
    with pytest.raises(InputError, match="is not an RTSTRUCT"):
        roi_names(path)
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="is empty"):
        roi_names(tmp_path / "empty")


COORDINATE = st.integers(-24, 120).map(lambda eighths: eighths / 8)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9))
def test_fill_agrees_with_counting_crossings_for_each_centre(vertices):
    points = np.array(vertices)
    patch = fill(points, (12, 10))
    mask = np.zeros((12, 10), bool)
    height, width = patch.inside.shape
    mask[patch.row : patch.row + height, patch.column : patch.column + width] = patch.inside
    for row in range(12):
        for column in range(10):
            assert mask[row, column] == _inside(points, row, column)


def _inside(points, row, column):
    inside = False
    for first, second in zip(points, np.roll(points, -1, axis=0), strict=True):
        (r0, c0), (r1, c1) = sorted([tuple(first), tuple(second)])
        if r0 <= row < r1 and c0 + (row - r0) * (c1 - c0) / (r1 - r0) <= column:
            inside = not inside
    return inside


def _millilitres(mask):
    return mask.voxels.sum() * mask.voxel_volume_mm3 / 1000


@pytest.mark.parametrize(
    ("case", "file", "volumes"),
    [
        ("LUNG1-001", "1-1.dcm", {"GTV-1": 156, "Lung-Left": 2277, "Lung-Right": 2966}),
        ("LUNG1-002", "1.dcm", {"GTV-1": 359, "Lung L": 1965}),
    ],
)
def test_real_contours_have_their_known_volumes(case, file, volumes, shared):
    folder = shared / "data" / "nsclc_radiomics" / case
    series = choose_image(find_series(folder), folder)
    image = read_series(series)
    path = folder / "RTSTRUCT" / file
    assert references(path).series == {series.uid}
    for name, expected in volumes.items():
        began = time.perf_counter()
        masks = read_rois(path, image, pattern=f"^{name}$", frame_of_reference=series.frame_of_reference)
        assert time.perf_counter() - began < 2
        assert _millilitres(masks[name]) == pytest.approx(expected, rel=0.01)


def test_the_same_contours_without_image_references_give_the_same_mask(shared, tmp_path):
    folder = shared / "data" / "nsclc_radiomics" / "LUNG1-001"
    image = read_series(choose_image(find_series(folder), folder))
    dataset = pydicom.dcmread(folder / "RTSTRUCT" / "1-1.dcm")
    for roi in dataset.ROIContourSequence:
        for contour in roi.ContourSequence:
            del contour.ContourImageSequence
    dataset.save_as(tmp_path / "rt.dcm")
    with_references = read_rois(folder / "RTSTRUCT" / "1-1.dcm", image, pattern="GTV")["GTV-1"]
    without = read_rois(tmp_path / "rt.dcm", image, pattern="GTV")["GTV-1"]
    np.testing.assert_array_equal(with_references.voxels, without.voxels)


def test_a_file_that_is_no_dicom_is_said_to_be_none(image, tmp_path):
    (tmp_path / "rt.dcm").write_bytes(b"hello" * 100)
    with pytest.raises(InputError, match=r"rt\.dcm.* it is not a DICOM file") as refused:
        read_rois(tmp_path / "rt.dcm", image)
    assert "force" not in str(refused.value)


def test_the_direction_of_a_contour_does_not_matter(image, mock, drawn):
    outer, inner = mock.square((2, 4, 4), 3.2, image), mock.square((2, 4, 4), 1.2, image)
    expected = drawn([outer, inner], image)
    for turned in ([outer[::-1], inner], [outer, inner[::-1]], [inner[::-1], outer[::-1]]):
        np.testing.assert_array_equal(drawn(turned, image), expected)


def test_a_repeated_first_point_changes_nothing(image, mock, drawn):
    square = mock.square((2, 4, 4), 2.2, image)
    np.testing.assert_array_equal(drawn([np.concatenate([square, square[:1]])], image), drawn([square], image))


def test_rois_of_one_name_are_told_apart_by_their_numbers(axial, mock, tmp_path):
    made = mock.rtstruct({"GTV": [mock.square((1, 4, 4), 2.2, axial)], "B": [mock.square((3, 4, 4), 2.2, axial)]})
    made.StructureSetROISequence[1].ROIName = "GTV"
    made.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    found = read_rois(tmp_path / "rt.dcm", axial)
    assert list(found) == ["GTV", "GTV (2)"]
    assert [int(np.flatnonzero(m.voxels.any(axis=(1, 2)))[0]) for m in found.values()] == [1, 3]


#: What vendors leave out or write in their own way, and that does not matter to a mask.
VARIANTS = {
    "no type of contour": lambda contour, _: contour.__delattr__("ContourGeometricType"),
    "no number of points": lambda contour, _: contour.__delattr__("NumberOfContourPoints"),
    "old spelling of XOR": lambda contour, _: contour.__setattr__("ContourGeometricType", "CLOSEDPLANAR_XOR"),
    "no frame in the ROI": lambda _, made: made.StructureSetROISequence[0].__delattr__("ReferencedFrameOfReferenceUID"),
    "no frames at all": lambda _, made: made.__delattr__("ReferencedFrameOfReferenceSequence"),
    "no name of the ROI": lambda _, made: made.StructureSetROISequence[0].__delattr__("ROIName"),
    "ROI without contours": lambda _, made: made.StructureSetROISequence.append(_another_roi()),
    "sixteen characters with spaces": lambda contour, _: contour.__setattr__(
        "ContourData", [f"{float(v):.6g} " for v in contour.ContourData]
    ),
}


def _another_roi():
    roi = pydicom.Dataset()
    roi.ROINumber, roi.ROIName = 7, "empty"
    return roi


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS.keys())
def test_variants_of_vendors_give_the_same_mask(change, axial, mock, tmp_path):
    square = mock.square((2, 4, 4), 2.2, axial)
    expected = read_rois(mock.write_rtstruct(tmp_path / "a.dcm", {"GTV": [square]}), axial)["GTV"]
    made = mock.rtstruct({"GTV": [square]})
    change(made.ROIContourSequence[0].ContourSequence[0], made)
    made.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    first, *_ = read_rois(tmp_path / "b.dcm", axial, frame_of_reference=mock.FRAME).values()
    np.testing.assert_array_equal(first.voxels, expected.voxels)
