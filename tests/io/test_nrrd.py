import nrrd as pynrrd
import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.io import nrrd
from oncoseg.volume import Volume


@pytest.fixture
def path(tmp_path):
    return tmp_path / "image.nrrd"


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_round_trip_on_every_kind_of_grid(dtype, volume, path):
    written = volume.with_voxels(volume.voxels.astype(dtype))
    nrrd.write(path, written)
    read = nrrd.read(path)
    np.testing.assert_array_equal(read.voxels, written.voxels)
    assert read.voxels.dtype == (np.uint8 if dtype is bool else dtype)
    assert read.same_grid(volume, 1e-6)


def test_pynrrd_sees_the_same_voxel_at_the_same_place(volume, path):
    nrrd.write(path, volume)
    voxels, header = pynrrd.read(str(path))
    np.testing.assert_array_equal(voxels, volume.voxels.transpose(2, 1, 0))
    lps = np.array([2, 5, 3]) @ header["space directions"] + header["space origin"]
    np.testing.assert_allclose(lps, volume.index_to_mm([3, 5, 2]), atol=1e-6)


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("LPS", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
    ],
)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_spaces_and_encodings(space, signs, encoding, volume, path):
    directions = (volume.affine[:3, :3] * np.array(signs)[:, None])[:, ::-1].T
    header = {
        "space": space,
        "space directions": directions,
        "space origin": volume.affine[:3, 3] * signs,
        "encoding": encoding,
    }
    pynrrd.write(str(path), volume.voxels, header, index_order="C")
    read = nrrd.read(path)
    np.testing.assert_array_equal(read.voxels, volume.voxels)
    assert read.same_grid(volume, 1e-6)


def test_spacings_without_a_space_are_axial(path):
    pynrrd.write(str(path), np.zeros((5, 4, 3), np.int16), {"spacings": [0.8, 0.9, 3.0]}, index_order="C")
    assert nrrd.read(path).spacing == pytest.approx((3.0, 0.9, 0.8))


def test_detached_data_beside_the_header(axial, tmp_path):
    header = {"space": "LPS", "space directions": axial.affine[:3, 2::-1].T, "space origin": axial.affine[:3, 3]}
    pynrrd.write(str(tmp_path / "a.nhdr"), axial.voxels, header, index_order="C")
    read = nrrd.read(tmp_path / "a.nhdr")
    np.testing.assert_array_equal(read.voxels, axial.voxels)
    assert read.same_grid(axial)


def test_data_files_elsewhere_are_refused(axial, tmp_path):
    header = {"space": "LPS", "space directions": axial.affine[:3, 2::-1].T, "space origin": axial.affine[:3, 3]}
    (tmp_path / "sub").mkdir()
    pynrrd.write(str(tmp_path / "sub" / "a.nhdr"), axial.voxels, header, index_order="C")
    text = (tmp_path / "sub" / "a.nhdr").read_text()
    (tmp_path / "b.nhdr").write_text(text.replace("data file: a", "data file: sub/a"))
    with pytest.raises(InputError, match="is not beside it"):
        nrrd.read(tmp_path / "b.nhdr")


def plain(path, **header):
    fields = {"space": "LPS", "space directions": np.diag([1.0, 1, 3]), "space origin": [0, 0, 0], **header}
    voxels = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16)
    pynrrd.write(str(path), voxels, {k: v for k, v in fields.items() if v is not None}, index_order="C")
    return path


def cut(share):
    def edit(path):
        content = plain(path).read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return edit


def replaced(old, new):
    def edit(path):
        content = plain(path).read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return edit


def flipped(path):
    content = bytearray(plain(path).read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)


CORRUPTED = {
    "empty": (lambda path: path.touch(), "is empty"),
    "missing": (lambda path: None, "does not exist"),
    "no NRRD": (lambda path: path.write_bytes(b"hello\n"), "no NRRD file"),
    "half": (cut(0.5), "truncated|damaged"),
    "last bytes": (cut(0.99), "truncated"),
    "header only": (cut(0.1), "no NRRD file|space|damaged"),
    "wrong CRC": (flipped, "damaged"),
    "raw, short": (lambda path: path.write_bytes(plain(path, encoding="raw").read_bytes()[:-9]), "NRRD file|damaged"),
    "sizes lie": (replaced(b"sizes: 7 6 5", b"sizes: 7 6 9"), "Size of the data"),
    "negative size": (replaced(b"sizes: 7 6 5", b"sizes: -7 6 5"), "must be positive"),
    "2D": (replaced(b"dimension: 3", b"dimension: 2"), "3D image"),
    "unknown space": (lambda path: plain(path, space="scanner-xyz"), "space is 'scanner-xyz'"),
    "zero spacing": (lambda path: plain(path, **{"space directions": np.diag([1.0, 0, 3])}), "singular"),
    "NaN direction": (lambda path: plain(path, **{"space directions": np.diag([1.0, 1, np.nan])}), "finite|NRRD"),
    "unknown type": (replaced(b"type: int16", b"type: int61"), "no NRRD file"),
}


@pytest.mark.parametrize(("corrupt", "reason"), CORRUPTED.values(), ids=CORRUPTED.keys())
def test_corrupted_files_are_refused_by_name_and_reason(corrupt, reason, path):
    corrupt(path)
    with pytest.raises(InputError, match=reason) as caught:
        nrrd.read(path)
    assert "image.nrrd" in str(caught.value)


def test_nan_voxels_are_refused(path):
    voxels = np.zeros((2, 3, 4), np.float32)
    voxels[0, 1, 2] = np.nan
    nrrd.write(path, Volume(voxels, np.eye(4)))
    with pytest.raises(InputError, match="NaN"):
        nrrd.read(path)


def test_only_single_files_are_written(axial, tmp_path):
    with pytest.raises(InputError, match=r"suffix \.nrrd"):
        nrrd.write(tmp_path / "a.nhdr", axial)


def test_a_damaged_file_is_named_once(tmp_path):
    cut(0.99)(tmp_path / "a.nrrd")
    with pytest.raises(InputError) as refused:
        nrrd.read(tmp_path / "a.nrrd")
    assert str(refused.value).count("a.nrrd") == 1
