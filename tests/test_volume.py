import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from oncoseg.errors import GridMismatchError, InputError
from oncoseg.volume import Volume


def oblique(shape=(5, 6, 7), spacing=(3.0, 0.8, 0.7), angles=(20, -15, 40), origin=(-120.0, 33.0, -700.0)):
    axial = Volume.from_spacing(np.zeros(shape, np.float32), spacing)
    affine = axial.affine.copy()
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = origin
    return Volume(axial.voxels, affine)


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(0.3, 6)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
    st.tuples(*[st.floats(-50, 600)] * 3),
)
def test_index_and_mm_are_inverse_on_any_oblique_grid(angles, spacing, origin, index):
    volume = oblique(spacing=spacing, angles=angles, origin=origin)
    np.testing.assert_allclose(volume.mm_to_index(volume.index_to_mm(index)), index, atol=1e-6)
    np.testing.assert_allclose(volume.spacing, spacing, rtol=1e-9)


def test_axial_volume_has_columns_along_x_rows_along_y_slices_along_z():
    volume = Volume.from_spacing(np.zeros((2, 3, 4)), spacing=(5.0, 2.0, 1.0), origin_mm=(10, 20, 30))
    assert volume.index_to_mm([1, 2, 3]).tolist() == [13.0, 24.0, 35.0]
    assert volume.voxel_volume_mm3 == pytest.approx(10.0)


def test_positions_may_have_any_number_of_leading_axes():
    volume = oblique()
    many = np.arange(24, dtype=float).reshape(2, 4, 3)
    assert volume.index_to_mm(many).shape == (2, 4, 3)
    np.testing.assert_allclose(volume.mm_to_index(volume.index_to_mm(many)), many, atol=1e-9)


def test_voxel_volume_of_a_tilted_gantry_is_that_of_the_sheared_cell():
    volume = Volume.from_spacing(np.zeros((4, 4, 4)), (2.0, 1.0, 1.0))
    sheared = volume.affine.copy()
    sheared[1, 0] = 1.0
    assert Volume(volume.voxels, sheared).voxel_volume_mm3 == pytest.approx(2.0)


def test_crop_stays_in_its_place_of_the_patient():
    volume = oblique()
    cropped = volume.crop((1, 2, 3), (4, 5, 7))
    assert cropped.shape == (3, 3, 4)
    np.testing.assert_allclose(cropped.index_to_mm([0, 0, 0]), volume.index_to_mm([1, 2, 3]))


@pytest.mark.parametrize(("start", "stop"), [((-1, 0, 0), (2, 2, 2)), ((0, 0, 0), (9, 2, 2)), ((2, 2, 2), (2, 3, 3))])
def test_crop_outside_or_empty_is_refused(start, stop):
    with pytest.raises(InputError, match="not inside"):
        oblique().crop(start, stop)


def test_same_grid_tolerates_rounding_but_not_a_shift():
    volume = oblique()
    nudged, shifted = volume.affine.copy(), volume.affine.copy()
    nudged[0, 3] += 1e-3
    shifted[0, 3] += 0.5
    assert volume.same_grid(Volume(volume.voxels, nudged))
    assert not volume.same_grid(Volume(volume.voxels, shifted))
    with pytest.raises(GridMismatchError, match="reference and prediction are not on the same grid"):
        volume.require_same_grid(Volume(volume.voxels, shifted), "reference and prediction")


def test_rotation_that_keeps_the_first_voxel_is_another_grid():
    volume = oblique()
    turned = oblique(angles=(20, -15, 41))
    assert not volume.same_grid(turned)


@pytest.mark.parametrize(
    "affine",
    [np.zeros((4, 4)), np.diag([1.0, 0.0, 1.0, 1.0]), np.full((4, 4), np.nan), np.eye(3)],
    ids=["zero", "flat axis", "nan", "3x3"],
)
def test_affine_that_gives_voxels_no_volume_is_refused(affine):
    with pytest.raises(InputError):
        Volume(np.zeros((2, 2, 2)), affine)


def test_parallel_axes_are_refused():
    affine = np.eye(4)
    affine[:3, 1] = affine[:3, 0]
    with pytest.raises(InputError, match="singular"):
        Volume(np.zeros((2, 2, 2)), affine)


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4, 5), (0, 3, 3)])
def test_arrays_that_are_no_volume_are_refused(shape):
    with pytest.raises(InputError):
        Volume(np.zeros(shape), np.eye(4))


@pytest.mark.parametrize("spacing", [(0, 1, 1), (-1, 1, 1), (np.nan, 1, 1), (1, 1)])
def test_spacing_must_be_three_positive_numbers(spacing):
    with pytest.raises(InputError, match="Spacing"):
        Volume.from_spacing(np.zeros((2, 2, 2)), spacing)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_number_are_named(bad):
    voxels = np.zeros((2, 2, 2), np.float32)
    voxels[1, 0, 1] = bad
    with pytest.raises(InputError, match=r"ct.nii has 1 voxels"):
        Volume(voxels, np.eye(4)).require_finite("ct.nii")


def test_opposite_infinities_do_not_cancel():
    voxels = np.zeros((2, 2, 2), np.float32)
    voxels[0, 0, :] = np.inf, -np.inf
    with pytest.raises(InputError, match="2 voxels"):
        Volume(voxels, np.eye(4)).require_finite("ct.nii")
