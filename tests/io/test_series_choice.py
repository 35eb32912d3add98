import numpy as np
import pytest

from oncoseg.errors import InputError
from oncoseg.io.dicom import choose_image, find_series
from oncoseg.io.dicom_grid import tilt_degrees
from oncoseg.io.series_choice import candidates, kernel_of, pick_series, why
from oncoseg.volume import Volume


@pytest.fixture
def folder_of(mock, tmp_path):
    """Write series: name -> (slices, spacing of slices, plane, tags)."""

    def write(**series):
        for number, (name, (slices, spacing, plane, tags)) in enumerate(series.items()):
            affine = np.eye(4)
            axes = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}[plane]
            affine[:3, :3] = 0
            for column, (axis, step) in enumerate(zip(axes, (spacing, 1.0, 1.0), strict=True)):
                affine[axis, column] = step
            volume = Volume(np.zeros((slices, 8, 8), np.int16), affine)
            tags = {"SeriesInstanceUID": f"1.2.9.{number}", "SeriesDescription": name, **tags}
            mock.write_ct(tmp_path / name, volume, **tags)
        return find_series(tmp_path)

    return write


def names(series):
    return [c.series.description for c in candidates(series)]


def test_axial_comes_before_other_planes(folder_of):
    series = folder_of(
        cor=(20, 1.0, "coronal", {}),
        ax=(20, 3.0, "axial", {}),
        sag=(20, 1.0, "sagittal", {"ConvolutionKernel": "B31f"}),
    )
    assert names(series)[0] == "ax"
    assert {c.series.description: c.plane for c in candidates(series)} == {
        "ax": "axial",
        "cor": "coronal",
        "sag": "sagittal",
    }
    assert why(candidates(series)[0], candidates(series)[1]) == "it is axial"


def test_the_whole_body_comes_before_a_part_in_thin_slices(folder_of):
    series = folder_of(part=(20, 1.0, "axial", {}), whole=(20, 3.0, "axial", {}))
    assert names(series) == ["whole", "part"]
    assert why(*candidates(series)) == "it covers 60 mm instead of 20 mm"


def test_a_soft_kernel_comes_before_a_sharp_one_and_thin_before_thick(folder_of):
    series = folder_of(
        lung=(30, 1.0, "axial", {"ConvolutionKernel": "B70f"}),
        thick=(10, 3.0, "axial", {"ConvolutionKernel": "B31f"}),
        thin=(30, 1.0, "axial", {"ConvolutionKernel": "B31f"}),
    )
    assert names(series) == ["thin", "thick", "lung"]
    best, thick, lung = candidates(series)
    assert why(best, thick) == "its slices are thinner (1 instead of 3 mm)"
    assert why(best, lung) == "its kernel is soft"


def test_what_is_no_volume_comes_last(folder_of, tmp_path):
    series = folder_of(torn=(20, 1.0, "axial", {}), whole=(20, 5.0, "axial", {}))
    next(path for path in sorted((tmp_path / "torn").iterdir())[5:]).unlink()
    assert names(find_series(tmp_path)) == ["whole", "torn"]
    assert "Missing: 1 slice" in str(candidates(find_series(tmp_path))[-1])
    assert len(series) == 2


def test_the_refusal_names_the_likely_one_and_says_why(folder_of, tmp_path):
    series = folder_of(
        lung=(10, 3.0, "axial", {"ConvolutionKernel": "B70f"}), soft=(10, 3.0, "axial", {"ConvolutionKernel": "B31f"})
    )
    with pytest.raises(InputError) as refused:
        choose_image(series, tmp_path)
    message = str(refused.value)
    assert "its kernel is soft" in message
    assert str(tmp_path / "soft") in message.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("B30f", "soft"), ("B80f", "sharp"), ("I31f\\3", "soft"), ("BONEPLUS", "sharp"), ("YA", "sharp"), ("FC08", "soft"),
     ("FC51", "sharp"), ("Br36d", "soft"), ("L", "sharp"), ("", "unknown")],
)  # fmt: skip
def test_kernels_are_known_by_their_names(name, kind):
    assert kernel_of(name) == kind


@pytest.mark.parametrize("degrees", [0.0, 0.05, 8.0, 20.0])
def test_the_tilt_of_a_gantry_is_measured(degrees):
    turn = np.radians(degrees)
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, 0.9], [0, 0.9 * np.cos(turn), 0], [3.0, 0.9 * np.sin(turn), 0]]
    tilt = tilt_degrees(Volume(np.zeros((3, 4, 5)), affine))
    assert tilt == pytest.approx(degrees if degrees > 0.1 else 0.0)


def test_picks_the_best_and_says_why_without_a_name(folder_of, tmp_path):
    series = folder_of(
        jane_doe_lung=(60, 1.0, "axial", {"ConvolutionKernel": "B70f"}),
        jane_doe=(20, 3.0, "axial", {"ConvolutionKernel": "B30f"}),
    )
    picked, reason = pick_series(series, tmp_path, "best")
    assert picked.description == "jane_doe"
    assert reason == "best of 2 series: CT, axial, 3 mm, kernel B30f, because its kernel is soft"


def test_picks_a_series_by_its_identifier_or_lists_them(folder_of, tmp_path):
    series = folder_of(a=(4, 1.0, "axial", {}), b=(4, 2.0, "axial", {}))
    assert pick_series(series, tmp_path, "1.2.9.1")[0].description == "b"
    with pytest.raises(InputError, match=r"no image series 1\.5.*1\.2\.9\.0, 1\.2\.9\.1"):
        pick_series(series, tmp_path, "1.5")
    with pytest.raises(InputError, match="holds no DICOM image series"):
        pick_series([], tmp_path, "best")


def test_a_folder_without_any_volume_has_no_best_series(folder_of, tmp_path):
    folder_of(a=(9, 1.0, "axial", {}), b=(9, 2.0, "axial", {}))
    for name in ("a", "b"):
        sorted((tmp_path / name).glob("*.dcm"))[1].unlink()
    with pytest.raises(InputError, match=r"None of the 2 image series.*Missing"):
        pick_series(find_series(tmp_path), tmp_path, "best")
