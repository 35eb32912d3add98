import gzip
import io
import zlib

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oncoseg.errors import InputError
from oncoseg.io import inflate, nifti
from oncoseg.volume import Volume

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "image.nii.gz"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int32, np.float32])
def test_round_trip_on_every_kind_of_grid(suffix, dtype, volume, tmp_path):
    written = volume.with_voxels(volume.voxels.astype(dtype))
    nifti.write(tmp_path / f"a{suffix}", written)
    read = nifti.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read.voxels, written.voxels)
    assert read.voxels.dtype == (np.uint8 if dtype is bool else dtype)
    assert read.same_grid(volume, 1e-3)


def test_nibabel_sees_the_same_voxel_at_the_same_place(volume, path):
    nifti.write(path, volume)
    other = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(other.dataobj), volume.voxels.transpose(2, 1, 0))
    index = np.array([3, 5, 2])
    lps = TO_LPS[:3, :3] @ nibabel.affines.apply_affine(other.affine, index[::-1])
    np.testing.assert_allclose(lps, volume.index_to_mm(index), atol=1e-4)


def test_qform_agrees_unless_the_grid_is_sheared(volume, path):
    nifti.write(path, volume)
    header = nibabel.load(path).header
    qform, code = header.get_qform(coded=True)
    if code:
        np.testing.assert_allclose(qform, header.get_sform(), atol=1e-3)
    else:
        steps = volume.affine[:3, :3]
        assert abs(steps[:, 0] @ steps[:, 1]) > 0.1


def test_files_with_permuted_axes_keep_their_order(path):
    # KiTS: the first axis of the file runs along z.
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    affine = np.array([[0, 0, -0.8, 10], [0, -0.8, 0, 20], [-3.0, 0, 0, 30], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    read = nifti.read(path)
    assert read.shape == (5, 4, 3)
    np.testing.assert_allclose(read.spacing, (0.8, 0.8, 3.0), rtol=1e-6)
    np.testing.assert_allclose(read.index_to_mm([4, 0, 2]), [-(10 - 3.2), -20, 24], atol=1e-4)
    assert read.voxels[4, 1, 2] == voxels[2, 1, 4]


def test_qform_alone_places_the_image(volume, path):
    if abs(volume.affine[:3, 0] @ volume.affine[:3, 1]) > 0.1:
        pytest.skip("a qform cannot hold shear")
    image = nibabel.Nifti1Image(volume.voxels.transpose(2, 1, 0), None)
    image.set_qform(TO_LPS @ volume.affine @ np.eye(4)[[2, 1, 0, 3]], code=1)
    image.set_sform(None, code=0)
    nibabel.save(image, path)
    assert nifti.read(path).same_grid(volume, 1e-3)


def test_nifti_2_and_big_endian(volume, tmp_path):
    affine = TO_LPS @ volume.affine @ np.eye(4)[[2, 1, 0, 3]]
    voxels = volume.voxels.transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti2Image(voxels, affine), tmp_path / "two.nii.gz")
    big = nibabel.Nifti1Image(voxels, affine, nibabel.Nifti1Header(endianness=">"))
    big.header.set_data_dtype(">i2")
    nibabel.save(big, tmp_path / "big.nii")
    for name in ("two.nii.gz", "big.nii"):
        read = nifti.read(tmp_path / name)
        np.testing.assert_array_equal(read.voxels, volume.voxels)
        assert read.voxels.dtype == np.int16
        assert read.same_grid(volume, 1e-3)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1, -1024, np.int16), (2, 3, np.int16), (0.5, 1, np.float32)]
)
def test_scaling(slope, intercept, dtype, tmp_path):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    read = nifti.read(tmp_path / "a.nii")
    assert read.voxels.dtype == dtype
    np.testing.assert_array_equal(read.voxels, stored.T * slope + intercept)


def test_a_fourth_axis_of_size_one_is_dropped(path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5, 1), np.int16), np.eye(4)), path)
    assert nifti.read(path).shape == (5, 4, 3)


def test_units_other_than_millimetres(path):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.diag([0.001, 0.001, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, path)
    np.testing.assert_allclose(nifti.read(path).spacing, (3, 1, 1), rtol=1e-6)


def test_equal_volumes_give_equal_bytes(axial, tmp_path):
    nifti.write(tmp_path / "a.nii.gz", axial)
    nifti.write(tmp_path / "b.nii.gz", axial)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_what_cannot_be_written_leaves_the_old_file(axial, path):
    nifti.write(path, axial)
    before = path.read_bytes()
    long = Volume(np.zeros((40000, 1, 1), np.uint8), np.eye(4))
    with pytest.raises(InputError, match="Cannot write"):
        nifti.write(path, long)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_several_gzip_members_and_a_lying_trailer(axial, tmp_path):
    nifti.write(tmp_path / "a.nii", axial)
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    np.testing.assert_array_equal(nifti.read(tmp_path / "b.nii.gz").voxels, axial.voxels)


# --- corrupted input --------------------------------------------------------------------------------------------------


def saved(path, voxels=None, affine=None):
    voxels = np.random.default_rng(0).integers(-900, 900, (16, 15, 14)).astype(np.int16) if voxels is None else voxels
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1, 3, 1]) if affine is None else affine), path)
    return path


def header_bytes(position, values, dtype):
    def edit(path):
        saved(path)
        content = bytearray(gzip.decompress(path.read_bytes()))
        patch = np.array(values, f"<{dtype}").tobytes()
        content[position : position + len(patch)] = patch
        path.write_bytes(gzip.compress(bytes(content)))

    return edit


def cut(path):
    content = saved(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path):
    content = bytearray(saved(path).read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def wrong_checksum(path):
    content = bytearray(saved(path).read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def cut_trailer(path):
    path.write_bytes(saved(path).read_bytes()[:-3])


def cut_inside(path):
    path.write_bytes(gzip.compress(gzip.decompress(saved(path).read_bytes())[:-100]))


def real_voxel(value):
    def edit(path):
        voxels = np.zeros((4, 5, 6), np.float32)
        voxels[1, 2, 3] = value
        saved(path, voxels)

    return edit


CORRUPTED = {
    "gzip cut in half": (cut, "truncated"),
    "gzip without the end of its trailer": (cut_trailer, "truncated"),
    "flipped bit in gzip": (flip, "damaged|truncated"),
    "wrong CRC": (wrong_checksum, "damaged"),
    "empty file": (lambda path: path.touch(), "is empty"),
    "missing file": (lambda path: None, "does not exist"),
    "voxels missing inside a whole gzip": (cut_inside, r"announces .* \(6720 bytes .* but 6620 bytes are there"),
    "dimensions of 32000": (header_bytes(42, [32000] * 3, "i2"), "announces 32000 x 32000 x 32000"),
    "negative dimension": (header_bytes(42, [-16], "i2"), "positive ones are needed"),
    "zero dimension": (header_bytes(44, [0], "i2"), "positive ones are needed"),
    "no dimensions": (header_bytes(40, [0], "i2"), "positive ones are needed"),
    "zero spacing": (header_bytes(80, [0.0], "f4"), "voxel size is"),
    "negative spacing": (header_bytes(84, [-1.0], "f4"), "voxel size is"),
    "NaN spacing": (header_bytes(88, [np.nan], "f4"), "voxel size is"),
    "NaN slope": (header_bytes(112, [np.nan], "f4"), "scl_slope nan"),
    "infinite intercept": (header_bytes(116, [np.inf], "f4"), "scl_inter inf"),
    "singular affine": (header_bytes(280, [0.0] * 4, "f4"), "affine is singular"),
    "NaN affine": (header_bytes(280, [np.nan], "f4"), "affine must be a finite"),
    "NaN voxel": (real_voxel(np.nan), "1 voxels that are NaN or infinite"),
    "infinite voxel": (real_voxel(np.inf), "1 voxels that are NaN or infinite"),
    "4D": (lambda path: saved(path, np.zeros((3, 4, 5, 2), np.int16)), "4 dimensions"),
    "colour": (header_bytes(70, [128], "i2"), "whole or real numbers"),
    "complex": (lambda path: saved(path, np.zeros((3, 4, 5), np.complex64)), "whole or real numbers"),
    "unknown type": (header_bytes(70, [9999], "i2"), "not valid NIfTI"),
    "no NIfTI": (lambda path: path.write_bytes(gzip.compress(b"hello " * 100)), "single-file NIfTI"),
    "no gzip": (lambda path: path.write_bytes(b"hello " * 100), "is not gzip data"),
    "a few bytes": (lambda path: path.write_bytes(gzip.compress(b"hello")), "no NIfTI file"),
}


@pytest.mark.parametrize(("corrupt", "reason"), CORRUPTED.values(), ids=CORRUPTED.keys())
def test_corrupted_files_are_refused_by_name_and_reason(corrupt, reason, path):
    corrupt(path)
    with pytest.raises(InputError, match=reason) as caught:
        nifti.read(path)
    assert "image.nii.gz" in str(caught.value)


def test_a_truncated_uncompressed_file(axial, tmp_path):
    nifti.write(tmp_path / "a.nii", axial)
    content = (tmp_path / "a.nii").read_bytes()
    for left in (3, 200, 350, len(content) - 1):
        (tmp_path / "a.nii").write_bytes(content[:left])
        with pytest.raises(InputError, match=r"a\.nii"):
            nifti.read(tmp_path / "a.nii")


def test_a_sibling_without_gz_is_never_read_instead(axial, tmp_path):
    nifti.write(tmp_path / "a.nii", axial.with_voxels(axial.voxels + 1))
    nifti.write(tmp_path / "a.nii.gz", axial)
    np.testing.assert_array_equal(nifti.read(tmp_path / "a.nii.gz").voxels, axial.voxels)


def test_a_gzip_bomb_stops_at_the_limit(path, monkeypatch):
    monkeypatch.setattr(inflate, "MAX_BYTES", 1 << 20)
    path.write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(InputError, match="inflates to more than"):
        nifti.read(path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2000), value=st.integers(0, 255), length=st.integers(0, 2000))
def test_no_damage_to_a_gzip_yields_other_voxels(position, value, length, path, axial):
    nifti.write(path, axial)
    good = path.read_bytes()
    bad = bytearray(good)
    bad[position % len(bad)] = value
    bad = bad[: len(bad) - length]
    path.write_bytes(bad)
    try:
        read = nifti.read(path)
    except InputError:
        return
    # Time, name and system in the gzip head mean nothing; everything else must be found out.
    np.testing.assert_array_equal(read.voxels, axial.voxels)
    assert length == 0


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_headers_are_read_or_refused_never_worse(mutations, tmp_path, axial):
    nifti.write(tmp_path / "a.nii", axial)
    content = bytearray((tmp_path / "a.nii").read_bytes())
    for position, value in mutations:
        content[position] = value
    (tmp_path / "a.nii").write_bytes(content)
    try:
        read = nifti.read(tmp_path / "a.nii")
    except InputError:
        return
    assert np.isfinite(read.voxels).all()


@pytest.mark.parametrize("field", ["vox_offset", "scl_slope", "pixdim", "srow_x", "quatern_b"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_header_numbers_that_are_none_are_refused_or_harmless(field, value, tmp_path, axial):
    nifti.write(tmp_path / "a.nii", axial)
    content = bytearray((tmp_path / "a.nii").read_bytes())
    header = nibabel.Nifti1Header.from_fileobj(io.BytesIO(bytes(content)), check=False)
    header[field] = value
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(content[348:]))
    if field == "vox_offset" or (not np.isfinite(value) and field != "quatern_b"):  # the sform decides
        with pytest.raises(InputError, match=r"a\.nii"):
            nifti.read(tmp_path / "a.nii")
        return
    try:
        read = nifti.read(tmp_path / "a.nii")
    except InputError:
        return
    assert np.isfinite(read.voxels).all()
    assert np.isfinite(read.affine).all()


def test_deflate_is_gzip(axial):
    content = axial.voxels.tobytes()
    assert zlib.decompress(inflate.deflate(content), 31) == content


def test_real_files_agree_with_nibabel(shared):
    files = sorted((shared / "data" / "lidc_voi" / "image").glob("*.nii.gz"))[:10]
    files += sorted((shared / "data" / "sts_ibsi").rglob("CT_*.nii.gz"))[:4]
    assert files
    for file in files:
        read, other = nifti.read(file), nibabel.load(file)
        np.testing.assert_allclose(read.voxels, np.asarray(other.dataobj).T, rtol=1e-6)
        corner = np.array(read.shape) - 1
        lps = TO_LPS[:3, :3] @ nibabel.affines.apply_affine(other.affine, corner[::-1])
        np.testing.assert_allclose(read.index_to_mm(corner), lps, atol=1e-3)
