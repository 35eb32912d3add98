"""The `dicom` data set: one of several series, cases named by a key, ROIs of one name."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from oncoseg.datasets.dicom import build
from oncoseg.errors import ConfigError, InputError
from oncoseg.io.pseudonyms import read_key, with_key
from oncoseg.volume import Volume

_spec = importlib.util.spec_from_file_location("mock_dicom", Path(__file__).parents[1] / "mock_dicom.py")
mock = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mock)


def _image(slices=6, spacing=3.0):
    voxels = np.random.default_rng(slices).integers(-900, 100, (slices, 16, 16)).astype(np.int16)
    return Volume.from_spacing(voxels, (spacing, 1.0, 1.0))


def _series(folder, image, uid, contours, **tags):
    mock.write_ct(folder / uid, image, SeriesInstanceUID=uid, **tags)
    if contours:
        drawn = mock.rtstruct(contours)
        referenced = drawn.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        referenced.RTReferencedSeriesSequence[0].SeriesInstanceUID = uid
        drawn.SeriesInstanceUID = f"{uid}.9"
        drawn.save_as(folder / f"{uid}-rt.dcm", enforce_file_format=True)


@pytest.fixture
def two_kernels(tmp_path):
    """One study with a sharp and a soft series of the same slices, a GTV on each, and a thin one without any."""
    image = _image()
    gtv = {"GTV-1": [mock.square((2, 8, 8), 3.2, image)]}
    _series(tmp_path, image, "1.2.1", gtv, ConvolutionKernel="B70f", SeriesDescription="Jane lung")
    _series(tmp_path, image, "1.2.2", gtv, ConvolutionKernel="B30f", SeriesDescription="Jane soft")
    _series(tmp_path, _image(18, 1.0), "1.2.3", {}, ConvolutionKernel="B30f")
    return tmp_path


def test_all_series_are_cases_unless_the_best_is_asked_for(two_kernels):
    assert [e.case for e in build(root=two_kernels).entries()] == ["P1_1", "P1_2"]


def test_the_best_series_with_a_drawing_is_taken_and_the_case_says_why(two_kernels):
    dataset = build(root=two_kernels, series="best")
    (entry,) = dataset.entries()
    case = dataset.load(entry.case)
    assert case.facts["kernel"] == "B30f"
    assert case.notes == (
        "best of 2 series: CT, axial, 3 mm, kernel B30f, because its kernel is soft; passed over without a tumour: 1",
    )
    assert "series = best takes P1_2" in dataset.excluded["P1_1"]
    assert dataset.fingerprint() != build(root=two_kernels).fingerprint()


def test_another_word_for_series_is_refused(two_kernels):
    with pytest.raises(ConfigError, match="series"):
        build(root=two_kernels, series="first")


def test_a_key_names_cases_and_is_silent_about_the_rest(two_kernels, tmp_path):
    key = tmp_path / "key"
    with_key(key)
    dataset = build(root=two_kernels, key=key)
    name = read_key(key).patient("P1")
    assert {e.patient for e in dataset.entries()} == {name}
    assert all(e.case.startswith(f"{name}_") for e in dataset.entries())
    (reason,) = [r for c, r in dataset.excluded.items()]
    assert "no readable RTSTRUCT or SEG refers to CT" in reason
    for said in (str(two_kernels), "P1", "Jane", "1.2.3"):
        assert said not in reason
    with pytest.raises(InputError, match="does not exist"):
        build(root=two_kernels, key=tmp_path / "nowhere")


def test_rois_of_one_name_are_joined(tmp_path):
    image = _image()
    squares = [mock.square((k, 8, 8), 2.2, image) for k in (1, 4)]
    drawn = {"GTV-1": squares[:1], "other": squares[1:]}
    _series(tmp_path, image, "1.2.1", drawn)
    import pydicom

    path = tmp_path / "1.2.1-rt.dcm"
    made = pydicom.dcmread(path)
    made.StructureSetROISequence[1].ROIName = "GTV-1"
    made.save_as(path, enforce_file_format=True)
    dataset = build(root=tmp_path)
    mask = dataset.load("P1").mask().voxels
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [1, 4]


def test_a_series_split_over_folders_is_one(tmp_path):
    image = _image()
    slices = mock.ct_slices(image)
    mock.save(tmp_path / "a", slices[::2])
    mock.save(tmp_path / "b" / "c", slices[1::2])
    mock.write_rtstruct(tmp_path / "z" / "rt.dcm", {"GTV": [mock.square((2, 8, 8), 3.2, image)]})
    np.testing.assert_array_equal(build(root=tmp_path).load("P1").image.voxels, image.voxels)
