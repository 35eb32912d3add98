import contextlib
import copy
import struct
import time

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from oncoseg.errors import InputError
from oncoseg.io.dicom import choose_image, find_series, read_files, read_image, read_series
from oncoseg.io.dicom_header import read_header
from oncoseg.volume import Volume


def read_folder(folder):
    return read_series(choose_image(find_series(folder), folder))


def test_reads_every_kind_of_grid_in_hu(volume, mock, tmp_path):
    mock.write_ct(tmp_path, volume)
    read = read_folder(tmp_path)
    assert read.voxels.dtype == np.int16
    np.testing.assert_array_equal(read.voxels, volume.voxels)
    assert read.same_grid(volume, 1e-5)


def test_order_of_files_and_instance_numbers_means_nothing(volume, mock, tmp_path):
    slices = mock.ct_slices(volume)
    for number, made in enumerate(slices):
        made.InstanceNumber = (number * 3) % 5
    mock.save(tmp_path, [slices[k] for k in (3, 0, 4, 2, 1)])
    np.testing.assert_array_equal(read_folder(tmp_path).voxels, volume.voxels)


def test_slices_are_ordered_along_the_normal_whichever_way_the_volume_was_made(volume, mock, tmp_path):
    mock.write_ct(tmp_path, volume)
    reversed_slices = type(volume)(volume.voxels[::-1], volume.affine @ _flip(len(volume.voxels)))
    mock.write_ct(tmp_path / "reversed", reversed_slices)
    first, second = read_files(list(tmp_path.glob("*.dcm"))), read_folder(tmp_path / "reversed")
    assert first.same_grid(second, 1e-5)
    np.testing.assert_array_equal(first.voxels, second.voxels)


def _flip(count):
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, count - 1
    return flip


def test_rescale_is_applied_slice_by_slice(axial, mock, tmp_path):
    slices = [mock.ct_slices(axial, intercept=-1024 - 10 * k)[k] for k in range(len(axial.voxels))]
    mock.save(tmp_path, slices)
    read = read_folder(tmp_path)
    assert read.voxels.dtype == np.int16
    np.testing.assert_array_equal(read.voxels, axial.voxels)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1000.0), (1.0, -1024.5), (1.7, 0.25)])
def test_fractional_rescale_gives_float32(slope, intercept, axial, mock, tmp_path):
    slices = mock.ct_slices(axial)
    for made in slices:
        made.RescaleSlope, made.RescaleIntercept = str(slope), str(intercept)
    mock.save(tmp_path, slices)
    read = read_folder(tmp_path)
    assert read.voxels.dtype == np.float32
    stored = axial.voxels.astype(np.float64) + 1024
    np.testing.assert_allclose(read.voxels, stored * slope + intercept, rtol=1e-6)


def test_one_slice_beyond_int16_makes_the_volume_float32(axial, mock, tmp_path):
    slices = mock.ct_slices(axial)
    bright = np.zeros(axial.shape[1:], "<u2")
    bright[3, 4] = 65000
    slices[4].PixelData = bright.tobytes()
    mock.save(tmp_path, slices)
    read = read_folder(tmp_path)
    assert read.voxels.dtype == np.float32
    assert read.voxels[4, 3, 4] == 65000 - 1024
    np.testing.assert_array_equal(read.voxels[:4], axial.voxels[:4])


@pytest.mark.parametrize("slope", [2, -1])
def test_whole_slopes_stay_int16(slope, axial, mock, tmp_path):
    slices = mock.ct_slices(axial)
    for made in slices:
        made.RescaleSlope = str(slope)
    mock.save(tmp_path, slices)
    read = read_folder(tmp_path)
    assert read.voxels.dtype == np.int16
    np.testing.assert_array_equal(read.voxels, (axial.voxels.astype(int) + 1024) * slope - 1024)


def test_signed_pixels(axial, mock, tmp_path):
    slices = mock.ct_slices(axial, intercept=0, PixelRepresentation=1)
    for made, plane in zip(slices, axial.voxels, strict=True):
        made.PixelData = plane.astype("<i2").tobytes()
    mock.save(tmp_path, slices)
    np.testing.assert_array_equal(read_folder(tmp_path).voxels, axial.voxels)


def test_overlay_bits_above_the_stored_ones_are_dropped(axial, mock, tmp_path):
    slices = mock.ct_slices(axial, BitsStored=12, HighBit=11)
    for made in slices:
        made.PixelData = (np.frombuffer(made.PixelData, "<u2") | 0x8000).astype("<u2").tobytes()
    mock.save(tmp_path, slices)
    np.testing.assert_array_equal(read_folder(tmp_path).voxels, (axial.voxels.astype(int) + 1024) % 4096 - 1024)


def test_eight_bit_pixels(axial, mock, tmp_path):
    slices = mock.ct_slices(axial, BitsAllocated=8, BitsStored=8, HighBit=7)
    for made in slices:
        made["PixelData"].VR = "OB"
        made.PixelData = np.full(axial.shape[1:], 200, np.uint8).tobytes()
    mock.save(tmp_path, slices)
    read = read_folder(tmp_path)
    assert read.voxels.dtype == np.int16
    assert (read.voxels == 200 - 1024).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_transfer_syntaxes(syntax, axial, mock, tmp_path):
    slices = mock.ct_slices(axial)
    for made in slices:
        if syntax == RLELossless:
            made.compress(RLELossless)
        made.file_meta.TransferSyntaxUID = syntax
    mock.save(tmp_path, slices)
    read = read_folder(tmp_path)
    np.testing.assert_array_equal(read.voxels, axial.voxels)
    assert read.voxels.dtype == np.int16


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_sequences_of_undefined_length_are_stepped_over(syntax, axial, mock, tmp_path):
    slices = mock.ct_slices(axial)
    for made in slices:
        inner = pydicom.Dataset()
        inner.CodeValue = "x"
        inner.PurposeOfReferenceCodeSequence = [pydicom.Dataset()]
        inner["PurposeOfReferenceCodeSequence"].is_undefined_length = True
        inner.is_undefined_length_sequence_item = True
        made.ReferencedImageSequence = [inner, pydicom.Dataset()]
        made["ReferencedImageSequence"].is_undefined_length = True
        if syntax:
            made.file_meta.TransferSyntaxUID = syntax
    paths = mock.save(tmp_path, slices)
    np.testing.assert_array_equal(read_files(paths).voxels, axial.voxels)


def test_headers_longer_than_the_first_read(axial, mock, tmp_path):
    slices = mock.ct_slices(axial)
    for made in slices:
        made.private_block(0x0009, "MOCK", create=True).add_new(1, "OB", bytes(50_001))
    paths = mock.save(tmp_path, slices)
    np.testing.assert_array_equal(read_files(paths).voxels, axial.voxels)


def test_the_header_agrees_with_pydicom(axial, mock, tmp_path):
    path = mock.write_ct(tmp_path, axial, SeriesDescription="Thorax  1.0")[0]
    header, dataset = read_header(path), pydicom.dcmread(path)
    assert header.text("SeriesDescription") == dataset.SeriesDescription
    assert header.numbers("ImagePositionPatient", 3) == tuple(dataset.ImagePositionPatient)
    assert header.count("Rows") == dataset.Rows


def test_series_are_found_by_identifiers_not_by_folders(axial, mock, tmp_path):
    slices = mock.ct_slices(axial)
    mock.save(tmp_path / "a", slices[::2])
    mock.save(tmp_path / "b" / "deep", slices[1::2])
    mock.save(tmp_path / "a", mock.ct_slices(axial, PatientID="P2", SeriesInstanceUID="1.9"), prefix="other")
    mock.write_rtstruct(tmp_path / "a" / "rt.dcm", {})
    (tmp_path / "a" / "notes.txt").write_text("no DICOM")
    found = find_series(tmp_path)
    assert [(s.patient, s.modality, len(s.files)) for s in found] == [
        ("P1", "CT", 6),
        ("P1", "RTSTRUCT", 1),
        ("P2", "CT", 6),
    ]
    np.testing.assert_array_equal(read_series(found[0]).voxels, axial.voxels)


def test_series_facts_hold_the_scanner_and_no_person(axial, mock, tmp_path):
    mock.write_ct(tmp_path, axial)
    (series,) = find_series(tmp_path)
    assert series.facts == {
        "modality": "CT",
        "manufacturer": "Mock",
        "scanner": "Scanner",
        "kvp": 120.0,
        "slice_thickness_mm": 3.0,
        "kernel": "B30f",
    }
    assert "Doe" not in repr(series) + str(series)


def test_several_series_are_listed_and_one_file_chooses(axial, mock, tmp_path):
    mock.write_ct(tmp_path, axial)
    other = mock.save(
        tmp_path, mock.ct_slices(axial, SeriesInstanceUID="1.9", SeriesDescription="lung"), prefix="other"
    )
    with pytest.raises(InputError, match=r"2 image series(.|\n)*1\.2\.3\.3(.|\n)*'lung'(.|\n)*any one of its files"):
        read_image(tmp_path)
    assert read_image(other[2]).shape == axial.shape


def test_single_slice_takes_its_height_from_the_thickness(axial, mock, tmp_path):
    paths = mock.write_ct(tmp_path, axial)
    assert read_files(paths[:1]).spacing == pytest.approx((3.0, 0.977, 0.977))


def _remove(slices, k):
    return slices[:k] + slices[k + 1 :]


def _edited(slices, k, **tags):
    for keyword, value in tags.items():
        setattr(slices[k], keyword, value)
    return slices


def _all(slices, **tags):
    for k in range(len(slices)):
        _edited(slices, k, **tags)
    return slices


def _moved(slices, k, mm):
    position = [float(v) for v in slices[k].ImagePositionPatient]
    return _edited(slices, k, ImagePositionPatient=[str(p + d) for p, d in zip(position, mm, strict=True)])


def _twin(slices, k, **tags):
    return _edited([*slices, copy.deepcopy(slices[k])], len(slices), **tags)


BROKEN = {
    "missing slice": (lambda s: _remove(s, 2), r"Missing: 1 slice.*slice-001.*slice-002.*6 mm instead of 3 mm"),
    "two missing": (lambda s: _remove(_remove(s, 2), 2), r"Missing: 2 slice"),
    "duplicate instance": (lambda s: _twin(s, 1), r"Duplicate instance: .*slice-001.*slice-006"),
    "duplicate slice": (lambda s: _twin(s, 1, SOPInstanceUID="1.77"), r"Duplicate slice.*slice-001.*slice-006"),
    "unequal gap": (lambda s: _moved(s, 5, (0, 0, 0.5)), r"Unequal slice spacing.*slice-004.*slice-005.*3\.5 mm"),
    "beside the line": (lambda s: _moved(s, 3, (2, 0, 0)), r"slice-003.dcm lies 2 mm beside"),
    "mixed size": (lambda s: _edited(s, 3, Rows=8, Columns=24), r"mixes Rows.*slice-003"),
    "mixed orientation": (
        lambda s: _edited(s, 3, ImageOrientationPatient=["1", "0", "0", "0", "0", "-1"]),
        r"mixes ImageOrientationPatient.*slice-003",
    ),
    "mixed spacing": (lambda s: _edited(s, 3, PixelSpacing=["0.8", "0.8"]), r"mixes PixelSpacing.*slice-003"),
    "skewed": (
        lambda s: _all(s, ImageOrientationPatient=["1", "0", "0", "0.5", "1", "0"]),
        "perpendicular unit vectors",
    ),
    "no spacing": (lambda s: _all(s, PixelSpacing=["0", "0"]), "must be positive"),
    "no position": (
        lambda s: _edited(s, 2, ImagePositionPatient=None),
        r"slice-002.dcm: ImagePositionPatient is missing",
    ),
    "short pixel data": (lambda s: _edited(s, 2, PixelData=s[2].PixelData[:100]), r"slice-002.*100 bytes.*need 384"),
    "multi-frame": (lambda s: _edited(s, 2, NumberOfFrames="3"), r"slice-002.dcm is a multi-frame .* no place"),
    "colour": (lambda s: _edited(s, 2, SamplesPerPixel=3), r"slice-002.dcm is a colour image"),
}


@pytest.mark.parametrize(("breaks", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_refuses_and_names(breaks, message, axial, mock, tmp_path):
    mock.save(tmp_path, breaks(mock.ct_slices(axial)))
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path)


def test_gap_tolerance_is_one_per_cent(axial, mock, tmp_path):
    mock.save(tmp_path / "good", _moved(mock.ct_slices(axial), 5, (0, 0, 0.029)))
    assert read_folder(tmp_path / "good").shape == axial.shape
    mock.save(tmp_path / "bad", _moved(mock.ct_slices(axial), 5, (0, 0, 0.031)))
    with pytest.raises(InputError, match="Unequal slice spacing"):
        read_folder(tmp_path / "bad")


@pytest.mark.parametrize("left", [150, 500, -10])
def test_truncated_files_are_named(left, axial, mock, tmp_path):
    path = mock.write_ct(tmp_path, axial)[3]
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=r"slice-003\.dcm"):
        read_folder(tmp_path)


def test_no_images(mock, tmp_path):
    with pytest.raises(InputError, match="holds no DICOM image series"):
        read_folder(tmp_path)
    mock.write_rtstruct(tmp_path / "rt.dcm", {})
    with pytest.raises(InputError, match="it holds RTSTRUCT"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_series(tmp_path / "nowhere")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=st.lists(st.tuples(st.integers(128, 900), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_headers_are_read_or_refused_never_worse(mutations, mock, axial, tmp_path):
    path = tmp_path / "one.dcm"
    if not path.exists():
        mock.save(tmp_path, mock.ct_slices(axial)[:1], prefix="good")
    content = bytearray((tmp_path / "good-000.dcm").read_bytes())
    for position, value in mutations:
        content[position] = value
    path.write_bytes(content)
    # Any other exception fails the test.
    with contextlib.suppress(InputError):
        assert read_files([path]).shape[0] == 1


@pytest.mark.parametrize(
    ("folder", "shape", "spacing"),
    [
        ("nsclc_radiomics/LUNG1-001", (134, 512, 512), (3.0, 0.9765625, 0.9765625)),
        ("nsclc_radiomics/LUNG1-002", (111, 512, 512), (3.0, 0.977, 0.977)),
        ("lung_pet_ct_dx/Lung_Dx-A0001", (64, 512, 512), (5.0, 0.841796875, 0.841796875)),
    ],
)
def test_real_series(folder, shape, spacing, shared):
    series = choose_image(find_series(shared / "data" / folder), shared)
    volume = read_series(series)
    assert volume.shape == shape
    assert volume.spacing == pytest.approx(spacing)
    assert volume.voxels.dtype == np.int16
    middle = next(h for h in series.headers if h.numbers("ImagePositionPatient", 3)[2] == volume.affine[2, 3])
    dataset = pydicom.dcmread(middle.path)
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    np.testing.assert_array_equal(volume.voxels[0], hu)


@pytest.mark.parametrize("name", ["slice.dcm", "IM0001", "1.2.840.113.7"])
def test_an_empty_file_at_the_end_of_a_series_is_no_shorter_series(name, axial, mock, tmp_path):
    mock.write_ct(tmp_path, axial)
    first, *_ = sorted(tmp_path.glob("*.dcm"))
    first.unlink()
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"{name} is empty"):
        read_folder(tmp_path)


def test_empty_files_that_are_no_slices_do_not_matter(axial, mock, tmp_path):
    mock.write_ct(tmp_path, axial)
    for name in (".gitkeep", "notes.txt"):
        (tmp_path / name).touch()
    assert read_folder(tmp_path).shape == axial.shape


def test_a_drawing_in_place_of_an_image_says_how_it_is_converted(axial, mock, tmp_path):
    mock.write_rtstruct(tmp_path / "rt.dcm", {"GTV-1": [np.array([[1.0, 1, 0], [9, 1, 0], [9, 9, 0]])]})
    with pytest.raises(InputError, match=r"it holds RTSTRUCT.*--image IMAGE --roi NAME"):
        read_folder(tmp_path)


def _compressed(slices, syntax):
    for made in slices:
        made.compress(syntax)
    return slices


def test_jpeg_2000_is_read_exactly(mock, tmp_path):
    voxels = (
        np.random.default_rng(2).integers(-1000, 3000, (3, 64, 70)).astype(np.int16)
    )  # it halves the size five times
    mock.save(tmp_path, _compressed(mock.ct_slices(Volume.from_spacing(voxels, (3.0, 0.9, 0.9))), JPEG2000Lossless))
    np.testing.assert_array_equal(read_folder(tmp_path).voxels, voxels)


def test_jpeg_ls_is_read_exactly(axial, mock, tmp_path):
    mock.save(tmp_path, _compressed(mock.ct_slices(axial), JPEGLSLossless))
    np.testing.assert_array_equal(read_folder(tmp_path).voxels, axial.voxels)


def test_big_endian_is_read_exactly(axial, mock, tmp_path):
    slices = mock.ct_slices(axial, syntax=ExplicitVRBigEndian)
    for made in slices:
        made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    mock.save(tmp_path, slices)
    read = read_folder(tmp_path)
    np.testing.assert_array_equal(read.voxels, axial.voxels)
    np.testing.assert_allclose(read.affine, axial.affine, atol=1e-6)


@pytest.mark.parametrize(
    ("syntax", "extra"), [(JPEG2000Lossless, r"oncoseg\[compressed\]"), (JPEGLosslessSV1, r"oncoseg\[compressed-gpl\]")]
)
def test_without_a_decoder_the_extra_is_named(syntax, extra, axial, mock, tmp_path, monkeypatch):
    slices = mock.ct_slices(axial)
    for made in slices:
        made.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 never looked at"])
        made.file_meta.TransferSyntaxUID = syntax
    mock.save(tmp_path, slices)
    decoder = pydicom.pixels.get_decoder(syntax)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(InputError, match=rf"slice-000\.dcm is compressed as JPEG.*pip install '{extra}'"):
        read_folder(tmp_path)


def test_jpeg_lossless_is_read_exactly_where_its_decoder_is(axial, mock, tmp_path):
    pytest.importorskip("libjpeg", reason="needs oncoseg[compressed-gpl]")
    slices = mock.ct_slices(axial)
    for made in slices:
        stored = np.frombuffer(made.PixelData, "<u2").reshape(made.Rows, made.Columns)
        made.PixelData = pydicom.encaps.encapsulate([_lossless_jpeg(stored)])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    mock.save(tmp_path, slices)
    np.testing.assert_array_equal(read_folder(tmp_path).voxels, axial.voxels)


def _lossless_jpeg(pixels):
    """16-bit pixels as ITU-T T.81 process 14, selection value 1: differences to the left, coded in 5 bits and raw."""
    values = pixels.astype(int)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = []
    for difference in ((values - predicted + (1 << 15)) % (1 << 16) - (1 << 15)).ravel().tolist():
        size = abs(difference).bit_length()
        raw = difference if difference > 0 else difference + (1 << size) - 1
        bits.append(f"{size:05b}" + (f"{raw:0{size}b}" if 0 < size < 16 else ""))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    coded = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns = pixels.shape
    frame = struct.pack(">HBHHB3B", 11, 16, rows, columns, 1, 1, 0x11, 0)
    lengths = bytes([0, 0, 0, 0, 17, *([0] * 11)])  # 17 codes of 5 bits: for differences of 0 to 16 bits
    table = struct.pack(">HB", 3 + 16 + 17, 0) + lengths + bytes(range(17))
    scan = struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8\xff\xc3" + frame + b"\xff\xc4" + table + b"\xff\xda" + scan + coded + b"\xff\xd9"


@pytest.mark.parametrize("seed", range(3))
def test_ten_thousand_mutated_headers_are_read_or_refused_in_seconds(seed, axial, mock, tmp_path):
    good = mock.save(tmp_path / "good", mock.ct_slices(axial)[:1])[0].read_bytes()
    random = np.random.default_rng(seed)
    path = tmp_path / "one.dcm"
    read = refused = 0
    begun = time.monotonic()
    for _ in range(3334):
        content = bytearray(good)
        for position in random.integers(132, 900, random.integers(1, 12)):
            content[position] = random.integers(0, 256)
        path.write_bytes(bytes(content[: random.integers(140, len(content))] if random.random() < 0.2 else content))
        try:
            read += read_files([path]).shape[0]
        except InputError:
            refused += 1
    # A crash is any other exception; a hang would take far longer than these few ms a file.
    assert read + refused == 3334
    assert read > 30
    assert refused > 300
    assert time.monotonic() - begun < 60
